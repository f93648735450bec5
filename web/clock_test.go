package web

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/fragments"
)

// TestATimelineByTheProducersClock tells of a producer that goes on over a gap, is set
// back, and jumps ahead.
func TestATimelineByTheProducersClock(t *testing.T) {
	zero := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	draw := func(resolution time.Duration) string {
		v := timelineView{}
		l := producerLine{view: &v, start: zero, end: zero.Add(time.Hour), resolution: resolution}
		server := zero.Add(24 * time.Hour)
		say := func(at int, gap fragments.Cause) {
			h := fragments.Head{Number: fragments.Number(server.UnixMicro()), Start: server, End: server.Add(2 * time.Second), Producer: zero.Add(time.Duration(at) * time.Second), Gap: gap, Size: 10}
			if !l.add(h) {
				t.Fatal("it is full")
			}
			server = server.Add(2 * time.Second)
		}
		for _, at := range []int{-1, 1, 3} { // the first begins before the window
			say(at, fragments.CauseNone)
		}
		say(30, fragments.CauseConnectionLost)
		say(10, fragments.CauseNone) // set back
		say(12, fragments.CauseNone)
		say(60, fragments.CauseNone) // set ahead
		var b strings.Builder
		for _, s := range v.Spans {
			fmt.Fprintf(&b, "%v-%v server %v-%v, %d of %d bytes\n", s.Start.Sub(zero), s.End.Sub(zero), s.ServerStart.Sub(zero)-24*time.Hour, s.ServerEnd.Sub(zero)-24*time.Hour, s.Fragments, s.Bytes)
		}
		for _, g := range v.Gaps {
			fmt.Fprintf(&b, "gap %v-%v %s\n", g.Start.Sub(zero), g.End.Sub(zero), g.Reason)
		}
		return b.String()
	}
	want := `0s-5s server 0s-6s, 3 of 30 bytes
30s-32s server 6s-8s, 1 of 10 bytes
10s-14s server 8s-12s, 2 of 20 bytes
1m0s-1m2s server 12s-14s, 1 of 10 bytes
gap 5s-30s the connection to the camera was lost
gap 14s-1m0s the producer's clock jumped
`
	if got := draw(time.Second); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	want = `0s-32s server 0s-8s, 4 of 40 bytes
10s-1m2s server 8s-14s, 3 of 30 bytes
`
	if got := draw(time.Minute); got != want {
		t.Errorf("at a minute: got\n%swant\n%s", got, want)
	}
	l := producerLine{view: &timelineView{}, start: zero, end: zero.Add(time.Hour), resolution: time.Second}
	n := 0
	for ; l.add(fragments.Head{Producer: zero.Add(time.Duration(n%2) * time.Minute), Start: zero, End: zero.Add(time.Second)}); n++ {
	}
	if n > producerPieces {
		t.Errorf("%d pieces", n)
	}
}
