package fragments

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"penstock/internal/fault"
	"penstock/media"
)

// Log is one stream's fragments, oldest first. All methods may be called at once, but
// Append by one goroutine at a time. What retention took is not seen, even where it is
// not yet deleted.
type Log struct {
	s  *Store
	id string

	loading sync.Mutex // held while the rows are first read; taken before mu
	trim    sync.Mutex // held while this log is trimmed or packed; taken before mu

	mu      sync.Mutex    // taken before the store's mu
	chunks  []*chunk      // not yet listed by a row, oldest first
	writing []*pending    // what a writer has in hand
	queue   []*pending    // appended, not written
	waiting bool          // in the store's ready or paused list, or a writer has it
	fails   int           // failed writes in a row
	backoff time.Duration // left before the next try
	acks    []func()      // to be called in order
	acking  bool

	loaded    bool
	fresh     bool  // something was appended since Open
	last      Head  // the newest
	resume    Cause // the gap before the first fragment since Open
	lostWhy   Cause // the gap before the next fragment: it follows one that was lost
	lostWords string
	absent    Cause // why no media comes now
	told      bool  // and that is in the metadata
	absence   string
	grown     chan struct{} // closed when something is appended; nil: nobody waits

	policy  func() Policy
	turn    uint64    // counts what policy said
	asked   bool      // it said something
	keeps   []Keep    // what it said last
	till    time.Time // when the first of them ends to hold; zero: none does
	limit   int64     // bytes
	horizon int64     // µs, never moves back
	// held is what outlives the horizon: before it what was held when it passed and still
	// is, behind it what the keeps say.
	held     intervals
	saved    intervals // of held: what the metadata knows
	trimmed  int64     // up to where a trim has moved rows, or is about to
	released intervals // of held: what the rows of fragments_kept were last looked through with
	lookedAt bool      // they were

	producers producerMap // has a lock of its own
}

// load reads what the rows say of the stream, once.
func (l *Log) load(ctx context.Context) error {
	l.loading.Lock()
	defer l.loading.Unlock()
	l.mu.Lock()
	loaded := l.loaded
	l.mu.Unlock()
	if loaded {
		return nil
	}
	if !validStream(l.id) {
		return fault.New(fault.Invalid, "open log", fmt.Sprintf("%.80q", l.id), "it is no stream id")
	}
	st, err := l.s.cat.stream(ctx, l.id)
	if err != nil {
		return err
	}
	e, ok, err := l.s.newest(ctx, l.id)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loaded, l.saved = true, st.held
	if l.asked {
		l.held = sight{st.horizon, st.held}.rehold(l.held)
	} else {
		l.held = st.held
	}
	l.horizon = max(l.horizon, st.horizon)
	if ok && e.Number > l.last.Number {
		l.last = e.Head
	}
	if st.endedAt != 0 && st.ended != CauseNone && st.endedAt == l.last.End.UnixMicro() {
		l.resume = st.ended
	}
	return nil
}

// overhead is what a fragment takes in memory beside its samples' bytes.
func overhead(f *Fragment) int64 { return 512 + 96*int64(len(f.Samples)) }

// Append takes f into the log and never waits for a disk. It sets f.Number and, where f
// overlaps the fragment before, f.Start and f.End; afterwards nobody may change f, its
// samples or their data, and all may read them. f can be read from the log at once.
// done, if not nil, is called once from another goroutine when f is durable, with its
// final Head, or when it was lost, with the reason; calls come in order and must not
// block.
//
// fault.Throttled: the Budget, or the spool, is used up; f is lost and counted, done is
// not called, and the next fragment that fits carries CauseStorageBehind.
// fault.Unavailable: the Store is stopped. fault.Invalid: f cannot be stored.
func (l *Log) Append(f *Fragment, done func(Head, error)) error {
	if err := l.check(f); err != nil {
		return l.refuse(err)
	}
	if err := l.load(context.Background()); err != nil { // read before, as a rule: Last
		return l.refuse(fmt.Errorf("append fragment: %w", err))
	}
	f.Size = 0
	for i := range f.Samples {
		f.Size += int64(len(f.Samples[i].Data))
	}
	if f.Size > MaxFragment {
		return l.refuse(fault.New(fault.Invalid, "append fragment", l.id, fmt.Sprintf("%d bytes of media are too many", f.Size)))
	}
	f.Head.Samples = len(f.Samples)
	p := &pending{f: f, size: f.Size + overhead(f), since: l.s.cfg.Clock.Now(), done: done, tracks: media.MarshalTracks(f.Tracks)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.s.take(p.size); err != nil {
		if fault.Is(err, fault.Throttled) {
			l.lose(err.Error(), p)
		}
		return fault.Wrap(fault.KindOf(err), "append fragment", l.id, err)
	}
	l.place(f)
	l.queue = append(l.queue, p)
	l.last, l.absent, l.absence, l.fresh, l.told = f.Head, CauseNone, "", true, false
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
	l.wakeWriter()
	return nil
}

// refuse notes why the timeline will have a gap where a fragment was not taken.
func (l *Log) refuse(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lostWhy, l.lostWords = CauseRefused, err.Error()
	return err
}

func (l *Log) check(f *Fragment) error {
	why := ""
	switch {
	case len(f.Tracks) == 0 || len(f.Tracks) > MaxTracks:
		why = fmt.Sprintf("it has %d tracks", len(f.Tracks))
	case len(f.Ends) != len(f.Tracks):
		why = "Ends does not match Tracks"
	case len(f.Samples) == 0 || len(f.Samples) > maxSamples:
		why = fmt.Sprintf("it has %d samples", len(f.Samples))
	case f.Start.IsZero() || f.Start.UnixMicro() <= 0:
		why = "it has no start"
	}
	for i := range f.Samples {
		if why == "" && f.Track(f.Samples[i].Track) < 0 {
			why = fmt.Sprintf("sample %d is of track %d, which it does not have", i, f.Samples[i].Track)
		}
	}
	if why != "" {
		return fault.New(fault.Invalid, "append fragment", l.id, why)
	}
	return nil
}

// take reserves size bytes of the budget.
func (s *Store) take(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return fault.New(fault.Unavailable, "", "", "the store is stopped")
	case s.backlog+size > s.cfg.Budget:
		return fault.New(fault.Throttled, "", "", fmt.Sprintf("%d bytes wait for the disk and the stall budget is %d", s.backlog, s.cfg.Budget)).
			WithHint("the disk is too slow for these cameras, or does not answer: check it, or raise stall_budget")
	case s.files == nil && s.spool > s.cfg.SpoolLimit:
		return fault.New(fault.Throttled, "", "", fmt.Sprintf("%d bytes wait for the upload and the spool limit is %d", s.spool, s.cfg.SpoolLimit)).
			WithHint("the object store does not answer: check it, or raise spool_limit")
	}
	s.backlog += size
	return nil
}

// give returns size bytes to the budget.
func (s *Store) give(size int64) {
	s.mu.Lock()
	s.backlog -= size
	empty := s.backlog == 0
	s.mu.Unlock()
	if empty {
		s.idleWake.up()
	}
}

// lose counts a refused fragment and notes why the timeline has a gap there; mu is held.
func (l *Log) lose(why string, p *pending) {
	l.s.met.lose("storage_behind", 1, p.f.Size)
	if l.lostWhy == CauseNone {
		l.s.cfg.Logger.Warn("media is lost because storage does not keep up", "stream", l.id, "err", why)
	}
	l.lostWhy, l.lostWords = CauseStorageBehind, why
	if full := l.s.Status().FullSince; !full.IsZero() {
		l.lostWhy = CauseDiskFull
	}
}

// place numbers f and keeps it clear of the fragment before; mu is held.
func (l *Log) place(f *Fragment) {
	start, end := f.Start.UnixMicro(), f.End.UnixMicro()
	if before := l.last.End.UnixMicro(); !l.last.End.IsZero() && start < before {
		start = before
	}
	end = max(end, start+1)
	f.Start, f.End = time.UnixMicro(start).UTC(), time.UnixMicro(end).UTC()
	f.Number = max(Number(start), l.last.Number+1)
	f.Persisted = false
	switch {
	case l.lostWhy != CauseNone:
		f.Gap, f.GapDetail = l.lostWhy, l.lostWords
	case l.resume != CauseNone:
		words := f.GapDetail
		if f.Gap > CauseUnknown && f.Gap != l.resume {
			words = "then " + f.Gap.String()
		}
		f.Gap, f.GapDetail = l.resume, words
	case f.Gap == CauseNone && l.absent != CauseNone && f.Start.After(l.last.End):
		f.Gap, f.GapDetail = l.absent, l.absence
	}
	l.lostWhy, l.lostWords, l.resume = CauseNone, "", CauseNone
	if len(f.GapDetail) > MaxDetail {
		f.GapDetail = f.GapDetail[:MaxDetail]
	}
}

// wakeWriter puts the log in line for a writer; mu is held.
func (l *Log) wakeWriter() {
	if l.waiting || len(l.queue) == 0 {
		return
	}
	l.waiting = true
	l.s.mu.Lock()
	l.s.ready = append(l.s.ready, l)
	l.s.mu.Unlock()
	l.s.writeWake.up()
}

// Absent says why no media comes at present; Coverage shows it as the cause of the gap at
// the end of the timeline. The next fragment ends it, and carries it when it says
// nothing else.
func (l *Log) Absent(cause Cause, detail string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = l.told && cause == l.absent
	l.absent, l.absence = cause, detail
}

// Wait returns nil once a fragment with a number above after exists, durable or not; or
// the context's error.
func (l *Log) Wait(ctx context.Context, after Number) error {
	if err := l.load(ctx); err != nil {
		return err
	}
	for {
		l.mu.Lock()
		if l.last.Number > after {
			l.mu.Unlock()
			return nil
		}
		if l.grown == nil {
			l.grown = make(chan struct{})
		}
		grown := l.grown
		l.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("wait for a fragment: %w", ctx.Err())
		}
	}
}

// requeue puts back what is to be written again; mu is held.
func (l *Log) requeue(back []*pending) {
	l.queue = append(slices.Clone(back), l.queue...)
	slices.SortFunc(l.queue, func(a, b *pending) int { return cmp.Compare(a.f.Number, b.f.Number) })
}

// abandonAll fails everything that is not durable, and goes back to what is.
func (l *Log) abandonAll(ctx context.Context, cause Cause, err error) {
	l.mu.Lock()
	all := slices.Concat(l.writing, l.queue)
	kept, known := Head{}, false
	for _, c := range l.chunks {
		all = append(all, c.flying...)
		c.flying, c.synced = nil, 0
		if n := len(c.entries); n > 0 {
			kept, known = c.entries[n-1].Head, true
		}
	}
	l.writing, l.queue = nil, nil
	l.mu.Unlock()
	if len(all) > 0 {
		if e, ok, err := l.s.newest(ctx, l.id); !known && ok && err == nil {
			kept = e.Head
		}
		l.mu.Lock()
		l.last, l.lostWhy = kept, cause
		l.mu.Unlock()
	}
	for _, p := range all {
		l.s.give(p.size)
		l.s.met.lose("stopped", 1, p.f.Size)
		if p.done != nil {
			p.done(p.f.Head, err)
		}
	}
}
