// Package quantity reads and writes the durations and sizes that people type:
// "36h", "30d", "64MiB". It does not know what they are for.
package quantity

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Day is 24 hours: retention counts hours, not calendar days.
const Day = 24 * time.Hour

// Duration reads "90s", "36h", "30d", "1d12h" or "2w". A sign is refused, as is
// anything longer than 290 years, which a time.Duration cannot hold.
func Duration(s string) (time.Duration, error) {
	rest := strings.TrimSpace(s)
	total := time.Duration(0)
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * Day}, {"d", Day}} {
		n, after, ok := strings.Cut(rest, unit.letter)
		if !ok {
			continue
		}
		v, err := strconv.ParseUint(n, 10, 32)
		if err != nil || v > uint64(math.MaxInt64/int64(unit.length)/2) {
			return 0, bad(s)
		}
		total, rest = total+time.Duration(v)*unit.length, after
	}
	if rest == "" && total > 0 {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || strings.ContainsAny(rest, "+-") || total+d < total {
		return 0, bad(s)
	}
	return total + d, nil
}

func bad(s string) error {
	return fmt.Errorf("duration %q: write it as 90s, 36h, 30d or 2w", s)
}

// Days writes a duration the way Duration reads it: whole days from two days on
// as "30d", the rest as Go does without its zeros, "24h", "1h30m".
func Days(d time.Duration) string {
	if d >= 2*Day && d%Day == 0 {
		return strconv.FormatInt(int64(d/Day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Size reads a number of bytes: "512", "64MiB", "1.5 GB". KiB and its kin count in
// 1024, kB and its kin in 1000; a bare K, M, G or T counts in 1024.
func Size(s string) (int64, error) {
	text := strings.TrimSpace(s)
	cut := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	number, unit := text, ""
	if cut >= 0 {
		number, unit = text[:cut], strings.TrimSpace(text[cut:])
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("size %q: %w", s, errSize)
	}
	factor, ok := factors[strings.ToLower(unit)]
	if !ok || v*factor >= math.MaxInt64 {
		return 0, fmt.Errorf("size %q: %w", s, errSize)
	}
	return int64(v * factor), nil
}

var errSize = errors.New("write it as 512, 64MiB or 10GB")

var factors = map[string]float64{
	"": 1, "b": 1,
	"k": 1 << 10, "kib": 1 << 10, "kb": 1e3,
	"m": 1 << 20, "mib": 1 << 20, "mb": 1e6,
	"g": 1 << 30, "gib": 1 << 30, "gb": 1e9,
	"t": 1 << 40, "tib": 1 << 40, "tb": 1e12,
}

// Bytes writes a size for people: "1.3 GB", in thousands, as disks are sold.
func Bytes(n int64) string {
	v, unit := float64(n), "B"
	for _, u := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, u
	}
	if unit == "B" || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
