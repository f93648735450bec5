package segment

import (
	"context"
	"errors"
	"iter"

	"penstock/internal/fault"
)

// Reader reads one segment. Its methods may be called at once.
type Reader struct {
	s    *Source
	key  string
	size int64
	foot *footer
}

// Info returns what the segment holds.
func (r *Reader) Info() Info { return r.foot.info(r.size) }

// Range returns what the segment holds of shard; false: nothing.
func (r *Reader) Range(shard uint32) (Range, bool) {
	i := r.foot.rangeOf(shard)
	if i < 0 {
		return Range{}, false
	}
	return r.foot.shards[i], true
}

// Find returns the block that holds the first record of shard whose index is at least
// index; false: there is none.
func (r *Reader) Find(shard uint32, index uint64) (i int, ok bool) {
	return r.foot.find(shard, func(b *block) bool { return b.last >= index })
}

// FindTime returns the block that holds the first record of shard that arrived at ms
// since 1970 or later; false: there is none.
func (r *Reader) FindTime(shard uint32, ms int64) (i int, ok bool) {
	return r.foot.find(shard, func(b *block) bool { return b.lastArrival >= ms })
}

// Block returns block i, checked and decoded, from the cache or with one Get. A Damage
// concerns this block only; fault.Denied: it is encrypted and there is no key;
// fault.Invalid: there is no block i.
func (r *Reader) Block(ctx context.Context, i int) (*Block, error) {
	if i < 0 || i >= len(r.foot.blocks) {
		return nil, fault.New(fault.Invalid, "read segment", r.key, "there is no block "+decimal(int64(i)))
	}
	p, err := r.s.get(ctx, place{r.key, i}, func() (part, error) {
		b, err := r.load(ctx, i)
		return part{block: b}, err
	})
	return p.block, err
}

// load reads block i from the bucket.
func (r *Reader) load(ctx context.Context, i int) (*Block, error) {
	want := &r.foot.blocks[i]
	// What is stored as it is becomes the block; what is packed is wanted for a moment.
	keep := want.stored >= want.rows
	var b []byte
	if keep {
		b = make([]byte, want.size())
	} else {
		room := r.s.room.Get().(*[]byte)
		defer r.s.room.Put(room)
		if int64(cap(*room)) < want.size() {
			*room = make([]byte, want.size())
		}
		b = (*room)[:want.size()]
	}
	if _, err := r.s.read(ctx, r.key, want.off, b); err != nil {
		return nil, err
	}
	h, err := parseBlockHead(b, r.foot.head.crc)
	if err != nil {
		return nil, damaged(r.key, want.off, err.Error())
	}
	if !h.is(want) {
		return nil, damaged(r.key, want.off, "the footer says something else about the block")
	}
	h.block = *want
	bl, err := r.s.decode(ctx, &r.foot.head, &h, b, keep)
	if err == nil {
		last := &bl.table[len(bl.table)-1]
		if last.index != want.last || last.arrival != want.lastArrival {
			err = errFormat
		}
	}
	if err != nil {
		return nil, blockFault(r.key, want.off, err)
	}
	return bl, nil
}

// is reports whether the header is that of the block that the footer has there.
func (h *blockHead) is(want *block) bool {
	return h.number == want.number && h.shard == want.shard && h.created == want.created &&
		h.first == want.first && h.firstArrival == want.firstArrival &&
		h.records == want.records && h.rows == want.rows && h.stored == want.stored
}

// blockFault tells damage from a missing key.
func blockFault(key string, off int64, err error) error {
	var sealed noKey
	if errors.As(err, &sealed) {
		return fault.Wrap(fault.KindOf(sealed.error), "read segment", key, sealed)
	}
	return damaged(key, off, err.Error())
}

// Blocks yields the blocks from, from+1, ... before to, decoding up to ahead more at the
// same time as the one that is looked at. After a block's error it goes on with the next
// one; when ctx ends it stops.
func (r *Reader) Blocks(ctx context.Context, from, to, ahead int) iter.Seq2[*Block, error] {
	return func(yield func(*Block, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		type loaded struct {
			b   *Block
			err error
		}
		var under []chan loaded
		defer func() {
			cancel()
			for _, c := range under {
				<-c
			}
		}()
		next := from
		for i := from; i < to; i++ {
			for ; next < to && next <= i+ahead; next++ {
				c := make(chan loaded, 1)
				under = append(under, c)
				if ahead <= 0 {
					b, err := r.Block(ctx, next)
					c <- loaded{b, err}
					continue
				}
				go func(i int) {
					b, err := r.Block(ctx, i)
					c <- loaded{b, err}
				}(next)
			}
			l := <-under[0]
			under = under[1:]
			if !yield(l.b, l.err) || ctx.Err() != nil {
				return
			}
		}
	}
}
