package web

import (
	"math"
	"testing"
	"time"
)

const gb = 1 << 30

// at is what a course holds at an instant.
func at(list []turn, t float64) float64 {
	v := 0.0
	for _, u := range list {
		if u.at <= t {
			v = u.value + u.slope*(t-u.at)
		}
	}
	return v
}

// slowly follows a stream second by second, or rather minute by minute: what came, what is
// too old, and what is too much, one slice at a time.
func (g growth) slowly(minutes int) float64 {
	type slice struct{ born, bytes float64 } // minutes from now
	var log []slice
	if span := (g.oldest - g.newest).Minutes(); g.stored > 0 && span >= 1 {
		for m := g.oldest.Minutes(); m > g.newest.Minutes(); m-- {
			log = append(log, slice{-m, float64(g.stored) / span})
		}
	}
	sum := 0.0
	for now := range minutes + 1 {
		if now > 0 {
			log = append(log, slice{float64(now - 1), g.rate * 60})
		}
		sum = 0
		for _, s := range log {
			sum += s.bytes
		}
		for len(log) > 0 && (float64(now)-log[0].born > g.age.Minutes() || g.limit > 0 && sum > float64(g.limit)) {
			sum -= log[0].bytes
			log = log[1:]
		}
	}
	return sum
}

func TestGrowthIsWhatASliceBySliceCountSays(t *testing.T) {
	for name, g := range map[string]growth{
		"a new camera":                    {rate: 1e6, age: 6 * time.Hour},
		"one that is old":                 {rate: 1e6, age: 6 * time.Hour, stored: 6 * 3600 * 1e6, oldest: 6 * time.Hour},
		"one that was wilder":             {rate: 1e6, age: 6 * time.Hour, stored: 30 * gb, oldest: 5 * time.Hour},
		"one that was off for a while":    {rate: 2e6, age: 6 * time.Hour, stored: 10 * gb, oldest: 5 * time.Hour, newest: 2 * time.Hour},
		"one that is off":                 {age: 6 * time.Hour, stored: 10 * gb, oldest: 5 * time.Hour, newest: time.Hour},
		"bounded by bytes":                {rate: 1e6, age: 6 * time.Hour, limit: 5 * gb},
		"bounded, and has more":           {rate: 1e6, age: 6 * time.Hour, limit: 5 * gb, stored: 9 * gb, oldest: 3 * time.Hour},
		"bounded, and falls below later":  {rate: 1e5, age: 6 * time.Hour, limit: 5 * gb, stored: 9 * gb, oldest: 3 * time.Hour},
		"bounded by more than ever comes": {rate: 1e6, age: 2 * time.Hour, limit: 500 * gb, stored: gb, oldest: time.Hour},
		"older than its retention":        {rate: 1e6, age: 2 * time.Hour, stored: 10 * gb, oldest: 2 * time.Hour},
	} {
		turns := g.turns()
		if turns[len(turns)-1].slope != 0 {
			t.Errorf("%s: it grows for ever: %+v", name, turns)
		}
		for _, minute := range []int{0, 1, 30, 59, 61, 119, 121, 180, 239, 241, 300, 359, 361, 500} {
			want, got := g.slowly(minute), at(turns, float64(minute)*60)
			if slack := math.Max(0.02*want, 2*60*math.Max(g.rate, float64(g.stored)/math.Max(1, g.oldest.Seconds()))); math.Abs(got-want) > slack {
				t.Errorf("%s: after %d minutes %.3f GB, slice by slice %.3f GB", name, minute, got/gb, want/gb)
			}
		}
		if last := at(turns, 1e9); math.Abs(last-g.steady()) > 1 {
			t.Errorf("%s: ends with %.3f GB, steady is %.3f GB", name, last/gb, g.steady()/gb)
		}
	}
}

func TestADiskThatRetentionKeepsFromFillingIsNeverFull(t *testing.T) {
	day := 24 * time.Hour
	camera := growth{rate: 1e6, age: 7 * day} // 604.8 GB in the end
	for name, c := range map[string]struct {
		list []growth
		free int64
		want time.Duration // 0: never
	}{
		"nobody sends":                      {nil, 0, 0},
		"it fits, if hardly":                {[]growth{camera}, 604_800_000_000, 0},
		"it lacks a byte":                   {[]growth{camera}, 604_799_000_000, 7*day - time.Second},
		"half of it":                        {[]growth{camera}, 302_400_000_000, 7 * day / 2},
		"two share":                         {[]growth{camera, camera}, 604_800_000_000, 7 * day / 2},
		"a bound of bytes keeps it":         {[]growth{{rate: 1e6, age: 3650 * day, limit: 100e9}}, 100e9, 0},
		"only age, and that is far":         {[]growth{{rate: 1e6, age: 3650 * day}}, 100e9, 100_000 * time.Second},
		"full in two years is not foretold": {[]growth{{rate: 1e6, age: 3650 * day}}, 63e12, 0},
		"full now":                          {[]growth{{rate: 1e6, age: day}}, 0, time.Nanosecond},
		"as much goes as comes":             {[]growth{{rate: 1e6, age: day, stored: 86.4e9, oldest: day}}, 1000, 0},
		"it has too much stored":            {[]growth{{rate: 1e6, age: day, limit: 10e9, stored: 60e9, oldest: day}}, 0, 0},
		"one goes, another comes": {[]growth{{age: day, stored: 86.4e9, oldest: day},
			{rate: 1e6, age: 2 * day}}, 50e9, day + 50_000*time.Second},
	} {
		got, ok := fullAfter(c.list, c.free)
		if ok != (c.want > 0) || ok && (got-c.want).Abs() > 2*time.Second {
			t.Errorf("%s: full after %v (%v), want %v", name, got, ok, c.want)
		}
	}
}
