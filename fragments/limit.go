package fragments

import (
	"context"

	"penstock/internal/fault"
)

// sizeHorizon returns the horizon in µs at which the chunks of a log take no more than
// limit bytes, without those that only a Keep holds; 0: they do. It adds up what the index
// rows say and reads the hour in which the limit lies. The newest fragment stays.
func (s *Store) sizeHorizon(ctx context.Context, l *Log, limit int64) (int64, error) {
	t, err := l.Totals(ctx)
	if err != nil {
		return 0, err
	}
	c := sizeCut{over: t.Bytes - t.Kept - limit}
	if c.over <= 0 {
		return 0, nil
	}
	for first := int64(-1); c.over > 0; {
		rows, err := s.cat.queryIndex(ctx, s.cfg.Meta.Read(), "WHERE stream = ? AND first > ? ORDER BY first LIMIT 1", l.id, first)
		if err != nil {
			return 0, readFault("measure", l.id, err)
		}
		if len(rows) == 0 {
			break
		}
		first = int64(rows[0].first)
		if err := c.index(ctx, s, rows[0]); err != nil {
			return 0, err
		}
	}
	if c.over > 0 {
		if err := c.chunks(ctx, s, l.id); err != nil {
			return 0, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return min(c.horizon, l.last.Start.UnixMicro()), nil
}

// sizeCut is how much has to go, and up to where what has gone reaches.
type sizeCut struct {
	over    int64
	horizon int64
}

// take gives up what ends at an instant.
func (c *sizeCut) take(size, last int64) {
	c.over -= size
	c.horizon = max(c.horizon, last)
}

// index gives up an index row, or as much of it as it takes.
func (c *sizeCut) index(ctx context.Context, s *Store, ix indexRow) error {
	if ix.size <= c.over {
		c.take(ix.size, ix.last)
		return nil
	}
	behind := int64(0) // bytes of the hours behind
	for _, p := range ix.parts {
		behind += p.size
	}
	for _, p := range ix.parts {
		behind -= p.size
		if c.over <= 0 {
			return nil
		}
		if p.last <= ix.trimmed {
			continue
		}
		size := p.size
		if int64(p.first) < ix.trimmed { // some of its chunks went before
			size = max(ix.size-behind, 0)
		}
		if size <= c.over {
			c.take(size, p.last)
			continue
		}
		rows, err := s.section(ctx, ix, p)
		if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unavailable) {
			c.take(size, p.last) // which of its chunks are how large is not known
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range rows {
			if c.over > 0 && r.last > ix.trimmed {
				c.take(r.size, r.last)
			}
		}
	}
	return nil
}

// chunks gives up chunks that no index holds yet.
func (c *sizeCut) chunks(ctx context.Context, s *Store, stream string) error {
	rows, err := s.cfg.Meta.Read().QueryContext(ctx, "SELECT last, size FROM fragments_chunks WHERE stream = ? ORDER BY first", stream)
	if err != nil {
		return readFault("measure", stream, err)
	}
	defer rows.Close()
	for c.over > 0 && rows.Next() {
		var last, size int64
		if err := rows.Scan(&last, &size); err != nil {
			return readFault("measure", stream, err)
		}
		c.take(size, last)
	}
	return readFault("measure", stream, rows.Err())
}
