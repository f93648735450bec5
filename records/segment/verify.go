package segment

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"penstock/internal/fault"
	"penstock/storage"
)

// Report is what Verify found.
type Report struct {
	Info    Info      // by the footer; its zero value where that is damaged
	Damage  []*Damage // empty: the object is as it was written
	Blocks  int       // blocks that are whole
	Records int64     // records in them
	Sealed  int       // those of them that no key was there to open: only their checksums were asked
}

// Verify reads all of an object, past the cache, and checks each byte of it. The error is
// that of the bucket, or fault.Invalid where the key is not a segment's; damage is in the
// Report. Where the footer is damaged it counts the blocks that can be found without it.
func (s *Source) Verify(ctx context.Context, o storage.Object) (Report, error) {
	var rep Report
	name, err := ParseKey(o.Key)
	if err != nil {
		return rep, err
	}
	foot, err := s.readFooter(ctx, name, o.Size)
	if isDamage, err := rep.note(err); err != nil {
		return rep, err
	} else if isDamage {
		_, err := s.walk(ctx, o, &rep)
		return rep, err
	}
	rep.Info = foot.info(o.Size)
	head, err := s.read(ctx, o.Key, 0, make([]byte, len(foot.head.raw)))
	if err == nil && !bytes.Equal(head, foot.head.raw) {
		err = damaged(o.Key, 0, "the file header is not what the footer says")
	}
	if _, err := rep.note(err); err != nil {
		return rep, err
	}
	r := Reader{s: s, key: o.Key, size: o.Size, foot: foot}
	for i := range foot.blocks {
		_, err := r.load(ctx, i)
		if err := rep.block(&foot.blocks[i], err); err != nil {
			return rep, err
		}
	}
	return rep, nil
}

// note keeps err when it is damage and returns it when it is not.
func (rep *Report) note(err error) (isDamage bool, other error) {
	var d *Damage
	if errors.As(err, &d) {
		rep.Damage = append(rep.Damage, d)
		return true, nil
	}
	return false, err
}

// block counts a block that was read with err.
func (rep *Report) block(b *block, err error) error {
	var sealed noKey
	if errors.As(err, &sealed) {
		rep.Sealed++
		err = nil
	}
	if bad, err := rep.note(err); bad || err != nil {
		return err
	}
	rep.Blocks++
	rep.Records += int64(b.records)
	return nil
}

// Salvage returns a reader of what is whole in an object whose footer is damaged. It reads
// all of the object. Its shards have no About. Compact makes a segment of it again.
// fault.NotFound: not one block is whole; fault.Denied: it is encrypted and there is no
// key, without which nobody can tell what a block holds last.
func (s *Source) Salvage(ctx context.Context, o storage.Object) (*Reader, error) {
	if _, err := ParseKey(o.Key); err != nil {
		return nil, err
	}
	var rep Report
	foot, err := s.walk(ctx, o, &rep)
	switch {
	case err != nil:
		return nil, err
	case rep.Sealed > 0:
		return nil, fault.New(fault.Denied, "salvage segment", o.Key, "it is encrypted, and no key was given")
	case foot == nil || len(foot.blocks) == 0:
		return nil, fault.New(fault.NotFound, "salvage segment", o.Key, "not one block in it is whole")
	}
	return &Reader{s: s, key: o.Key, size: o.Size, foot: foot}, nil
}

// walk finds the blocks by their headers and makes a footer of those that are whole.
func (s *Source) walk(ctx context.Context, o storage.Object, rep *Report) (*footer, error) {
	obj, err := s.c.Bucket.Get(ctx, o.Key, 0, -1)
	if err != nil {
		return nil, fault.Wrap(fault.KindOf(err), "read segment", o.Key, err)
	}
	defer obj.Close()
	w := walker{s: s, key: o.Key, rep: rep, in: bufio.NewReaderSize(obj, tailRead)}
	start, err := w.in.Peek(fileHeadLen + MaxStream + MaxKeyID + 8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fault.Wrap(fault.KindOf(err), "read segment", o.Key, err)
	}
	if w.foot.head, err = parseFileHead(start); err != nil {
		_, err := rep.note(damaged(o.Key, 0, "the file header: "+err.Error()))
		return nil, err // without its checksum no block can be told from another segment's
	}
	for w.skip(int64(len(w.foot.head.raw))); ; {
		if err := w.step(ctx); errors.Is(err, io.EOF) {
			return &w.foot, nil
		} else if err != nil {
			return nil, err
		}
	}
}

// walker reads an object from its beginning to its end.
type walker struct {
	s    *Source
	key  string
	rep  *Report
	in   *bufio.Reader
	off  int64 // of what in gives next
	foot footer
}

func (w *walker) skip(n int64) {
	k, _ := w.in.Discard(int(n))
	w.off += int64(k)
}

// step takes the next block, or looks for one. It returns io.EOF at the end.
func (w *walker) step(ctx context.Context) error {
	b, err := w.in.Peek(blockHeadLen)
	if len(b) < blockHeadLen {
		return err
	}
	h, err := parseBlockHead(b, w.foot.head.crc)
	if err != nil {
		b, _ = w.in.Peek(tailRead) // as much as there is
		n := bytes.Index(b[1:], []byte(blockMagic))
		if n < 0 {
			n = len(b) - len(blockMagic)
		}
		w.skip(int64(n + 1))
		return nil
	}
	h.off = w.off
	whole := make([]byte, h.size())
	n, err := io.ReadFull(w.in, whole)
	w.off += int64(n)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			_, err = w.rep.note(damaged(w.key, h.off, "the object ends inside of the block"))
		}
		return err
	}
	bl, err := w.s.decode(ctx, &w.foot.head, &h, whole, true)
	if err != nil {
		err = blockFault(w.key, h.off, err)
	} else {
		err = w.take(&h, bl)
	}
	return w.rep.block(&h.block, err)
}

// take adds a whole block to the footer.
func (w *walker) take(h *blockHead, bl *Block) error {
	last := &bl.table[bl.Len()-1]
	h.last, h.lastArrival = last.index, last.arrival
	k := len(w.foot.shards)
	if k == 0 || w.foot.shards[k-1].ID < h.shard {
		w.foot.shards = append(w.foot.shards, Range{
			Shard:      Shard{ID: h.shard, Created: h.created},
			FirstBlock: len(w.foot.blocks),
		})
		k++
	}
	s := &w.foot.shards[k-1]
	if s.ID != h.shard || s.Blocks > 0 && (h.first <= s.Last || h.firstArrival < s.LastArrival) {
		return damaged(w.key, h.off, fmt.Sprintf("block %d is not in its place", h.number))
	}
	s.add(&h.block)
	s.Blocks++
	w.foot.blocks = append(w.foot.blocks, h.block)
	return nil
}
