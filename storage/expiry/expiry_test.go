package expiry

import (
	"errors"
	"slices"
	"testing"
	"time"

	"penstock/internal/host/hosttest"
)

func TestTimeFollowsALeapOnlyWhenTheClockStandsByIt(t *testing.T) {
	const year = 365 * 24 * time.Hour
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e := New(Config{What: "records", Clock: hosttest.NewClock(start)}, time.Time{})
	for _, c := range []struct {
		passed, wall, want time.Duration // since start
	}{
		{0, 0, 0},
		{time.Minute, time.Minute, time.Minute},
		{2 * time.Minute, 50 * time.Minute, 50 * time.Minute}, // a correction
		{3 * time.Minute, 5 * time.Minute, 5 * time.Minute},   // back
		{10 * time.Minute, 5*year + 10*time.Minute, 12 * time.Minute},
		{5 * time.Hour, 5*year + 5*time.Hour, 5*time.Hour + 2*time.Minute},
		{5*time.Hour + time.Minute, 5*time.Hour + time.Minute, 5*time.Hour + time.Minute}, // and back: it was a mistake
		{6 * time.Hour, 6 * time.Hour, 6 * time.Hour},
		{7 * time.Hour, year, 7 * time.Hour}, // the machine slept
		{12 * time.Hour, year + 5*time.Hour, 12 * time.Hour},
		{13 * time.Hour, year + 6*time.Hour, year + 6*time.Hour},
		{14 * time.Hour, year + 7*time.Hour, year + 7*time.Hour},
		{15 * time.Hour, -time.Hour, -time.Hour},
	} {
		if got := e.next(start.Add(c.wall), c.passed).Sub(start); got != c.want {
			t.Errorf("%v after the start the clock says %v: records expire by %v, want %v", c.passed, c.wall, got, c.want)
		}
	}
}

func TestTimeGoesOnFromWhatWasKnown(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		last time.Time
		want time.Time
	}{
		{time.Time{}, start},
		{start.Add(-30 * time.Minute), start},
		{start.Add(-48 * time.Hour), start.Add(-48 * time.Hour)}, // it was away, or the clock leaped: nobody knows yet
		{start.Add(48 * time.Hour), start},                       // the clock was ahead, and is right again
	} {
		if got := New(Config{Clock: hosttest.NewClock(start)}, c.last).Now(); !got.Equal(c.want) {
			t.Errorf("after %v things expire by %v, want %v", c.last, got, c.want)
		}
	}
}

// TestSaveWritesWhatIsOldOrWrong moves the clock and counts what is written.
func TestSaveWritesWhatIsOldOrWrong(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := hosttest.NewClock(start)
	e := New(Config{Clock: clock}, time.Time{})
	var wrote []time.Duration
	full := errors.New("disk full")
	for _, step := range []struct {
		passes time.Duration
		err    error
	}{
		{0, nil},             // nothing is known
		{SavedMost - 1, nil}, // young enough
		{1, full}, {0, nil},  // again, until it is written
		{SavedMost / 2, nil}, {-time.Hour, nil}, // set back: what is known is of the future
		{SavedMost, nil},
	} {
		clock.Add(step.passes)
		err := e.Save(func(at time.Time) error {
			wrote = append(wrote, at.Sub(start))
			return step.err
		})
		if !errors.Is(err, step.err) {
			t.Errorf("after %v: %v", step.passes, err)
		}
	}
	back := 3*SavedMost/2 - time.Hour
	if want := []time.Duration{0, SavedMost, SavedMost, back, back + SavedMost}; !slices.Equal(wrote, want) {
		t.Errorf("wrote %v, want %v", wrote, want)
	}
	clock = hosttest.NewClock(start)
	if err := New(Config{Clock: clock}, start.Add(-time.Minute)).Save(func(time.Time) error { return full }); err != nil {
		t.Error("what was known at the start is written again")
	}
}
