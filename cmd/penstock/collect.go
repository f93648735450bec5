package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"penstock/internal/host"
)

// How often the heap is collected. Nearly all of it is media, which the collector frees
// without looking into it: to collect often, when it has grown by a fifth, costs a hundredth
// of a core and saves a third of the memory. That is right for cameras, whose media makes
// three collections a second, however many there are. Small requests make as many as they
// make garbage, and pay for them: where a fifth would be used up busyCollections times in each
// of busySeconds, which is longer than cameras take to fill their first groups of pictures,
// the heap may grow by busyGrowth more.
const (
	calmPercent     = 20
	busyCollections = 5
	busySeconds     = 3
	busyGrowth      = 64 << 20
	mostPercent     = 400 // of a heap that holds next to nothing
	paceTick        = time.Second
)

// heap is what is known of it at one moment.
type heap struct {
	at        time.Time
	allocated uint64 // bytes, since the start
	live      uint64 // bytes that the last collection left
}

// percent is how much the heap may grow before the next collection, by what happened
// between two moments.
func percent(from, to heap) int {
	calm := float64(to.live) * calmPercent / 100
	made := float64(to.allocated-from.allocated) / max(to.at.Sub(from.at).Seconds(), 1e-3)
	if to.live == 0 || made < calm*busyCollections {
		return calmPercent
	}
	return min(calmPercent+int(busyGrowth*100/to.live), mostPercent)
}

// pace has the heap collected as often as its use asks for, until ctx ends.
type pace struct {
	clock host.Clock
	read  func() heap
	set   func(percent int)
}

// paceOf is the pace of this process.
func paceOf(clock host.Clock) *pace {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	return &pace{
		clock: clock,
		read: func() heap {
			metrics.Read(samples)
			return heap{clock.Now(), samples[0].Value.Uint64(), samples[1].Value.Uint64()}
		},
		set: func(percent int) { debug.SetGCPercent(percent) },
	}
}

// start has run run until stop is called.
func (p *pace) start(ctx context.Context) (stop func()) {
	ctx, end := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { p.run(ctx) })
	return func() {
		end()
		running.Wait()
	}
}

// run sets what percent says each second, once it has said so for busySeconds. Between two
// steps that are nearly alike it changes nothing: each change stops the program for a moment.
func (p *pace) run(ctx context.Context) {
	now := calmPercent
	p.set(now)
	busy := 0 // seconds
	for last := p.read(); ; {
		timer := p.clock.NewTimer(paceTick)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		next := p.read()
		want := percent(last, next)
		last = next
		if busy++; want == calmPercent {
			busy = 0
		}
		if busy == 0 && now != calmPercent || busy >= busySeconds && (want > now+now/4 || want < now-now/4) {
			p.set(want)
			now = want
		}
	}
}
