package records

import (
	"cmp"
	"context"
	"database/sql"
	"path"
	"slices"
	"time"

	"penstock/internal/fault"
	"penstock/storage/expiry"
)

// sweepEvery is how often retention is looked after. Readers do not wait for it.
const sweepEvery = time.Minute

// sweepLoop deletes what nobody can read any more, and merges small segments.
func (s *Store) sweepLoop(ctx context.Context) {
	timer := s.cfg.Clock.NewTimer(sweepEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.swept:
		case <-ctx.Done():
			return
		}
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("what expired is not yet deleted; it is tried again", "err", err, "hint", fault.HintOf(err))
		}
		if err := s.compact(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("small segments are not merged; it is tried again", "err", err, "hint", fault.HintOf(err))
		}
		timer.Reset(sweepEvery)
	}
}

func (s *Store) sweepSoon() {
	select {
	case s.swept <- struct{}{}:
	default:
	}
}

// sweep marks what expired, deletes the objects that are marked, and forgets them.
func (s *Store) sweep(ctx context.Context) error {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	if err := s.saveExpiry(ctx); err != nil {
		return fault.Wrap(fault.KindOf(err), "write down by what time records expire", "", err)
	}
	for _, l := range s.all() {
		if err := l.expire(ctx); err != nil {
			return fault.Wrap(fault.KindOf(err), "expire records of", l.id, err)
		}
	}
	return s.dropState(ctx, "state = ?", segmentDeleted)
}

// Expire makes the present horizon durable: what is behind it never comes back. Call it
// before the retention is lengthened.
func (l *Log) Expire(ctx context.Context) error {
	l.raise(l.horizon())
	return fault.Wrap(fault.Unavailable, "expire records of", l.id, l.saveFloor(ctx))
}

// saveFloor makes the floor durable.
func (l *Log) saveFloor(ctx context.Context) error {
	floor := l.floor.Load()
	err := l.store.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("UPDATE records_streams SET floor = max(floor, ?) WHERE stream = ?", floor, l.id)
		return err
	})
	if err == nil {
		l.saved.Store(floor)
	}
	return err
}

// expire forgets the segments and the closed shards whose time is over.
func (l *Log) expire(ctx context.Context) error {
	h := l.horizon()
	l.warnAhead(l.store.cfg.Clock.Now())
	if l.floor.Load() != l.saved.Load() {
		if err := l.saveFloor(ctx); err != nil {
			return err
		}
	}
	var over []*sealedSegment
	l.mu.Lock()
	for _, g := range l.segs {
		if g.newest < h {
			over = append(over, g)
		}
	}
	l.mu.Unlock()
	if len(over) > 0 {
		if err := l.drop(ctx, over); err != nil {
			return err
		}
		l.store.met.segments.WithLabelValues("expired").Add(float64(len(over)))
	}
	return l.forget(ctx, h)
}

// warnAhead tells, once, that records arrive in the future: the clock was ahead.
func (l *Log) warnAhead(now time.Time) {
	newest := int64(0)
	for _, sh := range l.view.Load().shards {
		sh.rmu.Lock()
		newest = max(newest, sh.last)
		sh.rmu.Unlock()
	}
	if t := msTime(newest); t.Sub(now) > expiry.LeapMost && !l.warned.Swap(true) {
		l.store.cfg.Logger.Warn("records were put while the clock was ahead, and what follows them arrives no earlier", "stream", l.id, "until", t,
			"hint", "nothing is lost or out of order, but these records are kept for longer; those of a new stream are not")
	}
}

// drop marks segments as deleted and takes them from the readers.
func (l *Log) drop(ctx context.Context, over []*sealedSegment) error {
	err := l.store.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for _, g := range over {
			if _, err := tx.Exec("UPDATE records_segments SET state = ? WHERE key = ?", segmentDeleted, g.key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.replace(over, nil, nil)
	return nil
}

// replace takes segments from the readers, and gives them one in their place.
func (l *Log) replace(old []*sealedSegment, seg *sealedSegment, held map[ShardID]ref) {
	gone := make(map[*sealedSegment]bool, len(old))
	for _, g := range old {
		gone[g] = true
	}
	for _, sh := range l.view.Load().shards {
		sh.rmu.Lock()
		kept := make([]ref, 0, len(sh.refs))
		placed := false
		for _, r := range sh.refs {
			if !gone[r.seg] {
				kept = append(kept, r)
			} else if with, ok := held[sh.id]; ok && !placed {
				kept, placed = append(kept, with), true
			}
		}
		sh.refs = kept
		sh.rmu.Unlock()
	}
	l.mu.Lock()
	l.segs = slices.DeleteFunc(l.segs, func(g *sealedSegment) bool { return gone[g] })
	if seg != nil {
		l.segs = append(l.segs, seg)
		slices.SortFunc(l.segs, func(a, b *sealedSegment) int {
			return cmp.Or(cmp.Compare(a.name.Lane, b.name.Lane), cmp.Compare(a.name.Last, b.name.Last))
		})
	}
	l.mu.Unlock()
}

// forget lets shards vanish that closed before the horizon: they hold nothing.
func (l *Log) forget(ctx context.Context, h int64) error {
	if !slices.ContainsFunc(l.view.Load().shown, func(s Shard) bool { return s.expired(h) }) {
		return nil
	}
	l.change.Lock()
	defer l.change.Unlock()
	l.mu.Lock()
	was := l.view.Load()
	next := &view{}
	var over []*shard
	for i, sh := range was.shards {
		if was.shown[i].expired(h) {
			over = append(over, sh)
			continue
		}
		next.shards, next.shown = append(next.shards, sh), append(next.shown, was.shown[i])
	}
	l.view.Store(next)
	l.mapDirty = true
	l.mu.Unlock()
	for _, sh := range over {
		sh.rmu.Lock()
		sh.gone = true
		sh.signal()
		sh.rmu.Unlock()
		l.store.slots.bury(sh.slot)
	}
	return l.saveMap(ctx)
}

// spaceEvery is how often the room on the disk is looked at.
const spaceEvery = 250 * time.Millisecond

// spaceLoop stops puts while the disk has room for little more than the lane's next files
// and the segments that will replace them, so that sealing can go on and free them.
func (s *Store) spaceLoop(ctx context.Context) {
	if s.cfg.Dir == "" {
		return
	}
	timer := s.cfg.Clock.NewTimer(spaceEvery)
	defer timer.Stop()
	for {
		s.look()
		timer.Reset(spaceEvery)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// look finds out whether there is room.
func (s *Store) look() {
	_, free, err := s.cfg.FS.Space(path.Clean(s.cfg.Dir))
	if err != nil {
		return
	}
	need := 3 * s.cfg.LaneFileSize
	if s.tight.Load() {
		need += need / 4
	}
	if tight := free < need; s.tight.Swap(tight) != tight {
		if tight {
			s.cfg.Logger.Error("no records are taken: the disk is nearly full", "free", free, "hint", "free space or shorten the retention of a stream")
		} else {
			s.cfg.Logger.Info("records are taken again", "free", free)
		}
	}
}
