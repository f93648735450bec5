package interleaved

import (
	"errors"
	"testing"
	"time"

	"penstock/internal/host/hosttest"
)

func TestWhatIsSaidIsBounded(t *testing.T) {
	clock := hosttest.NewClock(time.Now())
	c, peer := pairWith(t, Config{Clock: clock})
	b := make([]byte, 4096)
	read := func() error {
		send(t, peer, options)
		_, err := c.Read(b)
		return err
	}
	c.Bound(3*len(options), time.Minute)
	for i := range 3 {
		if err := read(); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	c.Bound(0, 0)
	for range 100 {
		if err := read(); err != nil {
			t.Fatal(err)
		}
	}
	c.Bound(1000*len(options), time.Minute)
	clock.Add(time.Minute)
	if err := read(); err != nil {
		t.Fatalf("within the time: %v", err)
	}
	clock.Add(time.Millisecond)
	if err := read(); !errors.Is(err, errTalks) || !errors.Is(c.Err(), errTalks) {
		t.Errorf("a byte now and then: %v", err)
	}
	c, peer = pair(t)
	c.Bound(2*len(options), time.Minute)
	for i := range 3 {
		if err := read(); (err == nil) != (i < 2) {
			t.Errorf("message %d: %v", i, err)
		}
	}
}
