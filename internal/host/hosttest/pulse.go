package hosttest

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A Pulse feels how late the machine is: it sleeps for a moment again and again, and notes
// by how much it overslept. A test that bounds how long something takes subtracts what the
// machine lost by itself.
type Pulse struct {
	fair time.Duration // what a beat may take on a machine that keeps up

	mu    sync.Mutex
	beat  time.Time // when the one under way began
	lates []late
}

type late struct{ begin, end time.Time }

// Feel feels the pulse until the test ends.
func Feel(t testing.TB) *Pulse {
	return feel(t, 10*time.Millisecond, 30*time.Millisecond, func() error { return nil })
}

// FeelDisk feels the disk's pulse too: each beat syncs a byte to it.
func FeelDisk(t testing.TB) *Pulse {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "pulse"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // after the last beat: cleanups run backwards
	return feel(t, 100*time.Millisecond, 200*time.Millisecond, func() error {
		_, err := f.WriteAt([]byte{1}, 0)
		return errors.Join(err, f.Sync())
	})
}

// feel beats every so often; with an error it feels no more.
func feel(t testing.TB, every, fair time.Duration, beat func() error) *Pulse {
	p := &Pulse{fair: fair, beat: time.Now()}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(every):
			}
			if beat() != nil {
				return
			}
			p.next()
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
	})
	return p
}

func (p *Pulse) next() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if fair := p.beat.Add(p.fair); now.After(fair) {
		p.lates = append(p.lates, late{fair, now})
	}
	p.beat = now
}

// Between is how late the machine was from a to b.
func (p *Pulse) Between(a, b time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum time.Duration
	for _, l := range append(p.lates[:len(p.lates):len(p.lates)], late{p.beat.Add(p.fair), time.Now()}) {
		begin, end := l.begin, l.end
		if begin.Before(a) {
			begin = a
		}
		if end.After(b) {
			end = b
		}
		sum += max(0, end.Sub(begin))
	}
	return sum
}

// Took is how long it is since a, without what the machine was late.
func (p *Pulse) Took(a time.Time) time.Duration {
	now := time.Now()
	return now.Sub(a) - p.Between(a, now)
}
