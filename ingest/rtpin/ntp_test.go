package rtpin

import (
	"testing"
	"time"
)

// ntpOf is what a producer's clock sends (RFC 3550 §4).
func ntpOf(t time.Time) uint64 { return uint64(uint32(t.Unix()-ntpEpoch))<<32 | 1<<31 }

func TestTheProducersClockIsReadInTheRightEra(t *testing.T) {
	date := func(year int) time.Time { return time.Date(year, 3, 1, 10, 0, 0, 500_000_000, time.UTC) }
	for _, c := range []struct{ now, clock int }{
		{2026, 2026}, {2026, 1970}, {2026, 2000}, {2026, 2037}, {2026, 2040}, {2026, 2090},
		{2036, 2036}, {2037, 2037}, {2037, 2035}, {2037, 1970}, {2099, 2099}, {2099, 2105},
	} {
		if got := ntp(ntpOf(date(c.clock)), date(c.now)); !got.Equal(date(c.clock)) {
			t.Errorf("in %d, a clock that says %v is read as %v", c.now, date(c.clock), got)
		}
	}
	if !ntp(0, date(2026)).IsZero() {
		t.Error("a producer without a clock is given one")
	}
	// The second in which the era ends.
	end := time.Unix(1<<32+ntpEpoch, 500_000_000).UTC()
	if got := ntp(ntpOf(end), end); !got.Equal(end) {
		t.Errorf("%v is read as %v", end, got)
	}
}
