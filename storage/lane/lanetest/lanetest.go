// Package lanetest is the suite that every storage.Lane passes, and a Lane in memory.
package lanetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/storage"
)

// Run tests the Lane that open returns; each case gets an empty one of its own, on which
// no epoch is fenced. The Lane should keep a few dozen KiB in a file or an object, so
// that the cases meet the borders between them.
func Run(t *testing.T, open func(t *testing.T) storage.Lane) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, storage.Lane)
	}{
		{"what was appended is replayed", roundTrip},
		{"numbers begin at one and have no hole", numbers},
		{"a replay begins where it is told", replayFrom},
		{"a replay may be left early", replayBreak},
		{"a replay sees what comes while it runs", replayGrowing},
		{"a body comes in pieces and is not kept", pieces},
		{"any range of a body can be read", ranges},
		{"an older epoch is denied", fenced},
		{"an epoch that was not fenced is denied", unfenced},
		{"an empty body is refused", empty},
		{"trimming keeps all from the number on", trim},
		{"an empty lane has bounds", emptyBounds},
		{"a cancelled context stops everything", cancelled},
		{"one appends while many read and one trims", together},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// epoch is what the cases append under.
const epoch = 7

// Body returns the body that the cases append as batch n: its size and bytes follow
// from n.
func Body(n storage.LSN) []byte {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	b := make([]byte, 1+rng.IntN(1<<(1+rng.IntN(14))))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// Wall returns the time of batch n.
func Wall(n storage.LSN) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(n)).UTC() }

// Fill fences an epoch and appends count batches.
func Fill(t testing.TB, l storage.Lane, epoch uint64, count int) {
	t.Helper()
	if err := l.Fence(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	for range count {
		appendNext(t, l, epoch)
	}
}

func appendNext(t testing.TB, l storage.Lane, epoch uint64) {
	t.Helper()
	_, next := l.Bounds()
	lsn, err := l.Append(t.Context(), epoch, Wall(next), int(next)%1000, [][]byte{Body(next)})
	if err != nil {
		t.Fatalf("append batch %d: %v", next, err)
	}
	if lsn != next {
		t.Fatalf("batch %d got number %d", next, lsn)
	}
}

// Check ends the test unless b is the batch that Fill appended under its number.
func Check(t testing.TB, b storage.Batch, epoch uint64) {
	t.Helper()
	if b.Epoch != epoch || !b.Wall.Equal(Wall(b.LSN)) || b.Entries != int(b.LSN)%1000 || !bytes.Equal(b.Body, Body(b.LSN)) {
		t.Fatalf("batch %d: epoch %d, wall %v, %d entries, %d bytes: not what was appended", b.LSN, b.Epoch, b.Wall, b.Entries, len(b.Body))
	}
}

func roundTrip(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 60)
	want := storage.LSN(1)
	for b, err := range l.Replay(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if b.LSN != want {
			t.Fatalf("batch %d comes after %d", b.LSN, want-1)
		}
		Check(t, b, epoch)
		want++
	}
	if want != 61 {
		t.Fatalf("%d batches of 60", want-1)
	}
}

func numbers(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 20)
	Fill(t, l, epoch+1, 20)
	if first, next := l.Bounds(); first != 1 || next != 41 {
		t.Errorf("bounds %d, %d", first, next)
	}
	for b, err := range l.Replay(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if want := epoch + uint64((b.LSN-1)/20); b.Epoch != want {
			t.Errorf("batch %d has epoch %d, want %d", b.LSN, b.Epoch, want)
		}
	}
}

func replayFrom(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 50)
	for from := storage.LSN(1); from <= 52; from++ {
		want := from
		for b, err := range l.Replay(t.Context(), from) {
			if err != nil {
				t.Fatal(err)
			}
			if b.LSN != want {
				t.Fatalf("from %d: %d, want %d", from, b.LSN, want)
			}
			Check(t, b, epoch)
			want++
		}
		if want != max(from, 51) {
			t.Fatalf("from %d: ended at %d", from, want)
		}
	}
}

func replayBreak(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 30)
	for stop := range storage.LSN(30) {
		for b, err := range l.Replay(t.Context(), 1) {
			if err != nil {
				t.Fatal(err)
			}
			if b.LSN > stop {
				break
			}
		}
	}
	appendNext(t, l, epoch)
}

func replayGrowing(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 5)
	var seen storage.LSN
	for b, err := range l.Replay(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		Check(t, b, epoch)
		seen = b.LSN
		if seen < 40 {
			appendNext(t, l, epoch)
		}
	}
	if _, next := l.Bounds(); seen != next-1 {
		t.Errorf("the replay ended at %d of %d", seen, next-1)
	}
}

func pieces(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 0)
	var body [][]byte
	for i := range 3000 { // more than one vectored write takes
		body = append(body, []byte{byte(i)}, nil, []byte{byte(i >> 8)})
	}
	want := bytes.Join(body, nil)
	lsn, err := l.Append(t.Context(), epoch, Wall(1), 1, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range body {
		clear(p)
	}
	got := make([]byte, len(want))
	if err := l.ReadAt(t.Context(), lsn, 0, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the body changed with the caller's slices")
	}
}

func ranges(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 40)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		lsn := storage.LSN(1 + rng.IntN(40))
		body := Body(lsn)
		off := rng.IntN(len(body))
		p := make([]byte, rng.IntN(len(body)-off+1))
		if err := l.ReadAt(t.Context(), lsn, int64(off), p); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, body[off:][:len(p)]) {
			t.Fatalf("batch %d, %d bytes at %d: wrong bytes", lsn, len(p), off)
		}
	}
	size := int64(len(Body(3)))
	for _, off := range []int64{-1, 1, size} {
		if err := l.ReadAt(t.Context(), 3, off, make([]byte, size)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d bytes at %d of %d: %v", size, off, size, err)
		}
	}
	if err := l.ReadAt(t.Context(), 41, 0, make([]byte, 1)); !fault.Is(err, fault.NotFound) {
		t.Errorf("a batch that is not there yet: %v", err)
	}
}

func fenced(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 3)
	Fill(t, l, epoch+2, 3)
	if _, err := l.Append(t.Context(), epoch, Wall(7), 1, [][]byte{{1}}); !fault.Is(err, fault.Denied) {
		t.Errorf("append under the old epoch: %v", err)
	}
	if err := l.Fence(t.Context(), epoch+1); !fault.Is(err, fault.Denied) {
		t.Errorf("fence an older epoch: %v", err)
	}
	if err := l.Fence(t.Context(), epoch+2); err != nil {
		t.Errorf("fence the same epoch: %v", err)
	}
	appendNext(t, l, epoch+2)
	if _, next := l.Bounds(); next != 8 {
		t.Errorf("%d batches: what was denied is stored", next-1)
	}
}

func unfenced(t *testing.T, l storage.Lane) {
	if _, err := l.Append(t.Context(), epoch, Wall(1), 1, [][]byte{{1}}); !fault.Is(err, fault.Denied) {
		t.Errorf("append before any fence: %v", err)
	}
	Fill(t, l, epoch, 1)
	if _, err := l.Append(t.Context(), epoch+1, Wall(2), 1, [][]byte{{1}}); !fault.Is(err, fault.Denied) {
		t.Errorf("append under a newer epoch that was not fenced: %v", err)
	}
	appendNext(t, l, epoch)
}

func empty(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 1)
	for _, body := range [][][]byte{nil, {}, {{}, nil}} {
		if _, err := l.Append(t.Context(), epoch, Wall(2), 0, body); !fault.Is(err, fault.Invalid) {
			t.Errorf("%v: %v", body, err)
		}
	}
	appendNext(t, l, epoch)
}

func trim(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 100)
	highest := storage.LSN(1)
	for _, before := range []storage.LSN{0, 1, 10, 50, 49, 99} {
		highest = max(highest, before)
		if err := l.Trim(t.Context(), before); err != nil {
			t.Fatal(err)
		}
		first, next := l.Bounds()
		if first > highest || next != 101 {
			t.Fatalf("trimmed to %d: bounds %d, %d", before, first, next)
		}
		want := first
		for b, err := range l.Replay(t.Context(), 1) {
			if err != nil {
				t.Fatal(err)
			}
			if b.LSN != want {
				t.Fatalf("trimmed to %d: %d, want %d", before, b.LSN, want)
			}
			Check(t, b, epoch)
			want++
		}
		if want != 101 {
			t.Fatalf("trimmed to %d: the replay ended at %d", before, want)
		}
		if first > 1 {
			if err := l.ReadAt(t.Context(), first-1, 0, make([]byte, 1)); !fault.Is(err, fault.Expired) {
				t.Errorf("read what is trimmed: %v", err)
			}
		}
	}
	for range 100 {
		appendNext(t, l, epoch)
	}
	if err := l.Trim(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	if first, next := l.Bounds(); next != 201 || first > next {
		t.Errorf("trimmed beyond the end: bounds %d, %d", first, next)
	}
	appendNext(t, l, epoch)
}

func emptyBounds(t *testing.T, l storage.Lane) {
	if first, next := l.Bounds(); first != 1 || next != 1 {
		t.Errorf("bounds %d, %d", first, next)
	}
	for b, err := range l.Replay(t.Context(), 1) {
		t.Errorf("replayed %v, %v", b, err)
	}
	if err := l.Trim(t.Context(), 5); err != nil {
		t.Error(err)
	}
	Fill(t, l, epoch, 2)
}

func cancelled(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 3)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, aerr := l.Append(ctx, epoch, Wall(4), 1, [][]byte{{1}})
	var rerr error
	for _, err := range l.Replay(ctx, 1) {
		rerr = err
	}
	for name, err := range map[string]error{
		"append": aerr, "replay": rerr,
		"fence":  l.Fence(ctx, epoch+1),
		"readat": l.ReadAt(ctx, 1, 0, make([]byte, 1)),
		"trim":   l.Trim(ctx, 2),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	appendNext(t, l, epoch)
}

func together(t *testing.T, l storage.Lane) {
	Fill(t, l, epoch, 1)
	var wg sync.WaitGroup
	done := make(chan struct{})
	for i := range 3 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			for {
				select {
				case <-done:
					return
				default:
				}
				first, _ := l.Bounds()
				if err := readSome(t.Context(), l, first, rng); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, next := l.Bounds(); next > 30 {
				if err := l.Trim(t.Context(), next-30); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 300 {
		appendNext(t, l, epoch)
	}
	close(done)
	wg.Wait()
}

// readSome replays some batches and reads each again.
func readSome(ctx context.Context, l storage.Lane, first storage.LSN, rng *rand.Rand) error {
	left := 1 + rng.IntN(20)
	last := storage.LSN(0)
	for b, err := range l.Replay(ctx, first) {
		if err != nil {
			return err
		}
		if b.LSN <= last || !bytes.Equal(b.Body, Body(b.LSN)) {
			return fmt.Errorf("batch %d after %d has wrong bytes", b.LSN, last)
		}
		last = b.LSN
		p := make([]byte, len(b.Body))
		err := l.ReadAt(ctx, b.LSN, 0, p)
		if err != nil && !fault.Is(err, fault.Expired) {
			return err
		}
		if err == nil && !bytes.Equal(p, Body(b.LSN)) {
			return fmt.Errorf("batch %d: wrong bytes read", b.LSN)
		}
		if left--; left == 0 {
			break
		}
	}
	return nil
}
