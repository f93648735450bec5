package records

import (
	"context"
	"errors"
	"fmt"

	"penstock/internal/fault"
	"penstock/records/segment"
	"penstock/storage"
)

// Finding is one thing that Verify or Reindex found.
type Finding struct {
	Stream string // empty: not one stream's
	Object string // the key, file or shard
	Offset int64  // in the object; -1: all of it
	Text   string // what is wrong, and what to do or what was done
	Fixed  bool
}

// Report sums up what Verify or Reindex looked at.
type Report struct {
	Streams  int
	Segments int
	Records  int64
	Bytes    int64 // of segments
	Damaged  int   // findings that were not fixed
}

// checking is a Verify or a Reindex under way.
type checking struct {
	s      *Store
	sum    Report
	report func(Finding)
}

func (c *checking) find(f Finding) {
	if !f.Fixed {
		c.sum.Damaged++
	}
	c.report(f)
}

// Verify reads every segment and lane of a Store that is not running, checks each byte and
// each index, and compares what there is with what Meta says. With repair it deletes what
// crashes and retention left behind; what is damaged stays, so that a copy can be put back.
func Verify(ctx context.Context, cfg Config, repair bool, report func(Finding)) (Report, error) {
	s, err := Open(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	c := &checking{s: s, report: report}
	if report == nil {
		c.report = func(Finding) {}
	}
	err = c.verify(ctx, repair)
	return c.sum, errors.Join(fault.Wrap(fault.KindOf(err), "verify records in", s.cfg.Dir, err), s.Close())
}

func (c *checking) verify(ctx context.Context, repair bool) error {
	if repair {
		if err := c.s.dropState(ctx, "state <> ?", segmentLive); err != nil {
			return err
		}
	}
	known := map[string]*sealedSegment{}
	for _, l := range c.s.all() {
		c.sum.Streams++
		for _, g := range l.segs {
			known[g.key] = g
		}
	}
	if err := c.objects(ctx, known); err != nil {
		return err
	}
	for key, g := range known {
		c.find(Finding{g.name.Stream, key, -1, fmt.Sprintf("the segment is missing, with %d records: put it back from a copy", g.records), false})
	}
	for _, o := range c.s.lanes {
		if err := c.lane(ctx, o); err != nil {
			return err
		}
	}
	for _, l := range c.s.all() {
		c.shards(l)
	}
	return nil
}

// objects verifies all segments in the bucket and takes them off known.
func (c *checking) objects(ctx context.Context, known map[string]*sealedSegment) error {
	for f, err := range segment.List(ctx, c.s.cfg.Bucket, "") {
		if fault.Is(err, fault.Invalid) {
			c.find(Finding{"", f.Object.Key, -1, err.Error() + "; it is left alone", false})
			continue
		}
		if err != nil {
			return err
		}
		key := f.Object.Key
		g := known[key]
		if g == nil {
			if !c.marked(ctx, key) {
				c.find(Finding{f.Name.Stream, key, -1, "the database does not know this segment: `penstock reindex` takes it in", false})
			}
			continue
		}
		delete(known, key)
		rep, err := c.s.src.Verify(ctx, f.Object)
		if err != nil {
			return err
		}
		c.sum.Segments++
		c.sum.Records += rep.Records
		c.sum.Bytes += f.Object.Size
		for _, d := range rep.Damage {
			c.find(Finding{f.Name.Stream, key, d.Offset, d.Why + ": put the object back from a copy; what else it holds can be read", false})
		}
		if len(rep.Damage) == 0 && (rep.Records != g.records || f.Object.Size != g.size) {
			c.find(Finding{f.Name.Stream, key, -1, fmt.Sprintf("it holds %d records, the database says %d: `penstock reindex` reads it anew", rep.Records, g.records), false})
		}
	}
	return nil
}

// marked reports whether Meta knows an object that is about to be deleted.
func (c *checking) marked(ctx context.Context, key string) bool {
	var n int
	err := c.s.cfg.Meta.Read().QueryRowContext(ctx, "SELECT count(*) FROM records_segments WHERE key = ?", key).Scan(&n)
	return err == nil && n > 0
}

// lane reads all of a lane's batches and checks each entry. It counts the records that only
// the lane has: after a reindex it holds some that are in segments too.
func (c *checking) lane(ctx context.Context, o *owner) error {
	for b, err := range o.lane.Replay(ctx, o.sealed) {
		var d *storage.Damage
		if errors.As(err, &d) {
			c.find(Finding{"", d.File, d.Offset, d.Error(), false})
			continue
		}
		if err != nil {
			return err
		}
		if err := entries(b.Body, func(h *header, entry []byte) error {
			if l := c.s.logs[string(h.id)]; h.kind == kindRecords && l != nil && l.lane == o && b.LSN > l.born {
				c.sum.Records += int64(h.count)
			}
			_, err := h.payloadOf(entry)
			return err
		}); err != nil {
			c.find(Finding{"", fmt.Sprintf("lane %d, batch %d", o.no, b.LSN), -1, err.Error() + ": check the disk, and the memory of this machine", false})
		}
	}
	return nil
}

// entries calls yield for each entry of a batch.
func entries(body []byte, yield func(h *header, entry []byte) error) error {
	for len(body) > 0 {
		h, err := parseHeader(body)
		if err != nil {
			return err
		}
		if h.size > len(body) {
			return flaw("an entry is longer than its batch")
		}
		if err := yield(&h, body[:h.size]); err != nil {
			return err
		}
		body = body[h.size:]
	}
	return nil
}

// shards looks for indexes of which nothing is left.
func (c *checking) shards(l *Log) {
	for _, sh := range l.view.Load().shards {
		end := uint64(0)
		gap := func(first, last uint64) {
			if end > 0 && first > end+1 && first-end < jump/2 {
				c.find(Finding{l.id, sh.id.String(), -1, fmt.Sprintf("records %d to %d are lost", end+1, first-1), false})
			}
			end = last
		}
		for _, r := range sh.refs {
			gap(r.first, r.last)
		}
		for _, e := range sh.exts {
			gap(e.first, e.first+uint64(e.count)-1)
		}
	}
}
