package web

import (
	"fmt"
	"sync"
	"time"

	"penstock/internal/fault"
)

// How often one key or person may change what events keep: so many times at once, then once
// in each interval. Each change has a line in the audit log, and one that is made and unmade
// again leaves nothing else: a camera's key could fill the disk with lines.
const (
	keepsAtOnce   = 300
	keepsInterval = 200 * time.Millisecond
	// pacedMost bounds how many are remembered; beyond, all who are there share one place.
	pacedMost = 8192
)

// pace says who has to wait. The zero value knows nobody.
type pace struct {
	mu   sync.Mutex
	free map[string]time.Time // when nothing is owed any more
}

// take counts a change by who, or refuses it.
func (p *pace) take(who string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == nil {
		p.free = map[string]time.Time{}
	}
	if _, ok := p.free[who]; !ok && len(p.free) >= pacedMost {
		for k, at := range p.free {
			if !at.After(now) {
				delete(p.free, k)
			}
		}
		if len(p.free) >= pacedMost {
			who = ""
		}
	}
	at := p.free[who]
	if at.Before(now) || at.Sub(now) > keepsAtOnce*keepsInterval { // more than can be owed: the clock was set back
		at = now
	}
	if at.Sub(now) > (keepsAtOnce-1)*keepsInterval {
		return fault.New(fault.Throttled, "change what events keep", "", fmt.Sprintf("more than %d changes by one key or person, and then %d a second", keepsAtOnce, time.Second/keepsInterval))
	}
	p.free[who] = at.Add(keepsInterval)
	return nil
}
