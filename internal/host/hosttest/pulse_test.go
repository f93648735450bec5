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
		time.Sleep(time.Second)
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
		if late := p.Between(began, end); late != time.Second {
			t.Errorf("late by %v of the last two seconds", late)
		}
		if took := p.Took(began); took != time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
