package segment

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"penstock/internal/fault"
	"penstock/storage"
	"penstock/storage/mem"
)

func TestKeysSortByLevelLaneAndLSNAndParseBack(t *testing.T) {
	last := ""
	for _, n := range []Name{
		{"s", 20260930, 0, 0, 1, 9},
		{"s", 20260930, 0, 0, 10, 1 << 60},
		{"s", 20260930, 0, 16, 2, 2},
		{"s", 20260930, 1, 0, 1, 9},
		{"s", 20261001, 0, 0, 1, 9},
	} {
		key := n.Key()
		if key <= last {
			t.Errorf("%s sorts before %s", key, last)
		}
		last = key
		if got, err := ParseKey(key); err != nil || got != n {
			t.Errorf("%s was read as %+v, %v", key, got, err)
		}
	}
	if DayOf(-1) != 19691231 || DayOf(1_790_000_000_000) != 20260921 {
		t.Error("the day is not the UTC day")
	}
	for _, bad := range []string{
		"", "seg/", "seg/s/20260931/0-0000-0000000000000001-0000000000000001.seg",
		"seg/s/20260930/0-0000-0000000000000001-0000000000000001",
		"seg/s/20260930/0-0000-0000000000000000-0000000000000001.seg",
		"seg/s/20260930/0-0000-0000000000000002-0000000000000001.seg",
		"seg/s/20260930/0-000-0000000000000001-0000000000000001.seg",
		"seg/s/20260930/0-0000-000000000000000A-000000000000000A.seg",
		"seg/s.t/20260930/0-0000-0000000000000001-0000000000000001.seg",
		"v/s/20260930/0-0000-0000000000000001-0000000000000001.seg",
	} {
		if n, err := ParseKey(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q is %+v, %v", bad, n, err)
		}
	}
}

func TestAListingNamesWhatIsNoSegment(t *testing.T) {
	b := mem.New(mem.Config{})
	one, two := testName(), testName()
	one.Day, two.Day, two.Stream = 20260930, 20260930, "s2"
	for _, key := range []string{one.Key(), two.Key(), "seg/s1/notes.txt", "v/s1/x"} {
		must(t, b.Put(t.Context(), key, strings.NewReader("x"), 1))
	}
	found, strange := 0, 0
	for f, err := range List(t.Context(), b, "") {
		switch {
		case fault.Is(err, fault.Invalid):
			strange++
			if f.Object.Key != "seg/s1/notes.txt" {
				t.Errorf("%s is no segment: %v", f.Object.Key, err)
			}
		case err != nil || f.Name.Key() != f.Object.Key:
			t.Error(f, err)
		default:
			found++
		}
	}
	if found != 2 || strange != 1 {
		t.Errorf("%d segments and %d others", found, strange)
	}
	for f, err := range List(t.Context(), b, "s2") {
		if err != nil || f.Name != two {
			t.Error(f, err)
		}
	}
}

func TestTheWriterRefusesWhatNoReaderWouldTake(t *testing.T) {
	good := Record{Index: 5, Arrival: 100}
	fresh := func() *Writer {
		w, err := NewWriter(io.Discard, Config{Name: testName()})
		must(t, err)
		return w
	}
	for name, try := range map[string]func(w *Writer) error{
		"an index twice":       func(w *Writer) error { return w.Add(&Record{Index: 5, Arrival: 100}) },
		"an arrival backwards": func(w *Writer) error { return w.Add(&Record{Index: 6, Arrival: 99}) },
		"a key too long": func(w *Writer) error {
			return w.Add(&Record{Index: 6, Arrival: 100, Key: strings.Repeat("k", MaxKey+1)})
		},
		"data too long":      func(w *Writer) error { return w.Add(&Record{Index: 6, Arrival: 100, Data: make([]byte, MaxData+1)}) },
		"flags too many":     func(w *Writer) error { return w.Add(&Record{Index: 6, Arrival: 100, Flags: 64}) },
		"an index too large": func(w *Writer) error { return w.Add(&Record{Index: 1 << 63, Arrival: 100}) },
		"a shard twice":      func(w *Writer) error { return w.Begin(Shard{ID: 3}) },
		"too much about one": func(w *Writer) error { return w.Begin(Shard{ID: 4, About: make([]byte, MaxAbout+1)}) },
	} {
		w := fresh()
		must(t, w.Begin(Shard{ID: 3}))
		must(t, w.Add(&good))
		if err := try(w); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
		must(t, w.Add(&Record{Index: 6, Arrival: 100}))
		if info, err := w.Finish(); err != nil || info.Records != 2 {
			t.Errorf("after %s: %+v, %v", name, info, err)
		}
		if err := w.Add(&Record{Index: 7, Arrival: 100}); !fault.Is(err, fault.Invalid) {
			t.Errorf("a record after the end: %v", err)
		}
	}
	w := fresh()
	if err := w.Add(&good); !fault.Is(err, fault.Invalid) {
		t.Errorf("a record of no shard: %v", err)
	}
	if _, err := w.Finish(); !fault.Is(err, fault.Invalid) {
		t.Errorf("an empty segment: %v", err)
	}
	for name, c := range map[string]Config{
		"no stream":          {Name: Name{First: 1, Last: 1}},
		"no LSN":             {Name: Name{Stream: "s"}},
		"a key without a id": {Name: testName(), AEAD: keyOf(t)},
		"an id without key":  {Name: testName(), KeyID: "k"},
		"small blocks":       {Name: testName(), BlockSize: 1},
	} {
		if _, err := NewWriter(io.Discard, c); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// full takes n bytes.
type full struct{ n int }

var errFull = errors.New("disk full")

func (f *full) Write(b []byte) (int, error) {
	if len(b) > f.n {
		n := f.n
		f.n = 0
		return n, errFull
	}
	f.n -= len(b)
	return len(b), nil
}

func TestAFailedWriteEndsTheSegmentForGood(t *testing.T) {
	shards := someShards(20, 2000)
	whole, _ := write(t, Config{Name: testName(), BlockSize: MinBlock}, shards)
	for n := 0; n < len(whole); n += 501 {
		w, err := NewWriter(&full{n}, Config{Name: testName(), BlockSize: MinBlock})
		must(t, err)
		var first error
		for _, s := range shards {
			if err := w.Begin(s.Shard); err != nil && first == nil {
				first = err
			}
			for i := range s.records {
				if err := w.Add(&s.records[i]); err != nil && first == nil {
					first = err
				}
			}
		}
		_, err = w.Finish()
		if !errors.Is(err, errFull) || first != nil && !errors.Is(first, errFull) {
			t.Fatalf("a disk of %d bytes: %v, %v", n, first, err)
		}
	}
}

func TestTheSameRecordsGiveTheSameBytes(t *testing.T) {
	shards := someShards(50, 2000)
	a, _ := write(t, Config{Name: testName()}, shards)
	b, _ := write(t, Config{Name: testName()}, shards)
	if !bytes.Equal(a, b) {
		t.Error("a segment that is made again after a crash is another")
	}
}

func TestOneReadServesAllWhoWantABlock(t *testing.T) {
	b, info := write(t, Config{Name: testName()}, someShards(200, 3000))
	slow := &gate{Bucket: mem.New(mem.Config{}), open: make(chan struct{}), came: make(chan struct{}, 100)}
	src := store(t, SourceConfig{Bucket: slow}, b, info)
	close(slow.open)
	r, err := src.Open(t.Context(), info.Name.Key(), info.Size)
	must(t, err)
	<-slow.came
	slow.open = make(chan struct{})
	slow.gets.Store(0)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := r.Block(ctx, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("whoever was called off: %v", err)
		}
	})
	<-slow.came // the one that is called off reads; the others wait for it
	for range 20 {
		wg.Go(func() {
			if b, err := r.Block(t.Context(), 0); err != nil || b.Len() == 0 {
				t.Errorf("another's call-off became %v", err)
			}
		})
	}
	cancel()
	<-slow.came
	close(slow.open)
	wg.Wait()
	if n := slow.gets.Load(); n != 2 {
		t.Errorf("%d reads for one that was called off and 20 that were not", n)
	}
}

// gate is a bucket whose Gets wait.
type gate struct {
	storage.Bucket
	open chan struct{}
	came chan struct{}
	gets atomic.Int32
}

func (g *gate) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	g.gets.Add(1)
	g.came <- struct{}{}
	select {
	case <-g.open:
		return g.Bucket.Get(ctx, key, off, n)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestAnEndedContextEndsTheReading(t *testing.T) {
	b, info := write(t, Config{Name: testName(), BlockSize: MinBlock}, someShards(200, 3000))
	src := store(t, SourceConfig{Cache: 1}, b, info)
	r, err := src.Open(t.Context(), info.Name.Key(), info.Size)
	must(t, err)
	for _, ahead := range []int{0, 4} {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		for range r.Blocks(ctx, 0, info.Blocks, ahead) {
			if n++; n == 3 {
				cancel()
			}
		}
		cancel()
		if n != 3 {
			t.Errorf("%d blocks came, the context ended after 3", n)
		}
	}
}

func TestWritingAllocatesNothingForARecord(t *testing.T) {
	rec := Record{Arrival: 1, Key: "key", Data: make([]byte, 1000)}
	w, err := NewWriter(io.Discard, Config{Name: testName(), Plain: true})
	must(t, err)
	must(t, w.Begin(Shard{}))
	n := testing.AllocsPerRun(20_000, func() {
		rec.Index++
		must(t, w.Add(&rec))
	})
	if n > 0 {
		t.Errorf("%.2f allocations a record", n)
	}
}

func TestMemoryDoesNotGrowWithTheSegment(t *testing.T) {
	rec := Record{Arrival: 1, Key: "key", Data: make([]byte, 10_000)}
	w, err := NewWriter(io.Discard, Config{Name: testName(), Plain: true})
	must(t, err)
	must(t, w.Begin(Shard{}))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 10_000 { // 100 MB
		rec.Index++
		must(t, w.Add(&rec))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := int64(after.HeapAlloc) - int64(before.HeapAlloc); got > 2<<20 {
		t.Errorf("%d bytes are held for a segment of 100 MB", got)
	}
	if info, err := w.Finish(); err != nil || info.Size < 100e6 {
		t.Error(info.Size, err)
	}
}

func TestTheLargestRecordsFit(t *testing.T) {
	shards := []shardRecords{{records: []Record{
		{Index: 0, Data: bytes.Repeat([]byte("x"), MaxBlock-100)},
		{Index: maxIndex, Arrival: maxArrival, Key: strings.Repeat("k", MaxKey), Data: make([]byte, MaxData), Flags: maxFlags},
	}}}
	for name, c := range somehow(t) {
		c.BlockSize = MaxBlock
		b, info := write(t, c, shards)
		src := store(t, SourceConfig{Keys: keys(t)}, b, info)
		r, err := src.Open(t.Context(), info.Name.Key(), info.Size)
		must(t, err)
		got, err := readAll(t.Context(), r, 0)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		compare(t, got, shards)
	}
}
