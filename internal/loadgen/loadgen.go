// Package loadgen loads a server from outside, the way cameras, producers and viewers do,
// and measures what comes back: synthetic cameras that push by RTSP (Fleet), signed puts
// into data streams (Endpoint), viewers over RTSP, HLS and WebSocket (Viewer). It also
// reads what a process and a machine did meanwhile (Counters, MachineCPU), and what a disk
// does at least for each write (RawDisk).
//
// It costs little itself, so that the machine is left to who is measured, and knows nothing
// of the server but its wire. Which load makes sense, and what the figures mean, is for who
// uses it: `penstock bench`, and the program bench.
package loadgen

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"
)

// Sleep waits for d; false: ctx ended before.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Quantile of waits, in ms; 0 when there are none. It sorts them.
func Quantile(waits []time.Duration, q float64) float64 {
	if len(waits) == 0 {
		return 0
	}
	slices.Sort(waits)
	return float64(waits[int(q*float64(len(waits)-1))]) / 1e6
}

// Rounded keeps three digits.
func Rounded(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	v, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	if err != nil {
		return 0
	}
	return v
}
