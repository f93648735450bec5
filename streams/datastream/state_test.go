package datastream

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host/hosttest"
	"penstock/records"
)

// gated is a clock on which a state passes when its gate is opened.
type gated struct {
	*hosttest.Clock
	gate *hosttest.Gate
}

// stateDelay is no time that anything else waits for.
const stateDelay = 77 * time.Hour

func (c gated) NewTimer(d time.Duration) *time.Timer {
	if d == stateDelay {
		return c.gate.NewTimer()
	}
	return c.Clock.NewTimer(d)
}

func TestStatesPassAndForbid(t *testing.T) {
	gate := new(hosttest.Gate)
	r := newRig(t, Config{Clock: gated{newClock(), gate}, StateDelay: stateDelay})
	ctx := context.Background()
	settle := func(s *Stream) {
		t.Helper()
		gate.Open()
		r.must(s.Settled(ctx))
		gate.Close()
	}
	s := r.create(New{Name: "s", Shards: 2})
	if got := s.Info().Status; got != Creating {
		t.Fatal(got)
	}
	if err := s.Put(ctx, make([]records.Input, 1), make([]records.Placed, 1)); !fault.Is(err, fault.NotFound) {
		t.Fatalf("put while CREATING: %v", err)
	}
	if got := r.reason(s.Split(ctx, 0, records.HashKey{Lo: 100})); got != NotActive {
		t.Fatal(got)
	}
	settle(s)
	r.must(s.Split(ctx, 0, records.HashKey{Lo: 100}))
	if got := s.Info().Status; got != Updating {
		t.Fatal(got)
	}
	if n := r.put(s, 10, 1, nil); n != 0 {
		t.Fatal("puts go on while UPDATING")
	}
	if got := r.reason(s.Merge(ctx, 0, 1)); got != NotActive {
		t.Fatal(got)
	}
	settle(s)
	if s.OpenShards() != 3 || s.Info().Status != Active {
		t.Fatalf("%d shards, %s", s.OpenShards(), s.Info().Status)
	}
	r.must(s.Delete(ctx, false))
	if got := r.reason(s.Delete(ctx, false)); got != NotActive {
		t.Fatal(got)
	}
	<-s.Gone()
	if err := s.Put(ctx, make([]records.Input, 1), make([]records.Placed, 1)); !fault.Is(err, fault.NotFound) {
		t.Fatalf("put while DELETING: %v", err)
	}
	settle(s)
	if _, err := r.data.Get(ctx, account, region, "s"); !fault.Is(err, fault.NotFound) {
		t.Fatalf("it is still there: %v", err)
	}
}

func TestDeletingWinsOverWhatIsPending(t *testing.T) {
	gate := new(hosttest.Gate)
	r := newRig(t, Config{Clock: gated{newClock(), gate}, StateDelay: stateDelay})
	ctx := context.Background()
	s := r.create(New{Name: "s", Shards: 1})
	r.must(s.Delete(ctx, true)) // while CREATING
	gate.Open()
	r.must(s.Settled(ctx))
	if _, err := r.data.Get(ctx, account, region, "s"); !fault.Is(err, fault.NotFound) {
		t.Fatal(err)
	}
	if _, ok := r.store.Log(s.ID()); ok {
		t.Fatal("its records are still there")
	}
}

// TestAStopInTheMiddleIsGoneOnWith stops with each change pending, and looks what is there
// after the next start.
func TestAStopInTheMiddleIsGoneOnWith(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		change func(*Stream) error
		check  func(*testing.T, *rig)
	}{
		"create": {nil, func(t *testing.T, r *rig) {
			if n := r.get("s").OpenShards(); n != 2 {
				t.Fatalf("%d shards", n)
			}
		}},
		"split": {func(s *Stream) error { return s.Split(ctx, 0, records.HashKey{Lo: 100}) }, func(t *testing.T, r *rig) {
			if n := r.get("s").OpenShards(); n != 3 {
				t.Fatalf("%d shards", n)
			}
		}},
		"reshard": {func(s *Stream) error { _, err := s.Reshard(ctx, 3); return err }, func(t *testing.T, r *rig) {
			if n := r.get("s").OpenShards(); n != 3 {
				t.Fatalf("%d shards", n)
			}
		}},
		"encrypt": {func(s *Stream) error { return s.Encrypt(ctx, "k") }, func(t *testing.T, r *rig) {
			log, err := r.get("s").Log()
			r.must(err)
			if !log.Encrypted() {
				t.Fatal("it is not encrypted")
			}
		}},
		"consumer": {func(s *Stream) error { _, err := s.Register(ctx, "c", map[string]string{"a": "b"}); return err }, func(t *testing.T, r *rig) {
			c, err := r.get("s").Consumer("c")
			r.must(err)
			if c.Status != Active || c.Tags["a"] != "b" {
				t.Fatalf("%+v", c)
			}
		}},
		"delete": {func(s *Stream) error { return s.Delete(ctx, true) }, func(t *testing.T, r *rig) {
			if len(r.data.List("", "")) != 0 {
				t.Fatal("it is still there")
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Config{StateDelay: time.Hour})
			if c.change != nil {
				r.stop()
				r.config.StateDelay = 0
				r.start()
			}
			s := r.create(New{Name: "s", Shards: 2})
			if c.change != nil {
				r.stop()
				r.config.StateDelay = time.Hour
				r.start()
				s = r.get("s")
				r.must(c.change(s))
			}
			r.stop()
			r.config.StateDelay = time.Millisecond
			r.start()
			for _, s := range r.data.List("", "") {
				r.must(s.Settled(ctx))
			}
			c.check(t, r)
		})
	}
}

func TestAllSettingsOutliveARestart(t *testing.T) {
	r := newRig(t, Config{Clock: newClock()})
	ctx := context.Background()
	s := r.create(New{Name: "s", Shards: 3, Tags: map[string]string{"a": "b"}, MaxRecord: 2 << 20})
	r.must(s.SetRetention(ctx, 48*time.Hour, true))
	r.must(s.SetTags(ctx, map[string]string{"c": "d"}, []string{"a"}))
	_, _, err := s.SetMetrics(ctx, []string{"ALL"}, true)
	r.must(err)
	r.must(s.SetPolicy(ctx, "{}"))
	r.must(s.Encrypt(ctx, "alias/k"))
	r.must(s.SetMode(ctx, OnDemand, 5))
	_, err = r.data.Commit(ctx, account, region, true)
	r.must(err)
	secret, err := r.data.Secret(ctx, "x")
	r.must(err)
	before, settings := *s.Info(), r.data.Account(account, region)
	r.restart()
	after := *r.get("s").Info()
	if after.Retention != before.Retention || after.Tags["c"] != "d" || len(after.Tags) != 1 || len(after.Metrics) != 7 || after.Policy != "{}" ||
		after.KeyID != "alias/k" || after.Mode != OnDemand || after.Warm != 5 || after.MaxRecord != 2<<20 || after.StreamID != before.StreamID ||
		!after.Created.Equal(before.Created) || after.Status != Active {
		t.Fatalf("%+v\nwas\n%+v", after, before)
	}
	if r.data.Account(account, region) != settings {
		t.Fatal("the account's settings are others")
	}
	again, err := r.data.Secret(ctx, "x")
	r.must(err)
	if other, _ := r.data.Secret(ctx, "y"); !bytes.Equal(secret, again) || bytes.Equal(secret, other) {
		t.Fatal("a secret stays the same for its name, and for no other")
	}
	if n := r.get("s").OpenShards(); n != 5 {
		t.Fatalf("%d shards for a warm throughput of 5 MiB/s", n)
	}
}

func TestEncryptedRecordsAreNowhereInTheClear(t *testing.T) {
	r := newRig(t, Config{NoLimits: true})
	ctx := context.Background()
	s := r.create(New{Name: "s", Shards: 1})
	const plain, hidden = "nobody hid this", "somebody hid this"
	put := func(s *Stream, word string) {
		in := []records.Input{{Key: word + " key", Data: []byte(strings.Repeat(word+" ", 2000))}}
		r.must(s.Put(ctx, in, make([]records.Placed, 1)))
	}
	put(r.create(New{Name: "open", Shards: 1}), plain)
	r.must(s.Encrypt(ctx, "alias/aws/kinesis"))
	for range 80 { // more than a lane file: some are sealed into segments
		put(s, hidden)
	}
	r.restart()
	s = r.get("s")
	var sealed int
	for i, rec := range r.read(s) {
		if !rec.Sealed {
			continue
		}
		sealed++
		if !strings.HasPrefix(string(rec.Data), hidden) || rec.Key != hidden+" key" {
			t.Fatalf("record %d reads %.40q", i, rec.Data)
		}
	}
	if sealed != 80 {
		t.Fatalf("%d records say that they are encrypted", sealed)
	}
	r.stop()
	found := map[string]bool{}
	look := func(b []byte) {
		for _, word := range []string{plain, hidden} {
			if bytes.Contains(b, []byte(word)) {
				found[word] = true
			}
		}
	}
	r.must(filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		look(b)
		return err
	}))
	for o, err := range r.bucket.List(ctx, "", "") {
		r.must(err)
		body, err := r.bucket.Get(ctx, o.Key, 0, -1)
		r.must(err)
		b, err := io.ReadAll(body)
		r.must(err)
		r.must(body.Close())
		look(b)
	}
	if !found[plain] || found[hidden] {
		t.Fatalf("what lies on the disk: %v", found)
	}
}

func TestRetentionHoldsAtOnceAndBringsNothingBack(t *testing.T) {
	clock := newClock()
	r := newRig(t, Config{Clock: clock})
	ctx := context.Background()
	s := r.create(New{Name: "s", Shards: 1})
	r.must(s.SetRetention(ctx, 48*time.Hour, true))
	r.put(s, 1, 1, nil)
	clock.Add(30 * time.Hour)
	r.put(s, 1, 1, nil)
	count := func() int { return len(r.read(s)) }
	if n := count(); n != 2 {
		t.Fatalf("%d records in 48 hours", n)
	}
	r.must(s.SetRetention(ctx, 24*time.Hour, false))
	if n := count(); n != 1 {
		t.Fatalf("%d records in 24 hours", n)
	}
	r.must(s.SetRetention(ctx, 72*time.Hour, true))
	if n := count(); n != 1 {
		t.Fatalf("%d records: a longer retention brought what had expired back", n)
	}
	for want, err := range map[Reason]error{
		RetentionWrong:  s.SetRetention(ctx, 48*time.Hour, true),
		RetentionBounds: s.SetRetention(ctx, 23*time.Hour, false),
	} {
		if got := r.reason(err); got != want {
			t.Fatalf("%v: %v", want, err)
		}
	}
}

func TestEnsureMakesAStreamOnceForMany(t *testing.T) {
	r := newRig(t, Config{})
	got := make(chan *Stream)
	for range 8 {
		go func() {
			s, err := r.data.Ensure(context.Background(), account, region, "s")
			if err != nil {
				t.Error(err)
			}
			got <- s
		}()
	}
	first := <-got
	for range 7 {
		if s := <-got; s != first {
			t.Fatal("there are two")
		}
	}
	if first.Info().Mode != OnDemand || first.Info().Status != Active {
		t.Fatalf("%+v", first.Info())
	}
}
