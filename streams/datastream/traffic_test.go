package datastream

import (
	"fmt"
	"testing"
	"time"

	"penstock/records"
)

func TestTheHotKeyIsFoundAmongMany(t *testing.T) {
	var h hotKeys
	batch := make([]records.Input, 100)
	for round := range 400 {
		for i := range batch {
			batch[i].Key = fmt.Sprint("sensor-", round*100+i)
			if i%3 == 0 {
				batch[i].Key = "truck-88"
			}
		}
		h.note(batch)
	}
	key, share := h.top(false)
	if key != "truck-88" || share < 0.2 || share > 0.5 {
		t.Errorf("%q has %.0f %%, want truck-88 with about 33 %%", key, share*100)
	}
	if key, _ := h.top(true); key != "" {
		t.Errorf("%q is still known", key)
	}
}

func TestSingleRecordsAreSampledToo(t *testing.T) {
	var h hotKeys
	for range 10 * hotSample {
		h.note([]records.Input{{Key: "a"}})
	}
	if key, share := h.top(false); key != "a" || share != 1 || h.total != 10 {
		t.Errorf("%q has %v of %d, want a, 1, 10", key, share, h.total)
	}
}

func TestQuantilesAreOfWhatCameSince(t *testing.T) {
	var l latencies
	var taken [latencySteps]int64
	for range 99 {
		l.observe(time.Millisecond)
	}
	l.observe(80 * time.Millisecond)
	if d := l.quantile(0.5, &taken, false); d < time.Millisecond || d > 1300*time.Microsecond {
		t.Errorf("median %v, want 1 ms and up to a quarter more", d)
	}
	if d := l.quantile(0.99, &taken, false); d != 0 {
		t.Errorf("nothing came since, and it is %v", d)
	}
	for _, d := range []time.Duration{-time.Second, 0, time.Microsecond, time.Second, 24 * time.Hour} {
		if step := latencyStep(d); step < 0 || step >= latencySteps || d > 0 && d < time.Hour && (latencyOf(step) < d || latencyOf(step) > 2*d) {
			t.Errorf("%v is in step %d, which ends at %v", d, step, latencyOf(step))
		}
	}
}
