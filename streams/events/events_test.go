package events_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/streams/events"
)

func TestAnEventIsKeptWithAllItSays(t *testing.T) {
	r := newRig(t)
	want := r.add(events.New{ID: "det-1", Kind: "person", Label: "two at the <gate>", Start: begin.Add(-time.Minute), End: begin.Add(-30 * time.Second),
		Before: 5 * time.Second, After: 7 * time.Second, Keep: events.Term(30 * 24 * time.Hour), Data: json.RawMessage(` {"score": 0.9, "box": [1, 2]} `)})
	if want.KeptFrom != begin.Add(-65*time.Second) || want.KeptTo() != begin.Add(-23*time.Second) || want.KeptUntil != begin.Add(30*24*time.Hour) {
		t.Errorf("it keeps %v to %v until %v", want.KeptFrom, want.KeptTo(), want.KeptUntil)
	}
	if string(want.Data) != `{"score":0.9,"box":[1,2]}` {
		t.Errorf("data %s", want.Data)
	}
	r.open()
	got, err := r.Get(t.Context(), "cam", "det-1")
	if check(t, err); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("after a restart\n%+v, want\n%+v", got, want)
	}
	keeps := r.Keeps("cam")
	if len(keeps) != 1 || keeps[0] != (fragments.Keep{Start: want.KeptFrom, End: want.KeptTo(), Until: want.KeptUntil}) {
		t.Errorf("after a restart it keeps %+v", keeps)
	}
	if _, err := r.Get(t.Context(), "other", "det-1"); !fault.Is(err, fault.NotFound) {
		t.Errorf("another stream has it: %v", err)
	}
}

func TestEventsThatAreRefused(t *testing.T) {
	r := newRig(t)
	for name, n := range map[string]events.New{
		"no kind":               {Kind: " "},
		"a large kind":          {Kind: "Mark"},
		"a kind that is a path": {Kind: "a/b"},
		"a long kind":           {Kind: strings.Repeat("a", 33)},
		"a long label":          {Label: strings.Repeat("a", 257)},
		"a label of two lines":  {Label: "a\nb"},
		"a label not of UTF-8":  {Label: "a\xff"},
		"an id that is a path":  {ID: "../x"},
		"a long id":             {ID: strings.Repeat("a", 65)},
		"a list for data":       {Data: json.RawMessage(`[1]`)},
		"half an object":        {Data: json.RawMessage(`{"a":`)},
		"two objects":           {Data: json.RawMessage(`{} {}`)},
		"much data":             {Data: json.RawMessage(`{"a":"` + strings.Repeat("a", 4096) + `"}`)},
		"long before":           {Before: 10*time.Minute + 1},
		"negative after":        {After: -1},
		"an end before":         {Start: begin, End: begin.Add(-1)},
		"both open and ended":   {Open: true, End: begin},
		"far ahead":             {Start: begin.Add(6 * time.Minute)},
		"an end far ahead":      {End: begin.Add(25 * time.Hour)},
		"open since long ago":   {Open: true, Start: begin.Add(-25 * time.Hour)},
		"endless":               {Start: begin.Add(-32 * 24 * time.Hour)},
		"kept for a second":     {Keep: events.Term(time.Second)},
		"kept for a century":    {Keep: events.Term(100 * 365 * 24 * time.Hour)},
	} {
		if name == "endless" {
			n.End = begin
		}
		_, _, err := r.try(n)
		is(t, name, err, fault.Invalid)
	}
	_, _, err := r.try(events.New{Start: begin.Add(-48 * time.Hour), Keep: events.Forever})
	is(t, "of video that has expired", err, fault.Expired)
	if n := r.ids(events.Query{}); n != "" {
		t.Errorf("there is %s", n)
	}
}

func TestMetricsCountWhatThereIs(t *testing.T) {
	r := newRig(t)
	r.add(events.New{Keep: events.Forever})
	r.add(events.New{Stream: "other", Keep: events.Forever})
	gone := r.add(events.New{})
	reg := prometheus.NewRegistry()
	j, err := events.Open(t.Context(), events.Config{Meta: r.db, Clock: r.clock, Registerer: reg, Horizon: func(context.Context, string) time.Time { return begin }})
	check(t, err)
	figures := func() string {
		all, err := reg.Gather()
		check(t, err)
		var out []string
		for _, m := range all {
			out = append(out, fmt.Sprintf("%s %v", m.GetName(), m.GetMetric()[0].GetGauge().GetValue()))
		}
		return strings.Join(out, ", ")
	}
	if got := figures(); got != "penstock_events_keeping 2, penstock_events_stored 3" {
		t.Error(got)
	}
	check(t, j.Delete(t.Context(), "cam", gone.ID))
	if got := figures(); got != "penstock_events_keeping 2, penstock_events_stored 2" {
		t.Error(got)
	}
}

func TestTermsReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]events.Term{"": 0, "forever": events.Forever, "30d": events.Term(30 * 24 * time.Hour), "90m": events.Term(90 * time.Minute)} {
		got, err := events.ParseTerm(text)
		if check(t, err); got != want {
			t.Errorf("%q is %v", text, got)
		}
		if back, err := events.ParseTerm(got.String()); err != nil || back != got {
			t.Errorf("%q is written %q", text, got)
		}
	}
	for _, text := range []string{"0s", "59s", "-1h", "ever", "87601h", "Forever", " "} {
		_, err := events.ParseTerm(text)
		is(t, text, err, fault.Invalid)
	}
}

func TestASecondTryAddsNothing(t *testing.T) {
	r := newRig(t)
	first := r.add(events.New{ID: "a", Kind: "motion", Keep: events.Forever})
	r.pass(time.Minute)
	again, made, err := r.try(events.New{ID: "a", Kind: "motion", Keep: events.Forever})
	if err != nil || made || !again.Start.Equal(first.Start) {
		t.Errorf("a second try: %+v, made %v, %v", again, made, err)
	}
	_, _, err = r.try(events.New{ID: "a", Kind: "person"})
	is(t, "another kind", err, fault.InUse)
	_, _, err = r.try(events.New{ID: "a", Kind: "motion", Owner: "2:other"})
	is(t, "another's", err, fault.InUse)
	r.add(events.New{Stream: "cam2", ID: "a"})
	if n := len(r.Keeps("cam")); n != 1 {
		t.Errorf("%d keeps", n)
	}
}

func TestAnOpenEventKeepsWhatComesUntilItEnds(t *testing.T) {
	r := newRig(t)
	e := r.add(events.New{ID: "rec", Kind: "recording", Open: true, Before: time.Minute, After: 2 * time.Minute, Keep: events.Term(48 * time.Hour)})
	if k := r.Keeps("cam"); len(k) != 1 || k[0] != (fragments.Keep{Start: begin.Add(-time.Minute)}) || !e.Open() || !e.KeptTo().IsZero() {
		t.Fatalf("open it keeps %+v", k)
	}
	r.open() // a crash leaves it open
	r.pass(time.Hour)
	e = r.change("rec", events.Patch{End: of(r.clock.Now())})
	want := fragments.Keep{Start: begin.Add(-time.Minute), End: begin.Add(62 * time.Minute), Until: begin.Add(49 * time.Hour)}
	if k := r.Keeps("cam"); len(k) != 1 || k[0] != want {
		t.Errorf("ended it keeps %+v, want %+v", k, want)
	}
	_, err := r.Change(t.Context(), "cam", "rec", events.Patch{End: of(r.clock.Now())})
	is(t, "a second end", err, fault.InUse)
	_, err = r.Change(t.Context(), "cam", "none", events.Patch{})
	is(t, "the end of another", err, fault.NotFound)
	r.add(events.New{ID: "rec2", Open: true})
	_, err = r.Change(t.Context(), "cam", "rec2", events.Patch{End: of(begin)})
	is(t, "an end before the start", err, fault.Invalid)
}

func TestAnEventThatNobodyEndsIsEnded(t *testing.T) {
	r := newRig(t)
	r.add(events.New{ID: "lost", Open: true, After: time.Minute, Keep: events.Term(time.Hour)})
	r.add(events.New{ID: "lost2", Open: true, Start: begin.Add(-time.Hour)})
	r.add(events.New{ID: "young", Open: true, Start: begin.Add(time.Minute)})
	r.pass(24*time.Hour - time.Second)
	r.Sweep(t.Context())
	if e, err := r.Get(t.Context(), "cam", "lost"); err != nil || !e.Open() {
		t.Fatalf("ended too early: %+v %v", e, err)
	}
	r.pass(time.Second)
	r.Sweep(t.Context())
	e, err := r.Get(t.Context(), "cam", "lost")
	if check(t, err); !e.End.Equal(begin.Add(24*time.Hour)) || !e.KeptUntil.Equal(begin.Add(25*time.Hour)) {
		t.Errorf("ended at %v, kept until %v", e.End, e.KeptUntil)
	}
	if k := r.Keeps("cam"); len(k) != 1 || !k[0].End.Equal(begin.Add(24*time.Hour+time.Minute)) {
		t.Errorf("it keeps %+v", k)
	}
	if e, err := r.Get(t.Context(), "cam", "young"); err != nil || !e.Open() {
		t.Errorf("the young one: %+v %v", e, err)
	}
}

func TestWhatHasExpiredIsNotKept(t *testing.T) {
	r := newRig(t)
	e := r.add(events.New{Start: begin.Add(-24*time.Hour - time.Minute), End: begin, Keep: events.Forever})
	if !e.KeptFrom.Equal(begin.Add(-24 * time.Hour)) {
		t.Errorf("it keeps from %v", e.KeptFrom)
	}
	// A keep that is let go, and comes again, keeps what there is by then.
	e = r.add(events.New{ID: "x", Start: begin.Add(-time.Hour), End: begin, Before: time.Minute, Keep: events.Forever})
	e = r.change("x", events.Patch{Keep: of(events.Term(0))})
	if !e.KeptFrom.IsZero() || len(r.Keeps("cam")) != 1 {
		t.Errorf("it keeps on: %+v", e)
	}
	r.expire(begin.Add(-30 * time.Minute))
	e = r.change("x", events.Patch{Keep: of(events.Term(time.Hour))})
	if !e.KeptFrom.Equal(begin.Add(-30*time.Minute)) || !e.KeptUntil.Equal(begin.Add(time.Hour)) {
		t.Errorf("anew it keeps from %v until %v", e.KeptFrom, e.KeptUntil)
	}
	// One that is made longer loses nothing, wherever the horizon is.
	r.expire(begin.Add(time.Hour))
	e = r.change("x", events.Patch{Keep: of(events.Forever)})
	if !e.KeptFrom.Equal(begin.Add(-30*time.Minute)) || !e.KeptUntil.IsZero() {
		t.Errorf("longer it keeps from %v until %v", e.KeptFrom, e.KeptUntil)
	}
	e = r.change("x", events.Patch{Keep: of(events.Term(time.Minute))})
	r.pass(time.Minute) // which is over
	_, err := r.Change(t.Context(), "cam", "x", events.Patch{Keep: of(events.Forever)})
	if r.expire(begin.Add(time.Hour)); err != nil {
		t.Errorf("the video was there yet: %v", err)
	}
	r.change("x", events.Patch{Keep: of(events.Term(0))})
	_, err = r.Change(t.Context(), "cam", "x", events.Patch{Keep: of(events.Forever)})
	is(t, "a keep of what has gone", err, fault.Expired)
}

func TestATermBeginsAtTheEndOrWhenItIsSaid(t *testing.T) {
	r := newRig(t)
	old := r.add(events.New{ID: "old", Start: begin.Add(-20 * time.Hour), Keep: events.Term(10 * time.Hour)})
	if !old.KeptUntil.Equal(begin.Add(10 * time.Hour)) {
		t.Errorf("of yesterday, until %v", old.KeptUntil)
	}
	ahead := r.add(events.New{End: begin.Add(time.Hour), Keep: events.Term(10 * time.Hour)})
	if !ahead.KeptUntil.Equal(begin.Add(11 * time.Hour)) {
		t.Errorf("still to come, until %v", ahead.KeptUntil)
	}
	r.pass(time.Hour)
	if e := r.change("old", events.Patch{Keep: of(events.Term(20 * time.Hour))}); !e.KeptUntil.Equal(begin.Add(21 * time.Hour)) {
		t.Errorf("longer, until %v", e.KeptUntil)
	}
}

func TestATermIsWholeThoughTheTimeToExpireByIsBehind(t *testing.T) {
	r := newRig(t)
	j, err := events.Open(t.Context(), events.Config{Meta: r.db, Clock: r.clock, Time: func() time.Time { return begin.Add(-10 * time.Hour) },
		Horizon: func(context.Context, string) time.Time { return begin.Add(-30 * time.Hour) }})
	check(t, err)
	e, _, err := j.Add(t.Context(), events.New{Stream: "cam", Kind: "mark", Owner: "1:x", Start: begin.Add(-2 * time.Hour), Keep: events.Term(time.Hour)})
	if check(t, err); !e.KeptUntil.Equal(begin.Add(time.Hour)) {
		t.Errorf("kept until %v", e.KeptUntil)
	}
}

func TestEventsGoWithTheirVideo(t *testing.T) {
	r := newRig(t)
	w := r.Watch()
	defer w.Close()
	r.add(events.New{ID: "plain"})
	r.add(events.New{ID: "open", Open: true, Start: begin.Add(time.Minute)})
	r.add(events.New{ID: "day", Keep: events.Term(48 * time.Hour)})
	r.add(events.New{ID: "brief", Keep: events.Term(time.Hour)})
	r.add(events.New{ID: "ever", Keep: events.Forever})
	for range 5 {
		_, err := w.Next(t.Context())
		check(t, err)
	}
	at := func(d time.Duration, want string) {
		t.Helper()
		r.pass(d)
		r.Sweep(t.Context())
		if got := r.ids(events.Query{}); got != want {
			t.Errorf("at %v there are %q, want %q", r.clock.Now().Sub(begin), got, want)
		}
	}
	at(2*time.Hour, "brief day ever plain open") // the keep of brief is over, its video is there yet
	if n := len(r.Keeps("cam")); n != 2 {
		t.Errorf("%d keep video", n)
	}
	at(22*time.Hour, "brief day ever plain open")
	at(time.Second, "day ever open")
	gone := map[string]bool{}
	for range 2 {
		ch, err := w.Next(t.Context())
		if check(t, err); !ch.Gone {
			t.Errorf("told %+v", ch)
		}
		gone[ch.Event.ID] = true
	}
	if !gone["brief"] || !gone["plain"] {
		t.Errorf("told of %v", gone)
	}
	at(24*time.Hour-2*time.Second, "day ever open")
	at(time.Second, "ever open")
	r.open()
	at(time.Hour*24*3650, "ever")
	if n := len(r.Keeps("cam")); n != 1 {
		t.Errorf("%d keep video", n)
	}
}

func TestAListIsInOrderAndPaged(t *testing.T) {
	r := newRig(t)
	r.add(events.New{ID: "long", Start: begin.Add(-10 * time.Hour), End: begin.Add(-time.Hour), Kind: "recording"})
	for _, id := range []string{"b", "c", "a"} {
		r.add(events.New{ID: id, Start: begin.Add(-2 * time.Hour)})
	}
	r.add(events.New{ID: "instant", Start: begin.Add(-30 * time.Minute), Kind: "motion"})
	r.add(events.New{ID: "goes-on", Start: begin.Add(-20 * time.Minute), Open: true, Kind: "recording"})
	r.add(events.New{Stream: "other", ID: "z"})
	at := func(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }
	for name, c := range map[string]struct {
		q    events.Query
		want string
	}{
		"all":                        {events.Query{}, "long a b c instant goes-on"},
		"that reach into a window":   {events.Query{Start: at(-90), End: at(-70)}, "long"},
		"that end where it begins":   {events.Query{Start: at(-60), End: at(-50)}, ""},
		"that begin where it begins": {events.Query{Start: at(-120), End: at(-119)}, "long a b c"},
		"that begin where it ends":   {events.Query{Start: at(-600), End: at(-120)}, "long"},
		"an instant":                 {events.Query{Start: at(-30), End: at(-29)}, "instant"},
		"that go on":                 {events.Query{Start: at(60), End: at(120)}, "goes-on"},
		"of a kind":                  {events.Query{Kind: "recording"}, "long goes-on"},
		"before all":                 {events.Query{End: at(-1000)}, ""},
		"without an end":             {events.Query{Start: at(-40)}, "instant goes-on"},
	} {
		c.q.Stream = "cam"
		for _, newest := range []bool{false, true} {
			want := strings.Fields(c.want)
			if c.q.Newest = newest; newest {
				slices.Reverse(want)
			}
			if got := r.ids(c.q); got != strings.Join(want, " ") {
				t.Errorf("%s, newest first %v: %q, want %q", name, newest, got, want)
			}
			for size := 1; size < 4; size++ {
				if got := r.paged(c.q, size); !slices.Equal(got, want) {
					t.Errorf("%s, newest first %v, %d a page: %q, want %q", name, newest, size, got, want)
				}
			}
		}
	}
	for _, after := range []string{"x", "-1-a", "1-", "99999999999999999999-a", "1-" + strings.Repeat("a", 65)} {
		_, err := r.List(t.Context(), events.Query{Stream: "cam", After: after})
		is(t, after, err, fault.Invalid)
	}
	_, err := r.List(t.Context(), events.Query{Stream: "cam", Kind: "'"})
	is(t, "a kind that is none", err, fault.Invalid)
}

// paged reads a list by pages that are so long.
func (r *rig) paged(q events.Query, size int) (ids []string) {
	r.t.Helper()
	q.Limit = size
	for {
		page, err := r.List(r.t.Context(), q)
		check(r.t, err)
		if len(page.Events) > size || page.Next != "" && len(page.Events) < size {
			r.t.Errorf("a page of %d has %d events, and next %q", size, len(page.Events), page.Next)
		}
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		if q.After = page.Next; page.Next == "" {
			return ids
		}
	}
}

// TestNewestFirstGoesOnWhereItWas adds while somebody reads on: nothing comes twice, none is left out.
func TestNewestFirstGoesOnWhereItWas(t *testing.T) {
	r := newRig(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		r.add(events.New{ID: id, Start: begin.Add(-time.Hour)})
	}
	q := events.Query{Stream: "cam", Newest: true, Limit: 2}
	page, err := r.List(t.Context(), q)
	check(t, err)
	r.add(events.New{ID: "newer"})
	r.add(events.New{ID: "older", Start: begin.Add(-2 * time.Hour)})
	q.After = page.Next
	if got := strings.Join(r.paged(q, 2), " "); page.Events[0].ID != "d" || page.Events[1].ID != "c" || got != "b a older" {
		t.Errorf("first %s %s, then %s", page.Events[0].ID, page.Events[1].ID, got)
	}
}

func TestAnErasedStreamHasNoEventsForGood(t *testing.T) {
	r := newRig(t)
	for range 3 {
		r.add(events.New{Keep: events.Forever})
	}
	r.add(events.New{Stream: "other", ID: "z", Keep: events.Forever})
	check(t, r.Erase(t.Context(), "cam"))
	check(t, r.Erase(t.Context(), "cam"))
	if n := r.ids(events.Query{}); n != "" || len(r.Keeps("cam")) != 0 {
		t.Errorf("there is %q", n)
	}
	_, _, err := r.try(events.New{})
	is(t, "a late one", err, fault.NotFound)
	is(t, "a late end", r.Delete(t.Context(), "cam", "x"), fault.NotFound)
	r.Sweep(t.Context())
	if n := r.ids(events.Query{Stream: "other"}); n != "z" || len(r.Keeps("other")) != 1 {
		t.Errorf("the other has %q", n)
	}
}

func TestKeepsAreSortedAndNotChangedOnceHandedOut(t *testing.T) {
	r := newRig(t)
	for _, h := range []time.Duration{3, 1, 2} {
		r.add(events.New{Start: begin.Add(-h * time.Hour), Keep: events.Forever})
	}
	keeps := r.Keeps("cam")
	if !slices.IsSortedFunc(keeps, func(a, b fragments.Keep) int { return a.Start.Compare(b.Start) }) {
		t.Errorf("not sorted: %v", keeps)
	}
	before := slices.Clone(keeps)
	r.add(events.New{Start: begin.Add(-5 * time.Hour), Keep: events.Forever})
	if !slices.Equal(before, keeps) || len(r.Keeps("cam")) != 4 {
		t.Errorf("handed out %v, now %v", before, keeps)
	}
	if again := r.Keeps("cam"); &again[0] != &r.Keeps("cam")[0] {
		t.Error("nothing changed, and it is made anew")
	}
}
