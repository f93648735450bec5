package hls

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gohlslib/v2/pkg/playlist"

	"penstock/fragments"
)

var pastBegin = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// heads are n fragments of two seconds from at seconds on.
func headsFrom(at, n int, run uint32) []fragments.Head {
	var list []fragments.Head
	for i := range n {
		start := pastBegin.Add(time.Duration(at+2*i) * time.Second)
		list = append(list, fragments.Head{Number: fragments.Number(at + 2*i + 1), Start: start, End: start.Add(2 * time.Second), Run: run})
	}
	return list
}

// listed reads a playlist: sequence number of each segment, when it starts, and its
// discontinuity number.
func listed(t *testing.T, text []byte) map[int]string {
	t.Helper()
	var m playlist.Media
	if err := m.Unmarshal([]byte(strings.ReplaceAll(string(text), tokenMark, ""))); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	number, breaks := m.MediaSequence, 0
	if m.DiscontinuitySequence != nil {
		breaks = *m.DiscontinuitySequence
	}
	if m.Skip != nil {
		number += m.Skip.SkippedSegments
	}
	out := map[int]string{}
	for _, s := range m.Segments {
		if s.Discontinuity {
			breaks++
		}
		when := "?"
		if s.DateTime != nil {
			when = fmt.Sprint(int(s.DateTime.Sub(pastBegin).Seconds()))
		}
		where := fmt.Sprint(breaks)
		if m.Skip != nil {
			where = "-" // what was skipped may have had breaks
		}
		out[number] = when + " " + where
		number++
	}
	return out
}

func TestSeekingBackKeepsNumbers(t *testing.T) {
	w := newWindow(5000, 200*time.Millisecond, 2*time.Second, 1<<20)
	for i, h := range headsFrom(400, 10, 2) {
		w.addHistory(h, "aa", i == 5) // a break in the window
	}
	short := listed(t, w.render(nil, false))
	w.past.keep = 600 * time.Second
	older := append(headsFrom(100, 50, 1), headsFrom(200, 100, 2)...) // a new run at 200, touching 400
	w.prepend(append(older, headsFrom(400, 1, 2)...))
	all := listed(t, w.renderPast(nil, false, 300*time.Second))
	if len(all) != 150 {
		t.Fatalf("%d segments of 300 s, want 150", len(all))
	}
	agree := func(what string, a, b map[int]string) {
		t.Helper()
		for n, s := range a {
			if o, ok := b[n]; ok && o != s && !(strings.HasSuffix(s, " -") && strings.HasPrefix(o, strings.TrimSuffix(s, "-"))) {
				t.Errorf("%s: segment %d is %q and %q", what, n, s, o)
			}
		}
	}
	agree("with and without the past", short, all)
	if got := all[5000-100]; got != "200 4999" && got != "200 5000" {
		t.Errorf("the run at 200 s is listed as %q", got)
	}
	// Live goes on: what leaves the window stays seekable under its number.
	for i := range 30 {
		at := pastBegin.Add(time.Duration(420+2*i) * time.Second)
		w.begin(at, "aa", i == 3)
		w.add(&part{data: []byte("x"), duration: 200 * time.Millisecond, independent: true})
		w.end(2*time.Second, fragments.Number(421+2*i))
		agree("a moment later", all, listed(t, w.renderPast(nil, false, 300*time.Second)))
		agree("a delta update", listed(t, w.renderPast(nil, true, 300*time.Second)), listed(t, w.renderPast(nil, false, 300*time.Second)))
		agree("the plain list", listed(t, w.render(nil, false)), listed(t, w.renderPast(nil, false, 300*time.Second)))
	}
	if got := listed(t, w.renderPast(nil, false, 300*time.Second)); len(got) != 150 {
		t.Errorf("%d segments of 300 s later, want 150", len(got))
	}
	if got := len(w.past.segments); got > 600/2+64 {
		t.Errorf("%d segments are remembered, want about %d", got, 600/2)
	}
}

func TestABreakFoundLaterKeepsTheDiscontinuityNumbers(t *testing.T) {
	w := newWindow(5000, 200*time.Millisecond, 2*time.Second, 1<<20)
	for _, h := range headsFrom(400, 10, 2) {
		w.addHistory(h, "aa", false)
	}
	before := listed(t, w.render(nil, false))
	w.past.keep = time.Hour
	w.prepend(headsFrom(300, 10, 2)) // ends at 320: a gap of 80 s
	after := listed(t, w.render(nil, false))
	for n, s := range before {
		if after[n] != s {
			t.Errorf("segment %d was %q and is %q", n, s, after[n])
		}
	}
	all := listed(t, w.renderPast(nil, false, time.Hour))
	if all[4999] == "" || strings.Fields(all[4999])[1] == strings.Fields(all[5000])[1] {
		t.Errorf("no discontinuity between %q and %q", all[4999], all[5000])
	}
}

func TestFragmentsLongerThanTheTargetEndThePast(t *testing.T) {
	w := newWindow(5000, 200*time.Millisecond, 2*time.Second, 1<<20)
	for _, h := range headsFrom(400, 10, 2) {
		w.addHistory(h, "aa", false)
	}
	older := headsFrom(300, 50, 2)
	older[10].End = older[10].Start.Add(9 * time.Second)
	w.past.keep = time.Hour
	w.prepend(older)
	if n := len(w.past.segments); n != 39 {
		t.Errorf("%d segments, want the 39 after the long one", n)
	}
}

func TestHowFarBackIsChecked(t *testing.T) {
	for query, want := range map[string]time.Duration{"": 0, "dvr=30m": 30 * time.Minute, "dvr=7d": pastLongest} {
		if d, err := parsePast(httptest.NewRequest("GET", "/live.m3u8?"+query, nil)); err != nil || d != want {
			t.Errorf("%q: %v, %v", query, d, err)
		}
	}
	for _, query := range []string{"dvr=x", "dvr=-1h", "dvr=0s"} {
		if _, err := parsePast(httptest.NewRequest("GET", "/live.m3u8?"+query, nil)); err == nil {
			t.Errorf("%q is taken", query)
		}
	}
}
