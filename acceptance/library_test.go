package acceptance

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"sync/atomic"
	"testing"
	"time"

	"penstock/producer"
	"penstock/records"
	"penstock/wire/kpl"
)

// TestTheLibraryOverReshardsAndLimits puts with the producer library into a stream that
// refuses some and is split and merged meanwhile, and reads it the way Amazon's client
// library does: shard by shard, and of an aggregate only what belongs to the shard.
func TestTheLibraryOverReshardsAndLimits(t *testing.T) {
	t.Parallel()
	for _, inCBOR := range []bool{false, true} {
		t.Run(fmt.Sprint("CBOR ", inCBOR), func(t *testing.T) {
			s := start(t)
			s.kds("CreateStream", object{"StreamName": "lib", "ShardCount": 1}, nil)
			s.active("lib")
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			p, err := producer.New(producer.Config{Stream: "lib", Endpoint: "http://" + s.http, Life: -1, CBOR: inCBOR, BufferedTime: 10 * time.Millisecond, AggregateBytes: 16 << 10,
				Credentials: producer.Static(s.signer.AccessKey, s.signer.Secret, "")})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- p.Run(ctx) }()
			var failed atomic.Int64
			const keys, each = 40, 150
			for n := range each {
				for k := range keys {
					data := fmt.Appendf(nil, "%d %s", n, bytes.Repeat([]byte{'x'}, 900))
					if err := p.Put(ctx, producer.Record{Key: fmt.Sprint("key-", k), Data: data}, func(r producer.Result) {
						if r.Err != nil {
							failed.Add(1)
						}
					}); err != nil {
						t.Fatal(err)
					}
				}
				switch n {
				case 40:
					s.kds("SplitShard", object{"StreamName": "lib", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": records.Middle(records.HashKey{}, records.MaxHashKey).Next().String()}, nil)
				case 80:
					s.kds("MergeShards", object{"StreamName": "lib", "ShardToMerge": "shardId-000000000001", "AdjacentShardToMerge": "shardId-000000000002"}, nil)
				}
				if n%80 == 20 { // more at once than a shard takes in a second, however slow the machine is
					for i := range 3 {
						if err := p.Put(ctx, producer.Record{Key: "burst", Data: fmt.Appendf(nil, "%d %s", i, bytes.Repeat([]byte{'x'}, 900_000))}, nil); err != nil {
							t.Fatal(err)
						}
					}
				}
				time.Sleep(5 * time.Millisecond)
			}
			if err := p.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err != nil || failed.Load() > 0 {
				t.Errorf("%d failed, %v", failed.Load(), err)
			}
			figures := p.Stats()
			t.Logf("%+v", figures)
			if figures.Throttled == 0 {
				t.Error("no shard's limit was met: nothing was tried")
			}
			// Reading has limits, too, but not on demand.
			s.kds("UpdateStreamMode", object{"StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/lib", "StreamModeDetails": object{"StreamMode": "ON_DEMAND"}}, nil)
			inOrder(t, s, keys, each)
		})
	}
}

// inOrder reads the shards in the order in which they were opened.
func inOrder(t *testing.T, s *server, keys, each int) {
	t.Helper()
	at, first, last := 0, map[string]int{}, map[string]int{}
	note := func(key string, data []byte) {
		var n int
		if _, err := fmt.Sscan(string(data), &n); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint(key, " ", n)
		if _, seen := first[name]; !seen {
			first[name] = at
		}
		last[name] = at
		at++
	}
	for _, shard := range s.shards("lib") {
		from, _ := new(big.Int).SetString(shard.HashKeyRange.StartingHashKey, 10)
		to, _ := new(big.Int).SetString(shard.HashKeyRange.EndingHashKey, 10)
		var parts kpl.Reader
		s.drain("lib", shard.ShardID, "", func(r *dataRecord) {
			if !parts.Reset(r.Data) {
				note(r.PartitionKey, r.Data)
				return
			}
			for _, part := range parts.All() {
				own, _ := new(big.Int).SetString(records.HashOf(part.Key).String(), 10)
				if own.Cmp(from) >= 0 && own.Cmp(to) <= 0 {
					note(part.Key, part.Data)
				}
			}
		})
	}
	for k := range keys {
		for n := range each {
			name, before := fmt.Sprintf("key-%d %d", k, n), fmt.Sprintf("key-%d %d", k, n-1)
			if _, ok := first[name]; !ok {
				t.Fatalf("%s is lost", name)
			}
			if n > 0 && (first[name] < first[before] || last[name] < last[before]) {
				t.Fatalf("%s ran over %s", name, before)
			}
		}
	}
}
