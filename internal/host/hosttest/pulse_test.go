package hosttest

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAPulseTellsHowLateTheMachineWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Feel(t)
		began := time.Now()
		time.Sleep(1005 * time.Millisecond) // between two beats
		if late := p.Between(began, time.Now()); late != 0 {
			t.Errorf("a machine that keeps up was late by %v", late)
		}
		p.mu.Lock()
		p.beat = p.beat.Add(-5 * time.Second) // the beat under way began so long ago
		p.mu.Unlock()
		if late := p.Between(began.Add(-time.Hour), time.Now()); late < 4900*time.Millisecond || late > 5*time.Second {
			t.Errorf("late by %v while it stands still, want nearly 5 s", late)
		}
		time.Sleep(time.Second) // the beat comes
		end := time.Now()
		if late := p.Between(began.Add(-time.Hour), end); late < 4900*time.Millisecond || late > 5*time.Second {
			t.Errorf("late by %v, want nearly 5 s", late)
		}
		if late := p.Between(began, end); late != 1010*time.Millisecond {
			t.Errorf("late by %v of the last two seconds, want 1.01 s: to the beat", late)
		}
		if took := p.Took(began); took != 995*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}
