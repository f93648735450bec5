package records

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"penstock/internal/fault"
)

// At returns the place in a shard to begin reading. fault.NotFound: there is no such
// shard; fault.Invalid: the number is of another shard or another stream, or of no record
// that there was.
func (l *Log) At(_ context.Context, id ShardID, from From) (Position, error) {
	sh, err := l.find("find position", id)
	if err != nil {
		return Position{}, err
	}
	switch from.Kind {
	case Horizon:
		return Position{}, nil
	case Latest:
		sh.rmu.Lock()
		defer sh.rmu.Unlock()
		return Position{index: sh.newest + 1}, nil
	case AtTime:
		return Position{at: from.Time.Add(time.Millisecond - 1).UnixMilli()}, nil
	case AtSeq, AfterSeq:
		s := from.Seq
		if s.Version() != 2 || s.Shard() != id || s.created() != sh.created {
			return Position{}, fault.New(fault.Invalid, "find position", l.id+"/"+id.String(), "the sequence number is of another shard or stream")
		}
		if !l.given(sh, s) {
			// To wait for it would hide what comes before it.
			return Position{}, fault.New(fault.Invalid, "find position", l.id+"/"+id.String(), "the sequence number was never given")
		}
		p := Position{index: max(1, s.Index())}
		if (from.Kind == AfterSeq || s.isMark()) && s.Index() > 0 {
			p.index++
		}
		return p, nil
	}
	return Position{}, fault.New(fault.Invalid, "find position", l.id, fmt.Sprintf("there is no way %d to begin", from.Kind))
}

// Given reports whether s is the number of a record of the stream, or ends one of its shards:
// such a number is not of the future, whatever the clock says.
func (l *Log) Given(s Seq) bool {
	if s.Version() != 2 {
		return false
	}
	sh, err := l.find("find number", s.Shard())
	return err == nil && s.created() == sh.created && s.Index() > 0 && l.given(sh, s)
}

// Reached reports whether a record of the shard arrived at t or later: t is then not in the
// future of its readers, whatever the clock says.
func (l *Log) Reached(id ShardID, t time.Time) bool {
	sh, err := l.find("find time", id)
	if err != nil {
		return false
	}
	sh.rmu.Lock()
	defer sh.rmu.Unlock()
	return sh.newest > 0 && sh.last >= t.UnixMilli()
}

// given reports whether s can have been told to a client: it is not ahead of the newest
// record, nor of those that damage took, or it is the one that the shard ends with.
func (l *Log) given(sh *shard, s Seq) bool {
	if s.Index() == EndIndex {
		v := l.view.Load()
		i, ok := slices.BinarySearchFunc(v.shown, sh.id, byID)
		return ok && v.shown[i].End == s
	}
	sh.rmu.Lock()
	defer sh.rmu.Unlock()
	return s.Index() <= sh.newest || s.Index() < sh.least
}

// reading is one Read under way.
type reading struct {
	sh      *shard
	page    *Page
	p       Position
	horizon int64 // ms
	limit   int
	bytes   int
	took    int    // bytes on the page
	last    uint64 // index of the last record that was looked at, on the page or not; 0: none
	full    bool
}

// Read fills page with records from p on: at most limit and maxBytes of data and keys
// together, but one if there is any. An empty page is no error, and with one that is not
// Ended there may still be more behind Next. 0 is no limit. fault.NotFound: there is no
// such shard; fault.Unavailable: the bucket cannot be read now. Records that were damaged
// on the disk are fault.Internal when a reader comes to them, never left out silently.
func (l *Log) Read(ctx context.Context, id ShardID, p Position, limit, maxBytes int, page *Page) error {
	sh, err := l.find("read", id)
	if err != nil {
		return err
	}
	now := l.store.cfg.Clock.Now()
	*page = Page{Records: page.Records[:0], Next: p, spare: page.spare}
	r := &reading{sh: sh, page: page, p: p, horizon: l.horizon(), limit: limit, bytes: maxBytes}
	if limit <= 0 {
		r.limit = MaxInputs
	}
	if maxBytes <= 0 {
		r.bytes = 64 << 20
	}
	for !r.full {
		more, err := r.step(ctx)
		if err != nil && len(page.Records) == 0 {
			return fault.Wrap(fault.KindOf(err), "read", l.id+"/"+id.String(), err)
		}
		if err != nil || !more {
			break // an error comes again when the next Read begins with it
		}
	}
	l.finish(r, now)
	return nil
}

// finish says where the page leaves its reader.
func (l *Log) finish(r *reading, now time.Time) {
	page, sh := r.page, r.sh
	if n := len(page.Records); n > 0 {
		page.Next = Position{index: page.Records[n-1].Seq.Index() + 1}
		l.store.met.read.Add(float64(n))
		l.store.met.readBytes.Add(float64(r.took))
	}
	sh.rmu.Lock()
	next, at := page.Next, max(page.Next.at, r.horizon)
	more := sh.has(Position{next.index, at})
	newest, last, closed := sh.newest, sh.last, sh.closed
	sh.rmu.Unlock()
	if t := msTime(last); t.After(now) {
		now = t // the clock was ahead when it was put, or the shard's parent had just closed
	}
	switch {
	case more && len(page.Records) > 0:
		page.Behind = max(time.Millisecond, now.Sub(page.Records[len(page.Records)-1].Arrival)) // 0 would say that nothing follows
	case more:
		page.Behind = max(time.Millisecond, now.Sub(time.UnixMilli(at)))
	case closed != 0:
		page.Ended = true
		page.Behind = now.Sub(time.UnixMilli(closed))
		page.Children = l.childrenOf(sh.id, page.spare[:0])
		page.spare = page.Children
	}
	if !more && next.index <= newest {
		page.Next = Position{newest + 1, next.at} // what is before it has expired, or came too early
	}
	page.Behind = max(0, page.Behind)
}

func (l *Log) childrenOf(id ShardID, into []Shard) []Shard {
	for _, s := range l.view.Load().shown {
		if s.Parent == id || s.Adjacent == id {
			into = append(into, s)
		}
	}
	return into
}

// want returns the place of the next record to read.
func (r *reading) want() Position {
	p := Position{r.p.index, max(r.p.at, r.horizon)}
	if r.last > 0 {
		p.index = max(p.index, r.last+1)
	}
	return p
}

// spot is a run of records to look at next.
type spot struct {
	ref ref
	ext ext
	ok  bool // there is one
	in  bool // it is ext, not ref
	gap bool // the wanted record was between it and the run before, and is not there
}

// locate finds the run that holds the record at p, or the next there is.
func (sh *shard) locate(p Position) (s spot) {
	sh.rmu.Lock()
	defer sh.rmu.Unlock()
	if !sh.has(p) {
		return s
	}
	// The first run that ends at or behind the wanted index and the wanted time. Where an
	// ext ends in time only the next one's beginning tells, so it may be one too early.
	first, before := uint64(0), uint64(0)
	i := sort.Search(len(sh.refs), func(i int) bool { return sh.refs[i].last >= p.index && sh.refs[i].until >= p.at })
	if i < len(sh.refs) {
		s.ok, s.ref, first = true, sh.refs[i], sh.refs[i].first
		if i > 0 {
			before = sh.refs[i-1].last
		}
	} else if j := sh.searchExts(p); j < len(sh.exts) {
		s.ok, s.in, s.ext, first = true, true, sh.exts[j], sh.exts[j].first
		switch {
		case j > 0:
			before = sh.exts[j-1].first + uint64(sh.exts[j-1].count) - 1
		case len(sh.refs) > 0:
			before = sh.refs[len(sh.refs)-1].last
		}
	}
	s.gap = s.ok && before > 0 && p.index > before && p.index < first && first-p.index < jump/2
	return s
}

// searchExts is locate among what is not sealed. Under rmu.
func (sh *shard) searchExts(p Position) int {
	return sort.Search(len(sh.exts), func(j int) bool {
		e := &sh.exts[j]
		late := j+1 == len(sh.exts) || sh.exts[j+1].arrival >= p.at
		return e.first+uint64(e.count) > p.index && late
	})
}

// step reads one run; false: there is nothing more now.
func (r *reading) step(ctx context.Context) (bool, error) {
	want := r.want()
	s := r.sh.locate(want)
	if !s.ok {
		return false, nil
	}
	if s.gap {
		return false, r.gap(want.index, max(s.ref.first, s.ext.first)-1)
	}
	before := r.last
	var err error
	if s.in {
		err = r.readExt(ctx, &s.ext, want)
	} else {
		err = r.readRef(ctx, &s.ref, want)
	}
	switch {
	case fault.Is(err, fault.Expired), fault.Is(err, fault.NotFound):
		// It was sealed, merged or trimmed meanwhile: it is elsewhere now.
		if again := r.sh.locate(want); again.ok && again.in == s.in && again.ext == s.ext && again.ref == s.ref {
			return false, fault.Wrap(fault.Internal, "find records", "", err)
		}
		return true, nil
	case err == nil && r.last == before && !r.full:
		return false, r.gap(want.index, want.index)
	}
	return true, err
}

// gap is the error of a reader that meets the place of records that are lost.
func (r *reading) gap(from, to uint64) error {
	r.sh.log.store.met.damaged.Inc()
	return (&fault.Error{Kind: fault.Internal, Op: "read records", Resource: r.sh.log.id + "/" + r.sh.id.String(),
		Err: flaw(fmt.Sprintf("records %d to %d are lost", from, to))}).
		WithHint("the log and `penstock verify` name what was damaged; readers can go on behind it, at a time or a later number")
}

// each calls yield for each entry of sh in e. What comes from memory is checked only when
// asked: it was never on a disk.
func (o *owner) each(ctx context.Context, sh *shard, e *ext, check bool, yield func(h *header, rows []byte) error) error {
	b := o.tail.get(e.lsn)
	if b != nil {
		b = b[e.off : e.off+e.len]
		o.store.met.memory.Inc()
	} else {
		b, check = make([]byte, e.len), true
		if err := o.lane.ReadAt(ctx, e.lsn, int64(e.off), b); err != nil {
			return err
		}
		o.store.met.lane.Inc()
	}
	var h header // one for all: yield keeps none
	for len(b) > 0 {
		var err error
		h, err = parseHeader(b)
		if err == nil && h.size > len(b) {
			err = flaw("an entry is cut short")
		}
		if err != nil {
			return err
		}
		if h.kind == kindRecords && h.shard == sh.id && string(h.id) == sh.log.id {
			rows := b[h.len():h.size]
			if check {
				rows, err = h.payloadOf(b)
			}
			if err == nil && h.flags&flagSealed != 0 {
				rows, err = o.store.keys.open(ctx, h.binding(nil), rows)
			}
			if err == nil {
				err = yield(&h, rows)
			}
			if err != nil {
				return err
			}
		}
		b = b[h.size:]
	}
	return nil
}

// readExt takes the records of an ext.
func (r *reading) readExt(ctx context.Context, e *ext, want Position) error {
	err := r.sh.log.lane.each(ctx, r.sh, e, false, func(h *header, rows []byte) error {
		if r.full {
			return nil
		}
		return r.entry(h, rows, want)
	})
	var f flaw
	if !errors.As(err, &f) {
		return err
	}
	r.sh.log.store.met.damaged.Inc()
	return (&fault.Error{Kind: fault.Internal, Op: "read entry", Resource: fmt.Sprintf("batch %d at %d", e.lsn, e.off), Err: err}).
		WithHint("check the disk; what was stored before and behind it can still be read")
}

// entry takes the records of one entry.
func (r *reading) entry(h *header, rows []byte, want Position) error {
	if h.first+uint64(h.count) <= want.index || h.arrival < want.at {
		r.last = max(r.last, h.first+uint64(h.count)-1)
		return nil
	}
	at := msTime(h.arrival)
	for i := h.first; len(rows) > 0; i++ {
		key, data, rest, err := nextRow(rows)
		if err != nil {
			return err
		}
		if i-h.first >= uint64(h.count) {
			return flaw("an entry holds more records than it says")
		}
		rows = rest
		if i < want.index {
			r.last = max(r.last, i)
			continue
		}
		if err := r.take(i, h.arrival, at, key, data, h.flags&flagSealed != 0, want); err != nil {
			return err
		}
		if r.full {
			return nil
		}
	}
	return nil
}

// take puts a record on the page, if it is one that was asked for.
func (r *reading) take(index uint64, ms int64, at time.Time, key string, data []byte, sealed bool, want Position) error {
	if expect := r.last + 1; r.last > 0 && index > expect && index-expect < jump/2 {
		return r.gap(expect, index-1)
	}
	if index < want.index || ms < want.at {
		r.last = max(r.last, index)
		return nil
	}
	size := len(key) + len(data)
	if len(r.page.Records) > 0 && (len(r.page.Records) >= r.limit || r.took+size > r.bytes) {
		r.full = true
		return nil
	}
	r.page.Records = append(r.page.Records, Record{Seq: newSeq(r.sh.created, r.sh.id, index, ms/1000), Arrival: at, Key: key, Data: data, Sealed: sealed})
	r.took += size
	r.last = index
	r.full = len(r.page.Records) >= r.limit || r.took >= r.bytes
	return nil
}

// Wait returns when there is a record behind p, or the shard has ended. It does not poll
// and costs little: thousands may wait. fault.NotFound: the shard is gone.
func (l *Log) Wait(ctx context.Context, id ShardID, p Position) error {
	sh, err := l.find("wait", id)
	if err != nil {
		return err
	}
	for {
		sh.rmu.Lock()
		if sh.gone {
			sh.rmu.Unlock()
			return l.notHere("wait", id)
		}
		if sh.has(p) || sh.closed != 0 {
			sh.rmu.Unlock()
			return nil
		}
		wake := sh.waiter()
		sh.rmu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Mark returns a number that is greater than that of every record before p and less than
// that of every record at or behind it, for a reader that resumes AtSeq or AfterSeq it.
// p is what a Read left in Page.Next, or what At returned for Latest or a number. Where p
// is behind the newest record the number grows with the clock.
func (l *Log) Mark(id ShardID, p Position) (Seq, error) {
	sh, err := l.find("mark", id)
	if err != nil {
		return Seq{}, err
	}
	sh.rmu.Lock()
	last := sh.last / 1000
	sh.rmu.Unlock()
	now := l.store.cfg.Clock.Now().Unix()
	return newSeq(sh.created, id, max(p.index, 1)-1, max(now, sh.created, last)).mark(), nil
}
