package records

import (
	"context"
	"database/sql"

	"penstock/internal/fault"
	"penstock/records/segment"
)

// Bounds of a merge.
const (
	compactRaw  = 1 << 30 // bytes of records in a merged segment
	compactMost = 256     // segments that are merged at once
)

// compact merges the small segments of each log's days.
func (s *Store) compact(ctx context.Context) error {
	if s.cfg.CompactSegments < 0 {
		return nil
	}
	s.tidying.Lock()
	defer s.tidying.Unlock()
	if err := s.dropState(ctx, "state = ? AND level > 0", segmentIntended); err != nil {
		return err
	}
	today := segment.DayOf(s.cfg.Clock.Now().UnixMilli())
	for _, l := range s.all() {
		for ctx.Err() == nil {
			run := l.mergeable(today)
			if run == nil {
				break
			}
			if err := l.merge(ctx, run); err != nil {
				if !isDamage(err) {
					return fault.Wrap(fault.KindOf(err), "merge segments of", l.id, err)
				}
				s.met.damaged.Inc()
				s.cfg.Logger.Error("segments are not merged", "stream", l.id, "err", err, "hint", fault.HintOf(err))
				for _, g := range run {
					g.stuck.Store(true)
				}
			}
		}
	}
	return ctx.Err()
}

// mergeable returns neighbouring small segments of one day that are worth merging.
func (l *Log) mergeable(today int32) []*sealedSegment {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := 0; i < len(l.segs); {
		g := l.segs[i]
		j, raw := i, int64(0)
		for j < len(l.segs) && j-i < compactMost && raw < compactRaw {
			n := l.segs[j]
			if n.name.Level != 0 || n.name.Day != g.name.Day || n.name.Lane != g.name.Lane || n.stuck.Load() {
				break
			}
			raw += n.raw
			j++
		}
		if n := j - i; n >= l.store.cfg.CompactSegments || n > 1 && g.name.Day < today {
			return l.segs[i:j:j]
		}
		i = max(j, i+1)
	}
	return nil
}

// merge makes one segment of several.
func (l *Log) merge(ctx context.Context, old []*sealedSegment) error {
	s, first, last := l.store, old[0].name, old[len(old)-1].name
	name := segment.Name{Stream: l.id, Day: first.Day, Level: 1, Lane: first.Lane, First: first.First, Last: last.Last}
	c := segment.Config{Name: name, Plain: s.cfg.Plain, Rand: s.cfg.Rand}
	from := make([]*segment.Reader, 0, len(old))
	for _, g := range old {
		r, err := s.src.Open(ctx, g.key, g.size)
		if err != nil {
			return err
		}
		if r.Info().KeyID != "" && c.AEAD == nil {
			key, err := s.keys.of(ctx, l.id)
			if err != nil {
				return err
			}
			c.AEAD, c.KeyID = key.aead, key.id
		}
		from = append(from, r)
	}
	if err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error { return announce(tx, name) }); err != nil {
		return err
	}
	info, err := s.makeSegment(ctx, "merge", c, name.Key(), func(w *segment.Writer) (segment.Info, error) {
		return segment.Compact(ctx, w, from)
	})
	if err != nil {
		return err
	}
	g := newSealed(&info)
	err = s.cfg.Meta.Write(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		state := segmentLive
		var there int
		if err := tx.QueryRow("SELECT count(*) FROM records_streams WHERE stream = ?", l.id).Scan(&there); err != nil {
			return err
		}
		if there == 0 {
			state = segmentDeleted
		}
		for _, o := range old {
			if _, err := tx.Exec("UPDATE records_segments SET state = ? WHERE key = ?", segmentDeleted, o.key); err != nil {
				return err
			}
		}
		return g.record(tx, &info, state)
	})
	if err != nil {
		return err
	}
	held := make(map[ShardID]ref, len(info.Shards))
	for i := range info.Shards {
		r := &info.Shards[i]
		held[ShardID(r.ID)] = ref{g, r.First, r.Last, r.LastArrival}
	}
	l.replace(old, g, held)
	s.met.segments.WithLabelValues("merged").Add(float64(len(old)))
	s.sweepSoon()
	return nil
}
