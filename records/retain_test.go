package records

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage/disk"
	"penstock/storage/mem"
)

// shifted is a clock that a test sets; its timers are real.
type shifted struct {
	host.System
	by atomic.Int64
}

func (c *shifted) Now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

func (c *shifted) advance(d time.Duration) { c.by.Add(int64(d)) }

// timed is a rig whose clock and retention a test sets.
func timed(t *testing.T, change ...func(*Config)) (*rig, *shifted, *atomic.Int64) {
	clock, keep := &shifted{}, &atomic.Int64{}
	keep.Store(int64(24 * time.Hour))
	r := newRig(t, append([]func(*Config){func(c *Config) {
		c.Clock, c.Retention = clock, func(string) time.Duration { return time.Duration(keep.Load()) }
	}}, change...)...)
	return r, clock, keep
}

func texts(all []Record) (out []string) {
	for _, r := range all {
		out = append(out, string(r.Data))
	}
	return out
}

func (r *rig) holds(l *Log, id ShardID, want ...string) {
	r.t.Helper()
	got, _ := readAll(r.t, l, id, Position{})
	if !slices.Equal(texts(got), want) {
		r.t.Fatalf("shard %d holds %q, want %q", id, texts(got), want)
	}
}

func TestTheHorizonMovesOverMemoryLaneAndSegments(t *testing.T) {
	for _, where := range []string{"memory", "lane", "segment"} {
		t.Run(where, func(t *testing.T) {
			r, clock, keep := timed(t, func(c *Config) {
				if where == "lane" {
					c.TailBytes = 1
				}
			})
			l := r.create("s", 1)
			for _, s := range []string{"a", "b", "c", "d"} {
				put(t, l, s)
				if where == "segment" {
					must(t, r.store.Seal(context.Background()))
				}
				clock.advance(time.Hour)
			}
			first, err := l.At(context.Background(), 0, From{Kind: Horizon})
			must(t, err)
			r.holds(l, 0, "a", "b", "c", "d")
			keep.Store(int64(150 * time.Minute)) // shorter: at once
			r.holds(l, 0, "c", "d")
			keep.Store(int64(24 * time.Hour)) // longer: what expired stays away
			r.holds(l, 0, "c", "d")
			must(t, l.Expire(context.Background()))
			r.restart()
			l = r.log("s")
			r.holds(l, 0, "c", "d")
			got, _ := readAll(t, l, 0, first)
			if len(got) != 2 {
				t.Errorf("a position before the horizon reads %d records", len(got))
			}
			clock.advance(22*time.Hour + 30*time.Minute)
			r.holds(l, 0, "d")
			clock.advance(time.Hour)
			r.holds(l, 0)
			put(t, l, "e")
			r.holds(l, 0, "e")
		})
	}
}

func TestWhatExpiredIsDeletedFromTheBucket(t *testing.T) {
	r, clock, _ := timed(t)
	bucket := r.cfg.Bucket.(*mem.Bucket)
	count := func() (n int) {
		for _, err := range bucket.List(context.Background(), "seg/", "") {
			must(t, err)
			n++
		}
		return n
	}
	l := r.create("s", 1)
	put(t, l, "a")
	must(t, r.store.Seal(context.Background()))
	clock.advance(20 * time.Hour)
	put(t, l, "b")
	must(t, r.store.Seal(context.Background()))
	must(t, l.Split(context.Background(), 0, Middle(HashKey{}, MaxHashKey)))
	if n := count(); n != 2 {
		t.Fatalf("%d segments", n)
	}
	clock.advance(5 * time.Hour)
	must(t, r.store.sweep(context.Background()))
	if n := count(); n != 1 {
		t.Errorf("%d segments when one expired", n)
	}
	if n := len(l.Shards()); n != 3 {
		t.Errorf("%d shards while the parent's records are there", n)
	}
	clock.advance(20 * time.Hour)
	if all := l.Shards(); len(all) != 2 || all[0].ID != 1 || all[0].Parent != 0 {
		t.Errorf("%+v when the parent's records expired", all)
	}
	must(t, r.store.sweep(context.Background()))
	if n := count(); n != 0 {
		t.Errorf("%d segments when all expired", n)
	}
	var page Page
	if err := l.Read(context.Background(), 0, Position{}, 0, 0, &page); !fault.Is(err, fault.NotFound) {
		t.Errorf("read of an expired shard: %v", err)
	}
	r.restart()
	l = r.log("s")
	if all := l.Shards(); len(all) != 2 || all[0].ID != 1 {
		t.Errorf("%+v after a restart", all)
	}
	must(t, l.Merge(context.Background(), 1, 2))
	if all := l.Shards(); all[2].ID != 3 {
		t.Errorf("%+v: an ID was given again", all)
	}
}

func TestATimeFindsTheFirstRecordFromItOn(t *testing.T) {
	r, clock, _ := timed(t, func(c *Config) { c.TailBytes = 1 })
	l := r.create("s", 1)
	var arrivals []time.Time
	for i := range 60 {
		put(t, l, lines("x", 3)...)
		got, _ := readAll(t, l, 0, Position{})
		arrivals = append(arrivals, got[len(got)-1].Arrival)
		clock.advance(time.Second)
		if i%17 == 16 {
			must(t, r.store.Seal(context.Background()))
		}
	}
	for i, at := range arrivals {
		for d, want := range map[time.Duration]int{0: 3 * i, -time.Microsecond: 3 * i, time.Microsecond: 3 * (i + 1), time.Millisecond: 3 * (i + 1)} {
			p, err := l.At(context.Background(), 0, From{Kind: AtTime, Time: at.Add(d)})
			must(t, err)
			var page Page
			must(t, l.Read(context.Background(), 0, p, 1, 0, &page))
			if len(page.Records) == 0 && want == 180 {
				continue
			}
			if len(page.Records) != 1 || page.Records[0].Seq.Index() != uint64(want+1) {
				t.Fatalf("%v from record %d on: %v, want %d", d, 3*i, page.Records, want+1)
			}
		}
	}
}

func TestArrivalsNeverRunBackwards(t *testing.T) {
	r, clock, _ := timed(t)
	l := r.create("s", 1)
	put(t, l, "a")
	clock.advance(-time.Hour)
	put(t, l, "b")
	r.restart()
	l = r.log("s")
	put(t, l, "c")
	must(t, r.store.Seal(context.Background()))
	r.restart()
	l = r.log("s")
	put(t, l, "d")
	got, _ := readAll(t, l, 0, Position{})
	for i := 1; i < len(got); i++ {
		if got[i].Arrival.Before(got[i-1].Arrival) || got[i].Seq.Compare(got[i-1].Seq) <= 0 {
			t.Errorf("%v follows %v", got[i], got[i-1])
		}
	}
	if len(got) != 4 {
		t.Errorf("%d records", len(got))
	}
}

func TestAnEncryptedStreamLeavesNoPlainTextOnTheDisk(t *testing.T) {
	r := newRig(t, func(c *Config) {
		b, err := disk.Open(context.Background(), disk.Config{Dir: c.Dir + "/bucket"})
		must(t, err)
		c.Bucket, c.Keys, c.TailBytes = b, testKeys{}, 1
	})
	l := r.create("s", 1)
	must(t, l.Encrypt(context.Background(), true))
	put(t, l, "a very secret thing")
	r.restart()
	l = r.log("s")
	put(t, l, "another very secret thing")
	search := func() (files int) {
		must(t, filepath.WalkDir(r.cfg.Dir, func(name string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(name)
			if bytes.Contains(b, []byte("very secret")) {
				t.Errorf("%s holds the plain text", name)
			}
			files++
			return err
		}))
		return files
	}
	search()
	must(t, r.store.Seal(context.Background()))
	put(t, l, "a third very secret thing")
	must(t, r.store.Seal(context.Background()))
	must(t, r.store.compact(context.Background()))
	search()
	must(t, l.Encrypt(context.Background(), false))
	put(t, l, "an open thing")
	must(t, r.store.Seal(context.Background()))
	r.restart()
	l = r.log("s")
	got, _ := readAll(t, l, 0, Position{})
	for i, sealed := range []bool{true, true, true, false} {
		if len(got) != 4 || got[i].Sealed != sealed {
			t.Fatalf("%+v", got)
		}
	}
	r.stop()
	r.cfg.Keys = nil
	r.open()
	var page Page
	if err := r.log("s").Read(context.Background(), 0, Position{}, 0, 0, &page); err == nil {
		t.Error("the records were read without their key")
	}
}

func TestADeletedStreamIsGone(t *testing.T) {
	r := newRig(t)
	l := r.create("s", 2)
	put(t, l, lines("x", 50)...)
	must(t, r.store.Seal(context.Background()))
	put(t, l, lines("y", 50)...)
	p, err := l.At(context.Background(), 1, From{Kind: Latest})
	must(t, err)
	done := make(chan error)
	go func() { done <- l.Wait(context.Background(), 1, p) }()
	must(t, r.store.Delete(context.Background(), "s"))
	if err := <-done; !fault.Is(err, fault.NotFound) {
		t.Errorf("who waited got %v", err)
	}
	if err := l.Put(context.Background(), []Input{{Key: "x"}}, make([]Placed, 1), nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("put: %v", err)
	}
	if err := l.Split(context.Background(), 0, HashKey{1, 1}); !fault.Is(err, fault.NotFound) {
		t.Errorf("split: %v", err)
	}
	r.create("s", 1)
	r.holds(r.log("s"), 0)
	must(t, r.store.Seal(context.Background()))
	r.restart()
	r.holds(r.log("s"), 0)
	must(t, r.store.sweep(context.Background()))
	maps := 0
	for o, err := range r.cfg.Bucket.List(context.Background(), "", "") {
		if err != nil || !strings.HasPrefix(o.Key, mapPrefix("s")) {
			t.Errorf("%v %v is left", o, err)
		}
		maps++
	}
	if maps != 1 {
		t.Errorf("%d maps of shards are left, want that of the new stream", maps)
	}
}

func TestTheGateRefusesRecordsNotCalls(t *testing.T) {
	r := newRig(t)
	l := r.create("s", 1)
	in, out := benchInputs(10, []byte("x")), make([]Placed, 10)
	asked := 0
	must(t, l.Put(context.Background(), in, out, func(id ShardID, n, size int) bool {
		if id != 0 || n != 1 || size != 1+len("device-0") {
			t.Errorf("asked for %d records of %d bytes in %v", n, size, id)
		}
		asked++
		return asked%2 == 1
	}))
	for i, p := range out {
		if refused := i%2 == 1; refused != fault.Is(p.Err, fault.Throttled) || refused != p.Seq.IsZero() {
			t.Errorf("record %d: %+v", i, p)
		}
	}
	if got, _ := readAll(t, l, 0, Position{}); len(got) != 5 {
		t.Errorf("%d records were stored", len(got))
	}
	must(t, l.Put(context.Background(), in, out, func(ShardID, int, int) bool { return false }))
}

func TestANumberToBeGreaterThanIsChecked(t *testing.T) {
	r := newRig(t)
	l := r.create("s", 1)
	first := put(t, l, "a")[0]
	try := func(after Seq) error {
		return l.Put(context.Background(), []Input{{Key: "a", After: after}}, make([]Placed, 1), nil)
	}
	must(t, try(first.Seq))
	must(t, try(newSeq(l.created+5, 3, 77, l.created+5))) // another stream's: AWS takes it too
	if err := try(newSeq(l.created, 0, 4, l.created)); !fault.Is(err, fault.Invalid) {
		t.Errorf("a number that is not given yet: %v", err)
	}
}

func TestManyWaitAndAllWake(t *testing.T) {
	r := newRig(t)
	l := r.create("s", 8)
	var all sync.WaitGroup
	var woken atomic.Int64
	for i := range 4000 {
		id := ShardID(i % 8)
		p, err := l.At(context.Background(), id, From{Kind: Latest})
		must(t, err)
		all.Go(func() {
			if err := l.Wait(context.Background(), id, p); err == nil {
				woken.Add(1)
			}
		})
	}
	put(t, l, lines("x", 200)...)
	all.Wait()
	if woken.Load() != 4000 {
		t.Errorf("%d woke", woken.Load())
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p, err := l.At(context.Background(), 0, From{Kind: Latest})
	must(t, err)
	if err := l.Wait(ctx, 0, p); err != context.Canceled {
		t.Errorf("with an ended context: %v", err)
	}
}

func TestAMarkLiesBetweenWhatWasReadAndWhatComes(t *testing.T) {
	r, clock, _ := timed(t)
	l := r.create("s", 1)
	var page Page
	before := put(t, l, "a", "b")[1].Seq
	must(t, l.Read(context.Background(), 0, Position{}, 0, 0, &page))
	m1, err := l.Mark(0, page.Next)
	must(t, err)
	clock.advance(2 * time.Second)
	m2, err := l.Mark(0, page.Next)
	must(t, err)
	after := put(t, l, "c")[0].Seq
	all := []Seq{before, m1, m2, after}
	if !slices.IsSortedFunc(all, Seq.Compare) || m1 == m2 {
		t.Errorf("%v", all)
	}
	for _, m := range []Seq{m1, m2} {
		back, err := ParseSeq(m.String())
		must(t, err)
		for _, k := range []Kind{AtSeq, AfterSeq} {
			p, err := l.At(context.Background(), 0, From{Kind: k, Seq: back})
			must(t, err)
			if got, _ := readAll(t, l, 0, p); len(got) != 1 || string(got[0].Data) != "c" {
				t.Errorf("from the mark: %q", texts(got))
			}
		}
	}
}

func TestBehindTellsHowFarAReaderIs(t *testing.T) {
	r, clock, _ := timed(t)
	l := r.create("s", 1)
	put(t, l, "a")
	clock.advance(10 * time.Second)
	put(t, l, "b")
	clock.advance(5 * time.Second)
	var page Page
	must(t, l.Read(context.Background(), 0, Position{}, 1, 0, &page))
	if d := page.Behind.Round(time.Second); d != 15*time.Second {
		t.Errorf("%v behind after the first of two", d)
	}
	must(t, l.Read(context.Background(), 0, page.Next, 1, 0, &page))
	if page.Behind != 0 {
		t.Errorf("%v behind at the newest", page.Behind)
	}
	must(t, l.Split(context.Background(), 0, Middle(HashKey{}, MaxHashKey)))
	clock.advance(7 * time.Second)
	must(t, l.Read(context.Background(), 0, page.Next, 1, 0, &page))
	if d := page.Behind.Round(time.Second); d != 7*time.Second || !page.Ended {
		t.Errorf("%v behind at the end, %v", d, page.Ended)
	}
}
