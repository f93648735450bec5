package playback

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestTimesAreReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]time.Time{
		"now": noon, "-10m": noon.Add(-10 * time.Minute), "-2d": noon.Add(-48 * time.Hour), "-0s": noon,
		"2026-03-01T12:00:00Z": noon, "2026-03-01T12:00:00.25Z": noon.Add(250 * time.Millisecond),
		"2026-03-01T13:00:00+01:00": noon, "2026-03-01T13:00:00 01:00": noon, "1772366400000000": noon,
	} {
		if got, err := ParseTime(text, noon); err != nil || !got.Equal(want) {
			t.Errorf("ParseTime(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-", "-x", "--1m", "10m", "9999999999999999999", "99999999999999999999999", "2300-01-01T00:00:00Z", "1960-01-01T00:00:00Z", "-90000d", "2026-03-01"} {
		if got, err := ParseTime(text, noon); err == nil {
			t.Errorf("ParseTime(%q) = %v, want an error", text, got)
		}
	}
}

func FuzzWindow(f *testing.F) {
	f.Add("-1h", "now")
	f.Add("2026-03-01T10:00:00Z", "2026-03-01T11:00:00+02:00")
	f.Add("1772366400000000", "-1s")
	f.Fuzz(func(t *testing.T, start, end string) {
		q := url.Values{"start": {start}, "end": {end}}
		a, b, err := Window(&http.Request{URL: &url.URL{RawQuery: q.Encode()}}, noon, time.Hour, 24*time.Hour)
		if err == nil && (!a.Before(b) || b.Sub(a) > 24*time.Hour || a.UnixMicro() < 0 && start != "") {
			t.Errorf("%q to %q became %v to %v", start, end, a, b)
		}
	})
}

func TestTokensCannotBreakOutOfAPlaylist(t *testing.T) {
	for token, want := range map[string]string{"": "", "abc-._~": "?token=abc-._~", "a\"\n#EXT": "?token=a%22%0A%23EXT", string(make([]byte, TokenMax+1)): ""} {
		r := httptest.NewRequest("GET", "/?"+url.Values{"token": {token}}.Encode(), nil)
		if got := Token(r); got != want {
			t.Errorf("Token(%.20q) = %q, want %q", token, got, want)
		}
	}
}

func TestMetricsHaveTheProjectsNames(t *testing.T) {
	r := prometheus.NewRegistry()
	m := NewMetrics(r)
	m.Requests.WithLabelValues("part").Inc()
	m.Skipped.Inc()
	m.ClipBytes.Add(5)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range families {
		got[f.GetName()] = true
	}
	for _, name := range []string{"penstock_playback_requests_total", "penstock_playback_skipped_samples_total", "penstock_playback_clip_bytes_total"} {
		if !got[name] {
			t.Errorf("%s is not there: %v", name, got)
		}
	}
}
