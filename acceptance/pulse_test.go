package acceptance

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// pulse feels how late the machine is: it syncs a byte to the disk ten times a second and
// adds up what that takes beyond its time. Bounds in seconds of media hold on a machine
// that keeps up; what it loses by itself is no fault of the server's.
type pulse struct {
	mu    sync.Mutex
	beat  time.Time // when the one under way began
	lates []late
}

type late struct {
	end time.Time
	by  time.Duration
}

const (
	pulseEvery = 100 * time.Millisecond
	pulseFair  = 200 * time.Millisecond // what a beat may take on a machine that keeps up
)

// feel feels the pulse until the test ends.
func feel(t testing.TB) *pulse {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "pulse"))
	if err != nil {
		t.Fatal(err)
	}
	p := &pulse{beat: time.Now()}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(pulseEvery):
			}
			if _, err := f.WriteAt([]byte{1}, 0); err != nil {
				return
			}
			if err := f.Sync(); err != nil {
				return
			}
			p.next()
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
		_ = f.Close()
	})
	return p
}

func (p *pulse) next() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if by := now.Sub(p.beat) - pulseFair; by > 0 {
		p.lates = append(p.lates, late{now, by})
	}
	p.beat = now
}

// since says how late the machine has been in all since t.
func (p *pulse) since(t time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := max(0, time.Since(p.beat)-pulseFair)
	for _, l := range p.lates {
		if l.end.After(t) {
			sum += l.by
		}
	}
	return sum
}
