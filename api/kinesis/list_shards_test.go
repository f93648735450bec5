package kinesis

import (
	"testing"
	"time"

	"penstock/records"
	"penstock/streams/datastream"
)

// TestShardsOfAnInstantCoverTheHashSpace reshapes a stream and asks what was open at every
// half second, at the horizon too: a reader that begins there must miss nothing and read
// nothing twice.
func TestShardsOfAnInstantCoverTheHashSpace(t *testing.T) {
	r := newRig(t, options{})
	r.ok("CreateStream", `{"StreamName":"s","ShardCount":2}`)
	began := r.clock.Now()
	r.put("s", "a")
	for _, call := range []struct{ op, body string }{
		{"SplitShard", `{"StreamName":"s","ShardToSplit":"0","NewStartingHashKey":"1000"}`},
		{"SplitShard", `{"StreamName":"s","ShardToSplit":"3","NewStartingHashKey":"100000"}`},
		{"MergeShards", `{"StreamName":"s","ShardToMerge":"2","AdjacentShardToMerge":"4"}`},
		{"UpdateShardCount", `{"StreamName":"s","TargetShardCount":5,"ScalingType":"UNIFORM_SCALING"}`},
	} {
		r.clock.add(3700 * time.Millisecond)
		r.ok(call.op, call.body)
	}
	r.clock.add(3 * time.Second)
	st, err := r.data.Get(t.Context(), testAccount, testRegion, "s")
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, f shardFilter, all []records.Shard, now time.Time) {
		t.Helper()
		var at records.HashKey
		list := f.pick(all, now.Add(-datastream.RetentionMin), st.Info().Created)
		for n := 0; ; n++ {
			found := false
			for _, s := range list {
				if s.From == at {
					if found {
						t.Fatalf("%s: two shards begin at %s", what, at)
					}
					found = true
				}
			}
			if !found {
				t.Fatalf("%s: a hole at %s", what, at)
			}
			for _, s := range list {
				if s.From == at {
					at = s.To.Next()
					break
				}
			}
			if at == (records.HashKey{}) {
				if n+1 != len(list) {
					t.Fatalf("%s: %d shards, %d cover all", what, len(list), n+1)
				}
				return
			}
		}
	}
	all, now := st.Shards(), r.clock.Now()
	for d := -time.Second; began.Add(d).Before(now); d += 500 * time.Millisecond {
		check("after "+d.String(), shardFilter{kind: "AT_TIMESTAMP", at: began.Add(d)}, all, now)
		// A day later that instant is the horizon, and shards that closed before are gone.
		later := began.Add(d + datastream.RetentionMin)
		var left []records.Shard
		for _, s := range all {
			if s.Open() || s.Closed.After(began.Add(d)) {
				left = append(left, s)
			}
		}
		check("horizon after "+d.String(), shardFilter{kind: "AT_TRIM_HORIZON"}, left, later)
	}
	check("now", shardFilter{kind: "AT_LATEST"}, all, now)
}
