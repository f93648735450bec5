package lane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
	"penstock/storage"
	"penstock/storage/lane/lanetest"
)

// slowLane is a lane in memory whose appends take a while and fail when told.
type slowLane struct {
	lanetest.Memory
	takes time.Duration
	mu    sync.Mutex
	fail  error
	sizes []int
}

func (l *slowLane) Append(ctx context.Context, epoch uint64, wall time.Time, entries int, body [][]byte) (storage.LSN, error) {
	time.Sleep(l.takes)
	l.mu.Lock()
	err := l.fail
	l.sizes = append(l.sizes, entries)
	l.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return l.Memory.Append(ctx, epoch, wall, entries, body)
}

func (l *slowLane) setFail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

// running is a Writer whose Run is under way.
type running struct {
	*Writer
	lane *slowLane
	stop context.CancelFunc
	end  chan error
}

func run(t *testing.T, l *slowLane, cfg WriterConfig) *running {
	t.Helper()
	if err := l.Fence(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Writer: NewWriter(l, 1, cfg), lane: l, stop: stop, end: make(chan error, 1)}
	go func() { r.end <- r.Run(ctx) }()
	return r
}

func put(t *testing.T, w *Writer, tag uint64, text string) Ticket {
	t.Helper()
	ticket, err := w.Put(context.Background(), tag, []byte(text[:len(text)/2]), []byte(text[len(text)/2:]))
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

func TestWhatComesDuringACommitIsTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &slowLane{takes: 10 * time.Millisecond}, WriterConfig{})
		began := time.Now()
		first := put(t, r.Writer, 1, "alone")
		synctest.Wait()
		var rest []Ticket
		for i := range 100 {
			rest = append(rest, put(t, r.Writer, uint64(i), "together"))
		}
		if lsn, err := first.Wait(t.Context()); lsn != 1 || err != nil {
			t.Errorf("the first: %d, %v", lsn, err)
		}
		if d := time.Since(began); d != 10*time.Millisecond {
			t.Errorf("the first waited %v: there is a linger", d)
		}
		for _, ticket := range rest {
			if lsn, err := ticket.Wait(t.Context()); lsn != 2 || err != nil {
				t.Errorf("the rest: %d, %v", lsn, err)
			}
		}
		if d := time.Since(began); d != 20*time.Millisecond {
			t.Errorf("the rest waited %v", d)
		}
		r.stop()
		if err := <-r.end; err != nil {
			t.Error(err)
		}
	})
}

func TestTheHookSeesEachCommitBeforeItsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen atomic.Uint64
		var bodies [][]byte
		var texts []string
		r := run(t, &slowLane{takes: time.Millisecond}, WriterConfig{MaxBatch: 300, Committed: func(c *Commit) {
			if uint64(c.LSN) != seen.Load()+1 {
				t.Errorf("commit %d after %d", c.LSN, seen.Load())
			}
			if c.Wall.IsZero() || len(c.Body) > 300 || cap(c.Body) != len(c.Body) {
				t.Errorf("wall %v, %d bytes with room for %d", c.Wall, len(c.Body), cap(c.Body))
			}
			for _, e := range c.Entries {
				text := string(c.Body[e.Off:][:e.Len])
				if text != fmt.Sprintf("entry %d", e.Tag) {
					t.Errorf("entry %d is %q", e.Tag, text)
				}
				texts = append(texts, text)
			}
			bodies = append(bodies, c.Body)
			seen.Store(uint64(c.LSN))
		}})
		var tickets []Ticket
		for i := range 1000 {
			tickets = append(tickets, put(t, r.Writer, uint64(i), fmt.Sprintf("entry %d", i)))
			if i%50 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		for _, ticket := range tickets {
			lsn, err := ticket.Wait(t.Context())
			if err != nil || uint64(lsn) > seen.Load() {
				t.Errorf("%d, %v: woken before the hook ran", lsn, err)
			}
		}
		r.stop()
		if err := <-r.end; err != nil {
			t.Error(err)
		}
		for i, text := range texts {
			if text != fmt.Sprintf("entry %d", i) {
				t.Fatalf("entry %d in the lane is %q: not the order of Put", i, text)
			}
		}
		i := 0
		for b, err := range r.lane.Replay(t.Context(), 1) {
			if err != nil || !bytes.Equal(b.Body, bodies[i]) {
				t.Fatalf("batch %d: the body that was handed on changed, %v", i+1, err)
			}
			i++
		}
	})
}

func TestPutWaitsWhileTooMuchIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &slowLane{takes: time.Second}, WriterConfig{MaxPending: 100})
		full := put(t, r.Writer, 0, string(make([]byte, 100)))
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		if _, err := r.Put(ctx, 1, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("put above the limit: %v", err)
		}
		if d := time.Since(began); d != 300*time.Millisecond {
			t.Errorf("gave up after %v", d)
		}
		if _, err := full.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait with a context that has ended: %v", err)
		}
		late := put(t, r.Writer, 2, "later")
		if d := time.Since(began); d != time.Second {
			t.Errorf("room after %v", d)
		}
		if lsn, err := late.Wait(t.Context()); lsn != 2 || err != nil {
			t.Errorf("%d, %v", lsn, err)
		}
		r.stop()
		if err := <-r.end; err != nil {
			t.Error(err)
		}
	})
}

func TestTheEndCommitsWhatIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &slowLane{takes: time.Second}, WriterConfig{MaxBatch: 10})
		var tickets []Ticket
		for i := range 5 {
			tickets = append(tickets, put(t, r.Writer, uint64(i), "7 bytes"))
		}
		r.stop()
		if err := <-r.end; err != nil {
			t.Error(err)
		}
		for i, ticket := range tickets {
			if lsn, err := ticket.Wait(t.Context()); int(lsn) != i+1 || err != nil {
				t.Errorf("%d, %v", lsn, err)
			}
		}
		if _, err := r.Put(t.Context(), 0, []byte("x")); !fault.Is(err, fault.Unavailable) {
			t.Errorf("put after the end: %v", err)
		}
	})
}

func TestAFailureIsEveryonesForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := fault.New(fault.Internal, "lane", "", "broken")
		r := run(t, &slowLane{takes: time.Second}, WriterConfig{MaxBatch: 10, MaxPending: 30})
		var tickets []Ticket
		for i := range 4 {
			tickets = append(tickets, put(t, r.Writer, uint64(i), "8 bytes!"))
		}
		waiting := make(chan error)
		go func() {
			_, err := r.Put(context.Background(), 9, []byte("x"))
			waiting <- err
		}()
		synctest.Wait()
		r.lane.setFail(broken)
		if err := <-r.end; !errors.Is(err, broken) {
			t.Errorf("Run: %v", err)
		}
		for _, ticket := range tickets {
			if _, err := ticket.Wait(t.Context()); !errors.Is(err, broken) {
				t.Errorf("a ticket: %v", err)
			}
		}
		if err := <-waiting; !errors.Is(err, broken) {
			t.Errorf("who waited for room: %v", err)
		}
		if _, err := r.Put(t.Context(), 0, []byte("x")); !errors.Is(err, broken) {
			t.Errorf("put after the failure: %v", err)
		}
	})
}

func TestNoRoomFailsWhatIsPendingAndPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, &slowLane{takes: time.Second}, WriterConfig{MaxBatch: 10})
		r.lane.setFail(fault.New(fault.Unavailable, "append", "", "full"))
		var tickets []Ticket
		for i := range 4 {
			tickets = append(tickets, put(t, r.Writer, uint64(i), "8 bytes!"))
		}
		for _, ticket := range tickets {
			if _, err := ticket.Wait(t.Context()); !fault.Is(err, fault.Unavailable) {
				t.Errorf("a ticket: %v", err)
			}
			if !ticket.Failed() {
				t.Error("a refused entry has not failed")
			}
		}
		r.lane.setFail(nil)
		again := put(t, r.Writer, 0, "again")
		if again.Failed() || (Ticket{}).Failed() {
			t.Error("what is pending has failed")
		}
		if lsn, err := again.Wait(t.Context()); lsn != 1 || err != nil || again.Failed() {
			t.Errorf("when there is room again: %d, %v", lsn, err)
		}
		r.stop()
		if err := <-r.end; err != nil {
			t.Error(err)
		}
	})
}

func TestBadEntriesAreRefused(t *testing.T) {
	w := NewWriter(&lanetest.Memory{}, 1, WriterConfig{})
	for _, parts := range [][][]byte{nil, {{}, {}}, {make([]byte, MaxEntry), {1}}} {
		if _, err := w.Put(t.Context(), 0, parts...); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d parts: %v", len(parts), err)
		}
	}
	if _, err := (Ticket{}).Wait(t.Context()); !fault.Is(err, fault.Invalid) {
		t.Errorf("no ticket: %v", err)
	}
}

// TestPutDoesNotAllocateForEachEntry holds the promise to who puts thousands at once.
func TestPutDoesNotAllocateForEachEntry(t *testing.T) {
	w := NewWriter(&lanetest.Memory{}, 1, WriterConfig{MaxPending: 1 << 30})
	head, data := make([]byte, 40), make([]byte, 1000)
	put := func() {
		if _, err := w.Put(context.Background(), 0, head, data); err != nil {
			t.Error(err)
		}
	}
	for range 100 {
		put()
	}
	if n := testing.AllocsPerRun(2000, put); n > 0.1 {
		t.Errorf("%.2f allocations an entry", n)
	}
}

// TestConcurrentWritersLoseNothingInAPowerCut has many goroutines put through a Writer
// until the power goes; who was told, finds it.
func TestConcurrentWritersLoseNothingInAPowerCut(t *testing.T) {
	for seed := range uint64(points(t, "PENSTOCK_CRASH_POINTS", 2000) / 30) {
		rng := rand.New(rand.NewPCG(seed, 8))
		fsys := crashfs.New(crashfs.Config{})
		fsys.CrashAt(20 + rng.Int64N(100))
		acked := crowd(t, fsys)
		if !fsys.Crashed() {
			t.Fatalf("seed %d: the writers ended before the power did", seed)
		}
		f := open(t, small(fsys.Crash(rng), "l"))
		var have [8]uint64
		for b, err := range f.Replay(t.Context(), 1) {
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for body := b.Body; len(body) > 0; body = body[16:] {
				who, n := binary.LittleEndian.Uint64(body), binary.LittleEndian.Uint64(body[8:])
				if n != have[who]+1 {
					t.Fatalf("seed %d: entry %d of %d follows %d", seed, n, who, have[who])
				}
				have[who] = n
			}
		}
		for who, n := range acked {
			if have[who] < n {
				t.Fatalf("seed %d: %d entries of %d were acknowledged and %d are there", seed, n, who, have[who])
			}
		}
		closeLane(t, f)
	}
}

// crowd puts numbered entries from eight goroutines until the lane breaks, and returns
// the last number of each that was acknowledged.
func crowd(t *testing.T, fsys *crashfs.FS) (acked [8]uint64) {
	f, err := Open(t.Context(), small(fsys, "l"))
	if err == nil {
		err = f.Fence(t.Context(), 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // the power is gone
	w := NewWriter(f, 1, WriterConfig{MaxBatch: 1000, MaxPending: 3000})
	end := make(chan error, 1)
	go func() { end <- w.Run(t.Context()) }()
	var wg sync.WaitGroup
	for who := range acked {
		wg.Go(func() {
			entry := make([]byte, 16)
			binary.LittleEndian.PutUint64(entry, uint64(who))
			for n := uint64(1); ; n++ {
				binary.LittleEndian.PutUint64(entry[8:], n)
				ticket, err := w.Put(t.Context(), 0, entry[:5], entry[5:])
				if err == nil {
					_, err = ticket.Wait(t.Context())
				}
				if err != nil {
					return
				}
				acked[who] = n
			}
		})
	}
	wg.Wait()
	if err := <-end; !errors.Is(err, crashfs.ErrCrashed) && !errors.Is(err, syscall.EIO) && fault.KindOf(err) != fault.Internal {
		t.Errorf("Run: %v", err)
	}
	return acked
}
