package records

import (
	"context"
	"errors"

	"penstock/internal/fault"
	"penstock/records/segment"
)

// sealedSegment is a segment that holds records of a log.
type sealedSegment struct {
	key            string
	name           segment.Name
	size           int64
	records, raw   int64
	oldest, newest int64 // arrivals, ms
}

// readRef takes the records of a shard in a segment.
func (r *reading) readRef(ctx context.Context, s *ref, want Position) error {
	st := r.sh.log.store
	st.met.sources.WithLabelValues("segment").Inc()
	rd, err := st.src.Open(ctx, s.seg.key, s.seg.size)
	if err != nil {
		return r.broken(err)
	}
	id := uint32(r.sh.id)
	block, ok := rd.Find(id, want.index)
	if late, found := rd.FindTime(id, want.at); !ok || !found {
		return nil
	} else {
		block = max(block, late)
	}
	span, _ := rd.Range(id)
	for ; block < span.FirstBlock+span.Blocks && !r.full; block++ {
		b, err := rd.Block(ctx, block)
		if err != nil {
			return r.broken(err)
		}
		if err := r.readBlock(b, want); err != nil {
			return err
		}
	}
	return nil
}

// readBlock takes the records of a block.
func (r *reading) readBlock(b *segment.Block, want Position) error {
	i, late := b.Find(want.index), b.FindTime(want.at)
	if i >= late && i > 0 && i < b.Len() && r.last == 0 {
		r.last = b.At(i - 1).Index // what is missing between them is lost
	}
	for i = max(i, late); i < b.Len() && !r.full; i++ {
		rec := b.At(i)
		if err := r.take(rec.Index, rec.Arrival, msTime(rec.Arrival), rec.Key, rec.Data, rec.Flags&segment.Sealed != 0, want); err != nil {
			return err
		}
	}
	return nil
}

// broken counts damage of a segment.
func (r *reading) broken(err error) error {
	var d *segment.Damage
	if errors.As(err, &d) {
		r.sh.log.store.met.damaged.Inc()
		return fault.Wrap(fault.Internal, "read segment", "", err)
	}
	return err
}
