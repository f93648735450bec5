package segment

import (
	"cmp"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/zstd"

	"penstock/internal/fault"
	"penstock/internal/varint"
)

// Config says how a segment is written.
type Config struct {
	Name      Name        // Day is not needed
	BlockSize int         // bytes of rows in a block; 0: DefaultBlock
	Plain     bool        // no compression
	AEAD      cipher.AEAD // seals every block: AES-256-GCM; nil: no encryption
	KeyID     string      // names AEAD's key to readers; needed with AEAD
	Rand      io.Reader   // nonces; nil: crypto/rand
}

// flaw says why no segment can be written so, or "".
func (c *Config) flaw() string {
	switch {
	case c.Name.flaw() != "":
		return c.Name.flaw()
	case c.BlockSize < MinBlock || c.BlockSize > MaxBlock:
		return fmt.Sprintf("blocks have %d to %d bytes", MinBlock, MaxBlock)
	case (c.AEAD == nil) != (c.KeyID == ""):
		return "a key needs its id, and an id its key"
	case len(c.KeyID) > MaxKeyID:
		return fmt.Sprintf("the key's id has more than %d bytes", MaxKeyID)
	case c.AEAD != nil && (c.AEAD.NonceSize() != nonceLen || c.AEAD.Overhead() != tagLen):
		return "the AEAD has not the sizes of AES-GCM"
	}
	return ""
}

// Compressing what does not shrink costs more than storing it: after giveUp blocks in a
// row that did not, only one in retryEvery is tried.
const (
	giveUp     = 2
	retryEvery = 8
)

// Writer writes one segment in bounded memory: one block, and some 64 bytes for each
// block written. Not for concurrent use.
type Writer struct {
	c    Config
	to   io.Writer
	head fileHead
	size int64 // written
	err  error // the first failure; the segment is lost
	done bool

	shards []Range // those before the current one
	blocks []block
	shard  Range // the current one; its blocks are counted
	begun  bool

	cur    block  // the open block
	rows   []byte // room for a block's header, then the open block's rows
	packed []byte // the same for the compressed rows
	sealed []byte // and for sealed ones
	aad    []byte
	zstd   *zstd.Encoder
	flat   int // blocks in a row that did not shrink
}

// NewWriter returns a Writer that writes a segment to w, which is neither synced nor
// closed. fault.Invalid: the Config cannot be.
func NewWriter(to io.Writer, c Config) (*Writer, error) {
	w := &Writer{}
	if err := w.Reset(to, c); err != nil {
		return nil, err
	}
	return w, nil
}

// Reset makes the Writer begin another segment, keeping its buffers.
func (w *Writer) Reset(to io.Writer, c Config) error {
	c.BlockSize = cmp.Or(c.BlockSize, DefaultBlock)
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	if why := c.flaw(); why != "" {
		return fault.New(fault.Invalid, "write segment", c.Name.Stream, why)
	}
	if w.zstd == nil && !c.Plain {
		var err error
		w.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithEncoderCRC(false), zstd.WithWindowSize(MaxBlock), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return fault.Wrap(fault.Internal, "write segment", c.Name.Stream, err)
		}
	}
	*w = Writer{
		c: c, to: to, head: newFileHead(c.Name, c.KeyID),
		blocks: w.blocks[:0], zstd: w.zstd,
		rows: slices.Grow(w.rows[:0], blockHeadLen)[:blockHeadLen], packed: w.packed, sealed: w.sealed, aad: w.aad,
	}
	return nil
}

// write sends b on.
func (w *Writer) write(b []byte) error {
	n, err := w.to.Write(b)
	w.size += int64(n)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return w.fail(err)
}

// fail remembers that the segment is lost.
func (w *Writer) fail(err error) error {
	if err != nil && w.err == nil {
		w.err = fault.Wrap(fault.KindOf(err), "write segment", w.c.Name.Stream, err)
	}
	return w.err
}

// refuse is the fault of a caller; nothing was changed.
func (w *Writer) refuse(why string) error {
	return fault.New(fault.Invalid, "write segment", w.c.Name.Stream, why)
}

var errDone = errors.New("it is finished")

// usable reports whether the segment can still be written to.
func (w *Writer) usable() error {
	if w.err != nil {
		return w.err
	}
	if w.done {
		return fault.Wrap(fault.Invalid, "write segment", w.c.Name.Stream, errDone)
	}
	return nil
}

// Begin says whose the next records are. Shards come in ascending order of ID; one
// without records leaves no trace. s.About is copied.
func (w *Writer) Begin(s Shard) error {
	if err := w.usable(); err != nil {
		return err
	}
	if w.begun && s.ID <= w.shard.ID {
		return w.refuse(fmt.Sprintf("shard %d comes after shard %d", s.ID, w.shard.ID))
	}
	if len(s.About) > MaxAbout {
		return w.refuse(fmt.Sprintf("what is said about shard %d has %d bytes, the limit is %d", s.ID, len(s.About), MaxAbout))
	}
	if err := w.closeShard(); err != nil {
		return err
	}
	s.About = slices.Clone(s.About)
	w.shard, w.begun = Range{Shard: s, FirstBlock: len(w.blocks)}, true
	return nil
}

func (w *Writer) closeShard() error {
	if err := w.flush(); err != nil {
		return err
	}
	if w.shard.Blocks > 0 {
		w.shards = append(w.shards, w.shard)
	}
	return nil
}

// Add appends a record to the shard of the last Begin; it copies Key and Data.
// fault.Invalid: the index does not rise, the arrival runs backwards, or a limit is
// passed; nothing was added. After any other error the segment is lost.
func (w *Writer) Add(r *Record) error {
	if err := w.usable(); err != nil {
		return err
	}
	if why := w.flaw(r); why != "" {
		return w.refuse(why)
	}
	if w.cur.records == 0 {
		w.cur = block{shard: w.shard.ID, created: w.shard.Created, first: r.Index, last: r.Index - 1, firstArrival: r.Arrival, lastArrival: r.Arrival}
	}
	gap, step := r.Index-w.cur.last-1, r.Arrival-w.cur.lastArrival
	at := len(w.rows)
	b := append(w.rows, byte(r.Flags)<<rowFlags)
	if gap > 0 {
		b[at] |= rowGap
		b = varint.AppendUint(b, gap)
	}
	if step > 0 {
		b[at] |= rowStep
		b = varint.AppendUint(b, step)
	}
	b = varint.AppendUint(b, len(r.Key))
	b = varint.AppendUint(b, len(r.Data))
	b = append(b, r.Key...)
	w.rows = append(b, r.Data...)
	w.cur.last, w.cur.lastArrival = r.Index, r.Arrival
	w.cur.records++
	if len(w.rows)-blockHeadLen >= w.c.BlockSize || w.cur.records == maxRecords {
		return w.flush()
	}
	return nil
}

// flaw says why r cannot be the next record, or "".
func (w *Writer) flaw(r *Record) string {
	last, arrival, none := w.cur.last, w.cur.lastArrival, false
	if w.cur.records == 0 {
		last, arrival, none = w.shard.Last, w.shard.LastArrival, w.shard.Records == 0
	}
	switch {
	case !w.begun:
		return "no shard was begun"
	case len(r.Data) > MaxData:
		return fmt.Sprintf("a record has %d bytes, the limit is %d", len(r.Data), MaxData)
	case len(r.Key) > MaxKey:
		return fmt.Sprintf("a partition key has %d bytes, the limit is %d", len(r.Key), MaxKey)
	case r.Flags > maxFlags:
		return fmt.Sprintf("flags %#x are more than %#x", r.Flags, maxFlags)
	case r.Index > maxIndex || r.Arrival < -maxArrival || r.Arrival > maxArrival:
		return fmt.Sprintf("index %d or arrival %d is impossible", r.Index, r.Arrival)
	case !none && r.Index <= last:
		return fmt.Sprintf("index %d of shard %d comes after %d", r.Index, w.shard.ID, last)
	case !none && r.Arrival < arrival:
		return fmt.Sprintf("index %d of shard %d arrived before the record before it", r.Index, w.shard.ID)
	}
	return ""
}

// flush writes the open block.
func (w *Writer) flush() error {
	if w.cur.records == 0 {
		return w.err
	}
	if w.size == 0 {
		if err := w.write(w.head.raw); err != nil {
			return err
		}
	}
	w.cur.off, w.cur.rows, w.cur.number = w.size, uint32(len(w.rows)-blockHeadLen), uint32(len(w.blocks))
	out, h := w.rows, blockHead{block: w.cur, sealed: w.c.AEAD != nil}
	if w.compress() {
		out, h.codec = w.packed, codecZstd
	}
	h.putPlace(out)
	if h.sealed {
		var err error
		if out, err = w.seal(out); err != nil {
			return w.fail(err)
		}
	}
	h.putRest(out, w.head.crc)
	if err := w.write(out); err != nil {
		return err
	}
	w.cur.stored = uint32(len(out) - blockHeadLen)
	w.blocks = append(w.blocks, w.cur)
	w.shard.add(&w.cur)
	w.shard.Blocks++
	w.cur, w.rows = block{}, w.rows[:blockHeadLen]
	if cap(w.rows) > 2*MaxBlock { // one huge record is no reason to keep its room
		w.rows, w.packed, w.sealed = make([]byte, blockHeadLen), nil, nil
	}
	return nil
}

// compress packs the open block's rows; false: they are stored as they are.
func (w *Writer) compress() bool {
	if w.c.Plain || w.flat >= giveUp && len(w.blocks)%retryEvery != 0 {
		return false
	}
	rows := w.rows[blockHeadLen:]
	w.packed = w.zstd.EncodeAll(rows, slices.Grow(w.packed[:0], blockHeadLen)[:blockHeadLen])
	if len(w.packed)-blockHeadLen > len(rows)-len(rows)/16 {
		w.flat++
		return false
	}
	w.flat = 0
	return true
}

// seal encrypts the block b, whose header has its place.
func (w *Writer) seal(b []byte) ([]byte, error) {
	w.sealed = slices.Grow(w.sealed[:0], len(b)+sealLen)[:blockHeadLen+nonceLen]
	copy(w.sealed, b[:placeLen])
	nonce := w.sealed[blockHeadLen:]
	if _, err := io.ReadFull(w.c.Rand, nonce); err != nil {
		return nil, err
	}
	w.aad = append(append(w.aad[:0], w.head.raw...), b[:placeLen]...)
	w.sealed = w.c.AEAD.Seal(w.sealed, nonce, b[blockHeadLen:], w.aad)
	return w.sealed, nil
}

// Finish writes what is left and the footer. fault.Invalid: there is no record.
func (w *Writer) Finish() (Info, error) {
	if err := w.usable(); err != nil {
		return Info{}, err
	}
	if err := w.closeShard(); err != nil {
		return Info{}, err
	}
	if len(w.blocks) == 0 {
		return Info{}, w.refuse("it has no record")
	}
	f := footer{head: w.head, shards: w.shards, blocks: w.blocks}
	b := appendFooter(nil, &w.head, f.shards, f.blocks)
	if len(b)-trailerLen > MaxFooter {
		return Info{}, w.fail(w.refuse("its footer is too long"))
	}
	if err := w.write(b); err != nil {
		return Info{}, err
	}
	w.done = true
	return f.info(w.size), nil
}
