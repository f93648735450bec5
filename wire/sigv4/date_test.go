package sigv4

import (
	"testing"
	"time"
)

// FuzzDate holds parseDate to what time.Parse says.
func FuzzDate(f *testing.F) {
	for _, s := range []string{
		"20260102T150405Z", "20240229T235959Z", "20000101T000000Z", "00010101T000000Z", "00000101T000000Z", "99991231T235959Z",
		"20260229T000000Z", "20260431T000000Z", "20260001T000000Z", "20260100T000000Z", "20261301T000000Z", "20260132T000000Z",
		"20260101T240000Z", "20260101T236000Z", "20260101T235960Z", "20260101T235999Z", "20260199T999999Z",
		"20260102t150405Z", "20260102T150405z", "2026010 T150405Z", "20260102T15040/Z", "20260102T15040:Z", "+0260102T150405Z",
		"", "20260102", "20260102T150405", "20260102T150405.5Z", "20260102T150405Z0", "\x00\x00\x00\x00\x00\x00\x00\x00T\x00\x00\x00\x00\x00\x00Z",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseDate(s)
		want, wantErr := time.Parse(timeFormat, s)
		if got != want || (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			t.Errorf("%q: %v, %v; want %v, %v", s, got, err, want, wantErr)
		}
	})
}
