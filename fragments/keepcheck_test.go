package fragments

import (
	"cmp"
	"context"
	"slices"

	"penstock/internal/fault"
)

// objects compares what is stored with what has to be.
func (w *keepWorld) objects() {
	w.t.Helper()
	var kept, all int64
	have := map[string]bool{}
	for o, err := range w.bucket.List(context.Background(), "v/", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		have[o.Key] = true
	}
	for _, c := range w.chunks {
		needed := c.last > w.horizon || slices.ContainsFunc(c.frags, func(f *modelFragment) bool { return !f.gone })
		if needed != have[c.key] {
			w.t.Fatalf("chunk %s up to %d: needed %v, stored %v; the horizon is %d", c.key, c.last, needed, have[c.key], w.horizon)
		}
		if needed {
			all += c.size
			if c.last <= w.horizon {
				kept += c.size
			}
		}
	}
	for _, c := range w.l.chunks {
		all += c.size
	}
	if t, err := w.l.Totals(context.Background()); err != nil || t.Kept != kept || t.Bytes != all {
		w.t.Fatalf("totals %+v, want %d bytes, %d kept: %v", t, all, kept, err)
	}
}

func (w *keepWorld) visible() (all []*modelFragment) {
	for _, f := range w.frags {
		if !f.gone {
			all = append(all, f)
		}
	}
	return all
}

// check compares all answers with the model's.
func (w *keepWorld) check() {
	w.t.Helper()
	ctx := context.Background()
	w.look()
	want := w.visible()
	heads := collect(w.t, w.l, Range{})
	for i := range max(len(heads), len(want)) {
		if i >= len(heads) || i >= len(want) || heads[i].Number != want[i].number {
			w.t.Fatalf("of %d fragments %d are shown, want %d; they differ from %d on", len(w.frags), len(heads), len(want), i)
		}
		h := heads[i]
		if i == 0 {
			continue
		}
		at := w.index(h.Number)
		took := w.index(heads[i-1].Number) != at-1
		if h.Gap == CauseExpired && !took {
			w.t.Fatalf("retention took nothing before %d", h.Number)
		}
		if touched := w.frags[at-1].end == h.Start.UnixMicro(); h.Gap == CauseNone && touched && took {
			w.t.Fatalf("retention took what was before %d, and it does not say so", h.Number)
		}
	}
	first, ok := w.l.First(ctx)
	if ok != (len(want) > 0) || ok && first.Number != want[0].number {
		w.t.Fatalf("the first is %d %v", first.Number, ok)
	}
	if last, ok := w.l.Last(ctx); ok != !w.frags[len(w.frags)-1].gone || ok && last.Number != want[len(want)-1].number {
		w.t.Fatalf("the last is %d %v", last.Number, ok)
	}
	var numbers []Number
	for range 12 {
		f := w.frags[w.rng.IntN(len(w.frags))]
		numbers = append(numbers, f.number)
		got, err := w.l.Read(ctx, f.number)
		switch {
		case f.gone && !fault.Is(err, fault.Expired):
			w.t.Fatalf("fragment %d is expired: %v", f.number, err)
		case !f.gone && err != nil:
			w.t.Fatalf("fragment %d is not expired: %v", f.number, err)
		case !f.gone && sumOf(got) != f.sum:
			w.t.Fatalf("fragment %d is not what was stored", f.number)
		}
		at := micro(f.start + w.rng.Int64N(f.end-f.start))
		i := slices.IndexFunc(want, func(f *modelFragment) bool { return f.end > at.UnixMicro() })
		if h, err := w.l.Find(ctx, at); (err == nil) != (i >= 0) || i >= 0 && h.Number != want[i].number {
			w.t.Fatalf("at %v is %d: %v", at, h.Number, err)
		}
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	tables, err := w.l.ReadIndexes(ctx, numbers)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, n := range numbers {
		gone := w.frags[w.index(n)].gone
		if gone != (tables[i] == nil) {
			w.t.Fatalf("the table of fragment %d: gone %v, found %v", n, gone, tables[i] != nil)
		}
	}
	w.timeline(want)
}

// index is where a fragment is in the model.
func (w *keepWorld) index(n Number) int {
	i, ok := slices.BinarySearchFunc(w.frags, n, func(f *modelFragment, n Number) int { return cmp.Compare(f.number, n) })
	if !ok {
		w.t.Fatalf("nobody appended fragment %d", n)
	}
	return i
}

// timeline compares a Coverage of all, or of a part.
func (w *keepWorld) timeline(want []*modelFragment) {
	w.t.Helper()
	lo, hi := w.frags[0].start-1e6, w.clock.Now().UnixMicro()+1
	if w.rng.IntN(2) == 0 {
		lo += w.rng.Int64N(hi - lo)
		hi = lo + 1 + w.rng.Int64N(hi-lo)
	}
	tl, err := w.l.Coverage(context.Background(), micro(lo), micro(hi), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	var spans []interval
	for _, f := range want {
		v := interval{max(f.start, lo), min(f.end, hi)}
		if v.start >= v.end {
			continue
		}
		if n := len(spans); n > 0 && spans[n-1].end == v.start {
			spans[n-1].end = v.end
			continue
		}
		spans = append(spans, v)
	}
	for i := range min(len(spans), len(tl.Spans)) {
		// A fragment that the horizon cuts is shown from there where nothing is kept before.
		if got := tl.Spans[i].Start.UnixMicro(); got == w.horizon && got > spans[i].start && got < spans[i].end {
			spans[i].start = got
		}
	}
	at, gaps := int64(0), tl.Gaps
	for i, s := range tl.Spans {
		if i >= len(spans) || s.Start.UnixMicro() != spans[i].start || s.End.UnixMicro() != spans[i].end {
			w.t.Fatalf("horizon %v, %v to %v: span %d of %d is %v to %v, want %v", micro(w.horizon), micro(lo), micro(hi), i, len(tl.Spans), s.Start, s.End, spans)
		}
		for len(gaps) > 0 && gaps[0].Start.Before(s.Start) {
			g := gaps[0]
			if i > 0 && g.Start.UnixMicro() != at {
				w.t.Fatalf("a gap begins at %v, not at %v", g.Start, micro(at))
			}
			w.cause(g)
			at, gaps = g.End.UnixMicro(), gaps[1:]
		}
		if at != s.Start.UnixMicro() && i > 0 {
			w.t.Fatalf("nothing says what is between %v and %v", micro(at), s.Start)
		}
		at = s.End.UnixMicro()
	}
	if len(tl.Spans) != len(spans) {
		w.t.Fatalf("%d spans, want %d", len(tl.Spans), len(spans))
	}
	for _, g := range gaps {
		w.cause(g)
	}
}

// cause checks what a gap is called.
func (w *keepWorld) cause(g Gap) {
	w.t.Helper()
	took := slices.ContainsFunc(w.frags, func(f *modelFragment) bool {
		return f.gone && f.start < g.End.UnixMicro() && f.end > g.Start.UnixMicro()
	})
	if g.Cause != CauseExpired && took || g.Cause == CauseExpired && g.Start.UnixMicro() >= w.horizon {
		w.t.Fatalf("from %v to %v %q; retention took something there: %v; the horizon is %v", g.Start, g.End, g.Cause, took, micro(w.horizon))
	}
}

// preview compares what a policy would delete.
func (w *keepWorld) preview(p Policy) {
	w.t.Helper()
	w.look()
	horizon := w.horizon
	if p.Age > 0 {
		horizon = max(horizon, w.clock.Now().Add(-p.Age).UnixMicro())
	}
	if p.Bytes > 0 {
		horizon = max(horizon, w.bySize(w.horizon, p.Bytes))
	}
	var want Loss
	w.hide(horizon, p, func(f *modelFragment) {
		if want.Fragments++; want.Fragments == 1 {
			want.First = micro(f.start)
		}
		want.Last = micro(f.end)
	})
	got, err := w.l.Preview(context.Background(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	if (got.Bytes > 0) != (got.Fragments > 0) {
		w.t.Fatalf("%+v", got)
	}
	if got.Bytes = 0; got != want {
		w.t.Fatalf("a preview says %+v, want %+v", got, want)
	}
}

// within checks that nothing is shown that once was not.
func (w *keepWorld) within() {
	w.t.Helper()
	w.look()
	heads := collect(w.t, w.l, Range{})
	shown := map[Number]bool{}
	for _, h := range heads {
		shown[h.Number] = true
		if w.frags[w.index(h.Number)].gone {
			w.t.Fatalf("fragment %d came back", h.Number)
		}
	}
	for range min(len(heads), 5) {
		if _, err := w.l.Read(context.Background(), heads[w.rng.IntN(len(heads))].Number); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, f := range w.frags {
		f.gone = f.gone || !shown[f.number]
	}
}
