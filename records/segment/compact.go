package segment

import (
	"context"
	"fmt"
	"slices"

	"penstock/internal/fault"
)

// Compact writes the records of several segments of one stream to w, unchanged, and
// finishes it. No two may hold the same record, nor any of a shard's between another's
// (fault.Invalid). Of a shard's About the one in the segment with its newest records is
// kept. Memory: one block beside w's; nothing is read into the cache. After a Damage
// nothing that was written is of use: the sources stay as they are.
func Compact(ctx context.Context, w *Writer, from []*Reader) (Info, error) {
	type source struct {
		r    *Reader
		held Range
	}
	shards := map[uint32][]source{}
	for _, r := range from {
		if n := r.foot.head.name; n.Stream != w.c.Name.Stream {
			return Info{}, fault.New(fault.Invalid, "merge segments", w.c.Name.Stream, fmt.Sprintf("%s is another stream's", r.key))
		}
		for _, held := range r.foot.shards {
			shards[held.ID] = append(shards[held.ID], source{r, held})
		}
	}
	ids := make([]uint32, 0, len(shards))
	for id := range shards {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		of := shards[id]
		slices.SortFunc(of, func(a, b source) int {
			if a.held.First < b.held.First {
				return -1
			}
			return 1
		})
		newest := of[len(of)-1].held.Shard
		if err := w.Begin(newest); err != nil {
			return Info{}, err
		}
		for _, src := range of {
			if src.held.Created != newest.Created {
				return Info{}, fault.New(fault.Invalid, "merge segments", src.r.key,
					fmt.Sprintf("shard %d was made at second %d, and at %d in another", id, src.held.Created, newest.Created))
			}
			if err := copyBlocks(ctx, w, src.r, src.held); err != nil {
				return Info{}, err
			}
		}
	}
	return w.Finish()
}

// copyBlocks adds the records of a shard to w.
func copyBlocks(ctx context.Context, w *Writer, r *Reader, held Range) error {
	for i := range held.Blocks {
		b, err := r.load(ctx, held.FirstBlock+i)
		if err != nil {
			return err
		}
		for k := range b.Len() {
			rec := b.At(k)
			if err := w.Add(&rec); err != nil {
				return err
			}
		}
	}
	return nil
}
