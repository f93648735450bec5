package quantity

import (
	"testing"
	"time"
)

func TestDurationsReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "36h": 36 * time.Hour, "30d": 30 * Day, "2w": 14 * Day,
		"1d12h": 36 * time.Hour, "87600h": 3650 * Day, "0s": 0, " 5m ": 5 * time.Minute, "1w2d3h": 9*Day + 3*time.Hour,
	} {
		if got, err := Duration(text); err != nil || got != want {
			t.Errorf("Duration(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "-1h", "+1h", "1x", "99999999999d", "4294967295w", "1.5d", "300y", "1d-1h", "9223372036854775807ns1d"} {
		if got, err := Duration(text); err == nil {
			t.Errorf("Duration(%q) = %v, want an error", text, got)
		}
	}
	for d, want := range map[time.Duration]string{
		time.Hour: "1h", 24 * time.Hour: "24h", 30 * Day: "30d", 90 * time.Minute: "1h30m", 10 * time.Second: "10s", 3650 * Day: "3650d",
	} {
		if got := Days(d); got != want {
			t.Errorf("Days(%v) = %q, want %q", d, got, want)
		}
		if back, err := Duration(Days(d)); err != nil || back != d {
			t.Errorf("%q reads back as %v, %v", Days(d), back, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"512": 512, "64MiB": 64 << 20, "1.5 GB": 15e8, "10k": 10240, "2TB": 2e12} {
		if got, err := Size(text); err != nil || got != want {
			t.Errorf("Size(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.2.3", "99999999TB", "1 parsec"} {
		if got, err := Size(text); err == nil {
			t.Errorf("Size(%q) = %v, want an error", text, got)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1300: "1.3 kB", 1_260_000_000_000: "1.3 TB", 345e6: "345 MB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"30d", "1w2d3h", "99999999999d", "1d1ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := Duration(s); err == nil {
			if d < 0 {
				t.Fatalf("%q is %v", s, d)
			}
			if back, err := Duration(Days(d)); err != nil || back != d {
				t.Fatalf("%q is %v, writes as %q, reads back as %v, %v", s, d, Days(d), back, err)
			}
		}
	})
}
