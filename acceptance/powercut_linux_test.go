package acceptance

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"penstock/internal/host/hosttest"
)

// TestPowerCut cuts the power of the disk under recording cameras: what the server had
// called durable is there and plays.
func TestPowerCut(t *testing.T) {
	onVolumes(t, 1024, func(t *testing.T, v *volume, rng *rand.Rand) {
		s := startWith(t, &server{dir: v.data()})
		p := hosttest.FeelDisk(t)
		names := recording(t, s, 4)
		for n := range max(2, crashes(t)/8) {
			time.Sleep(time.Duration(3000+rng.IntN(2500)) * time.Millisecond) // the instant of the cut is the experiment
			s.powerCut(n, v, names, p)
		}
	})
}

// powerCut cuts the power, puts it back and looks at what is left.
func (s *server) powerCut(n int, v *volume, names []string, p *hosttest.Pulse) {
	s.t.Helper()
	kept := map[string][]persistedHead{}
	for _, name := range names {
		s.until(fmt.Sprintf("cut %d: something of %s is durable", n, name), time.Minute, func() error {
			if kept[name] = s.persisted(name); len(kept[name]) == 0 {
				return errors.New("nothing of the last 30 s is")
			}
			return nil
		})
	}
	cut := time.Now()
	v.cut()
	late := p.Between(cut.Add(-30*time.Second), time.Now()) // what the machine did not do is not durable either
	s.kill()
	v.unmount()
	v.mount()
	s.up()
	for _, name := range names {
		s.sameAsBefore(n, name, kept[name])
		var last time.Time
		for _, h := range s.fragments(name) {
			if h.Start.Before(cut) {
				last = h.End
			}
		}
		// The open fragment of 2 s, and 2 s of closed ones that were not durable yet.
		if lost := cut.Sub(last); lost > 4*time.Second+slack+late {
			s.t.Errorf("cut %d: %s: the last %v before the cut are lost; the machine was %v late", n, name, lost, late)
		}
	}
	for _, name := range names {
		s.until(name+" is back", 15*time.Second, func() error {
			if v := s.stream(name); !v.Live {
				return fmt.Errorf("%s %s", v.State, v.Reason)
			}
			return nil
		})
	}
}

// slack is what a busy machine may add to a time that is measured from outside.
const slack = time.Second
