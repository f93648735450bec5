package datastream

import (
	"context"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/records"
)

func zero(int) records.HashKey { return records.HashKey{} }

func TestAShardTakesAThousandRecordsASecond(t *testing.T) {
	clock := newClock()
	r := newRig(t, Config{Clock: clock})
	s := r.create(New{Name: "s", Shards: 2})
	if n := r.put(s, 1500, 1, zero); n != 500 {
		t.Fatalf("%d of 1500 at once were refused", n)
	}
	if n := r.put(s, 500, 1, func(int) records.HashKey { return records.MaxHashKey }); n != 0 {
		t.Fatalf("another shard refused %d", n)
	}
	clock.Add(100 * time.Millisecond)
	if n := r.put(s, 200, 1, zero); n != 100 {
		t.Fatalf("%d of 200 after a tenth of a second were refused", n)
	}
	clock.Add(time.Hour)
	if n := r.put(s, 1500, 1, zero); n != 500 {
		t.Fatalf("%d of 1500 after an hour were refused: unused room piles up", n)
	}
}

func TestAShardTakesAMegabyteASecondAndOneLargeRecord(t *testing.T) {
	clock := newClock()
	r := newRig(t, Config{Clock: clock})
	s := r.create(New{Name: "s", Shards: 1})
	if n := r.put(s, 20, 100<<10, nil); n != 10 {
		t.Fatalf("%d of 20 of 100 KiB were refused", n)
	}
	clock.Add(time.Second)
	if n := r.put(s, 1, MaxRecordDefault-5, nil); n != 0 {
		t.Fatal("the largest record was refused by a shard that was idle for a second")
	}
	r.must(s.SetMaxRecord(context.Background(), MaxRecordMax))
	clock.Add(10 * time.Second)
	if n := r.put(s, 2, MaxRecordMax-5, nil); n != 1 {
		t.Fatalf("%d of 2 of 10 MiB were refused", n)
	}
	clock.Add(5 * time.Second)
	if n := r.put(s, 1, MaxRecordMax-5, nil); n != 1 {
		t.Fatal("a burst was paid off after half of its time")
	}
}

func TestReadersShareFiveCallsAndTwoMegabytes(t *testing.T) {
	clock := newClock()
	r := newRig(t, Config{Clock: clock})
	s := r.create(New{Name: "s", Shards: 1})
	r.must(s.SetMaxRecord(context.Background(), MaxRecordMax))
	var page records.Page
	read := func() error {
		return s.ReadShared(context.Background(), 0, records.Position{}, 0, 10<<20, &page)
	}
	for range 5 {
		r.must(read())
	}
	if err := read(); !fault.Is(err, fault.Throttled) {
		t.Fatalf("the sixth read of a second: %v", err)
	}
	clock.Add(200 * time.Millisecond)
	r.must(read())

	clock.Add(time.Second)
	r.put(s, 1, MaxRecordMax-5, nil)
	r.must(read())
	for _, c := range []struct {
		after time.Duration
		want  bool
	}{{time.Second, false}, {2 * time.Second, false}, {3 * time.Second, true}} {
		clock.Add(c.after)
		if err := read(); (err == nil) != c.want {
			t.Errorf("%v more after an answer of 10 MiB: %v", c.after, err)
		}
	}
	var own records.Page // a registered reader has limits of its own
	for range 10 {
		r.must(s.Read(context.Background(), 0, records.Position{}, 1, 1, &own))
	}
}

func TestOnDemandAndSwitchedOffHaveNoLimits(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		mode   Mode
	}{"on demand": {Config{}, OnDemand}, "switched off": {Config{NoLimits: true}, Provisioned}} {
		t.Run(name, func(t *testing.T) {
			c.config.Clock = newClock()
			r := newRig(t, c.config)
			s := r.create(New{Name: "s", Shards: 1, Mode: c.mode})
			if n := r.put(s, 5000, 1000, zero); n != 0 {
				t.Fatalf("%d were refused", n)
			}
			var page records.Page
			for range 20 {
				r.must(s.ReadShared(context.Background(), 0, records.Position{}, 0, 1<<20, &page))
			}
		})
	}
}

func TestLimitsAllocateNothing(t *testing.T) {
	r := newRig(t, Config{Clock: newClock()})
	s := r.create(New{Name: "s", Shards: 1})
	s.admit(0, 1, 1)
	if n := testing.AllocsPerRun(100, func() { s.admit(0, 1, 1024) }); n != 0 {
		t.Fatalf("%v allocations for each record", n)
	}
}

func TestARecordAboveTheStreamsSizeIsRefusedWithAllOthers(t *testing.T) {
	r := newRig(t, Config{})
	s := r.create(New{Name: "s", Shards: 1})
	in := []records.Input{{Key: "a", Data: []byte("x")}, {Key: "b", Data: make([]byte, MaxRecordDefault)}}
	err := s.Put(context.Background(), in, make([]records.Placed, 2))
	if r.reason(err) != RecordTooBig || !fault.Is(err, fault.Invalid) {
		t.Fatal(err)
	}
	p, err := s.At(context.Background(), 0, records.From{})
	r.must(err)
	var page records.Page
	r.must(s.Read(context.Background(), 0, p, 0, 0, &page))
	if len(page.Records) != 0 {
		t.Fatalf("%d records were stored", len(page.Records))
	}
}

// TestTheDaysChangesOfTheNumberOfShardsOutliveAStop sets it ten times, stops, and tries once more.
func TestTheDaysChangesOfTheNumberOfShardsOutliveAStop(t *testing.T) {
	clock := newClock()
	r := newRig(t, Config{Clock: clock, ScaleEvery: -1})
	s := r.create(New{Name: "s", Shards: 1})
	for i := range dayChanges {
		_, err := s.Reshard(t.Context(), 1+(i+1)%2)
		r.must(err)
		clock.Add(time.Minute)
	}
	r.restart()
	if _, err := r.get("s").Reshard(t.Context(), 2); !fault.Is(err, fault.Throttled) {
		t.Fatalf("the eleventh time: %v", err)
	}
	clock.Add(24*time.Hour - time.Minute)
	_, err := r.get("s").Reshard(t.Context(), 2)
	r.must(err)
}
