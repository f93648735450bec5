package datastream

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/records"
)

// TestGrowth is the decisions about on-demand streams: shards of equal width with so many
// bytes a second each, and what is done.
func TestGrowth(t *testing.T) {
	const kb = 1000.0
	for _, c := range []struct {
		name    string
		bytes   []float64
		records float64 // of each shard
		want    string
	}{
		{"idle", []float64{0, 0, 0, 0}, 0, "nothing"},
		{"half of the room", []float64{400 * kb, 400 * kb, 400 * kb, 400 * kb}, 10, "nothing"},
		{"more than half of the room", []float64{600 * kb, 600 * kb, 600 * kb, 600 * kb}, 10, "8 shards"},
		{"many small records", []float64{10 * kb, 10 * kb, 10 * kb, 10 * kb}, 700, "8 shards"},
		{"one hot shard", []float64{0, 600 * kb, 0, 0}, 10, "split shardId-000000000001"},
		{"the hotter of two", []float64{600 * kb, 900 * kb, 0, 0}, 10, "split shardId-000000000001"},
		{"one shard full", []float64{0, 0, 1100 * kb, 0}, 10, "split shardId-000000000002"},
	} {
		if got := growthText(grow(loads(c.bytes, c.records))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	many := make([]float64, onDemandMost)
	for i := range many {
		many[i] = 900 * kb
	}
	if got := growthText(grow(loads(many, 1))); got != "nothing" {
		t.Errorf("at the limit: %s", got)
	}
	if got := growthText(grow(loads(many[:150], 1))); got != "200 shards" {
		t.Errorf("near the limit: %s", got)
	}
	narrow := loads([]float64{0, 900 * kb}, 1)
	narrow[1].shard.From = records.MaxHashKey.Prev()
	if got := growthText(grow(narrow)); got != "nothing" {
		t.Errorf("one hot key in a shard of its own: %s", got)
	}
}

func loads(bytes []float64, count float64) []load {
	var list []load
	for i, b := range bytes {
		s := records.Shard{ID: records.ShardID(i), From: records.HashKey{Hi: uint64(i) << 50}, To: records.HashKey{Hi: uint64(i+1)<<50 - 1, Lo: ^uint64(0)}}
		list = append(list, load{shard: s, bytes: b, records: count})
	}
	return list
}

func growthText(g growth) string {
	switch {
	case g.shards > 0:
		return fmt.Sprintf("%d shards", g.shards)
	case g.hot:
		return "split " + g.split.String()
	}
	return "nothing"
}

// TestAnOnDemandStreamFollowsItsTraffic drives the loop through minutes of traffic that
// pass in no time.
func TestAnOnDemandStreamFollowsItsTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{ScaleEvery: 10 * time.Second})
		defer r.stop()
		s := r.create(New{Name: "s", Mode: OnDemand})
		var seen []string
		// traffic puts so many MiB in each of 12 seconds, and notes the shards after it.
		traffic := func(mib int, hash func(int) records.HashKey) {
			for range 12 {
				if mib > 0 {
					if n := r.put(s, mib*64, 16<<10, hash); n != 0 {
						t.Errorf("%d records were refused", n)
					}
				}
				time.Sleep(time.Second)
			}
			synctest.Wait()
			r.must(s.Settled(context.Background()))
			seen = append(seen, fmt.Sprintf("%d MiB/s: %d", mib, s.OpenShards()))
		}
		spread := func(i int) records.HashKey { return records.HashKey{Hi: uint64(i) * 0x9e3779b97f4a7c15} }
		traffic(0, spread)
		traffic(1, spread)
		traffic(3, spread)
		traffic(3, spread)
		traffic(0, spread)
		traffic(1, func(i int) records.HashKey { return records.HashKey{Hi: uint64(i) << 40} })
		want := "0 MiB/s: 4, 1 MiB/s: 4, 3 MiB/s: 8, 3 MiB/s: 8, 0 MiB/s: 8, 1 MiB/s: 9"
		if got := strings.Join(seen, ", "); got != want {
			t.Errorf("shards were\n%s, want\n%s", got, want)
		}
	})
}

func TestAProvisionedStreamDoesNotGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{ScaleEvery: time.Second, NoLimits: true})
		defer r.stop()
		s := r.create(New{Name: "s", Shards: 1})
		for range 5 {
			r.put(s, 100, 64<<10, nil)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := s.OpenShards(); n != 1 {
			t.Fatalf("%d shards", n)
		}
	})
}

// TestOldTrafficIsNotTakenForNew brings a stream with a past to on-demand mode, and has it
// change state while it is looked at: neither makes it grow.
func TestOldTrafficIsNotTakenForNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{ScaleEvery: 10 * time.Second, StateDelay: 15 * time.Second, NoLimits: true})
		defer r.stop()
		ctx := context.Background()
		s := r.create(New{Name: "s", Shards: 2})
		r.must(s.Settled(ctx))
		r.put(s, 400, 128<<10, nil) // 50 MiB
		time.Sleep(time.Minute)
		r.must(s.SetMode(ctx, OnDemand, 0))
		r.must(s.Settled(ctx))
		time.Sleep(time.Minute)
		r.must(s.SetMaxRecord(ctx, 2<<20))
		r.must(s.Settled(ctx))
		time.Sleep(time.Minute)
		r.must(s.Settled(ctx))
		if n := s.OpenShards(); n != 2 {
			t.Errorf("%d shards", n)
		}
	})
}
