package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"penstock/internal/bytecache"
	"penstock/internal/fault"
	"penstock/storage"
	"penstock/storage/mem"
)

// somehow are the ways to write that the damage tests go through.
func somehow(t testing.TB) map[string]Config {
	c := Config{Name: testName(), BlockSize: MinBlock}
	plain, sealed := c, c
	plain.Plain = true
	sealed.AEAD, sealed.KeyID = keyOf(t), "key-1"
	return map[string]Config{"compressed": c, "plain": plain, "sealed": sealed}
}

// someShards are three shards of about n records each.
func someShards(n, size int) []shardRecords {
	rng := rand.New(rand.NewPCG(7, 7))
	var out []shardRecords
	for id := range uint32(3) {
		s := shardRecords{Shard: Shard{ID: id * 2, Created: 1_790_000_000, About: []byte{byte(id)}}}
		for i := range n + rng.IntN(2) {
			s.records = append(s.records, randomRecord(rng, uint64(i*3), 1_790_000_000_000+int64(i/4), size))
		}
		out = append(out, s)
	}
	return out
}

// hurt is a segment that was changed after it was written.
type hurt struct {
	t      testing.TB
	b      []byte
	info   Info
	shards []shardRecords
	bucket *mem.Bucket
	src    *Source
}

// set makes the bytes b the object.
func (h *hurt) set(b []byte) storage.Object {
	h.t.Helper()
	ctx, key := context.Background(), h.info.Name.Key()
	must(h.t, h.bucket.Delete(ctx, key))
	must(h.t, h.bucket.Put(ctx, key, bytes.NewReader(b), int64(len(b))))
	h.src.cache = bytecache.New[place, part](DefaultCache) // nothing of what was
	return storage.Object{Key: key, Size: int64(len(b))}
}

func newHurt(t testing.TB, c Config, shards []shardRecords) *hurt {
	h := &hurt{t: t, shards: shards, bucket: mem.New(mem.Config{})}
	h.b, h.info = write(t, c, shards)
	h.src = NewSource(SourceConfig{Bucket: h.bucket, Keys: keys(t)})
	return h
}

// check asks that the damage of o is found, that it is named rightly, and that nothing
// wrong is read. It returns how many blocks could not be read.
func (h *hurt) check(o storage.Object, what string, at int) int {
	h.t.Helper()
	ctx := context.Background()
	rep, err := h.src.Verify(ctx, o)
	if err != nil || len(rep.Damage) == 0 {
		h.t.Fatalf("%s at %d: verify found %+v, %v", what, at, rep, err)
	}
	r, err := h.src.Open(ctx, o.Key, o.Size)
	if err != nil {
		h.isDamage(err)
		return h.salvaged(o)
	}
	lost, next := 0, map[uint32]int{}
	for i := range r.Info().Blocks {
		bl := &r.foot.blocks[i]
		b, err := r.Block(ctx, i)
		if err != nil {
			d := h.isDamage(err)
			if at >= 0 && (int64(at) < d.Offset || int64(at) >= bl.off+bl.size()) {
				h.t.Fatalf("%s at %d was named damage at %d", what, at, d.Offset)
			}
			lost++
			next[bl.shard] += int(bl.records)
			continue
		}
		h.sameAs(b, next)
	}
	return lost
}

func (h *hurt) isDamage(err error) *Damage {
	h.t.Helper()
	var d *Damage
	if !errors.As(err, &d) || d.Object != h.info.Name.Key() || fault.HintOf(err) == "" || !fault.Is(err, fault.Internal) {
		h.t.Fatalf("%v is no damage with a name and a hint", err)
	}
	return d
}

// sameAs asks that b's records are those that were put, from next on.
func (h *hurt) sameAs(b *Block, next map[uint32]int) {
	h.t.Helper()
	i := slices.IndexFunc(h.shards, func(s shardRecords) bool { return s.ID == b.Shard() })
	if i < 0 {
		h.t.Fatalf("shard %d was never put", b.Shard())
	}
	for k := range b.Len() {
		if !sameRecord(b.At(k), h.shards[i].records[next[b.Shard()]+k]) {
			h.t.Fatalf("shard %d: a wrong record was read", b.Shard())
		}
	}
	next[b.Shard()] += b.Len()
}

// salvaged asks that nothing wrong is read where the footer is damaged, and returns how
// many blocks are missing.
func (h *hurt) salvaged(o storage.Object) int {
	h.t.Helper()
	r, err := h.src.Salvage(context.Background(), o)
	if fault.Is(err, fault.NotFound) {
		return h.info.Blocks
	}
	if err != nil {
		h.t.Fatalf("salvage: %v", err)
	}
	for i := range r.Info().Blocks {
		b, err := r.Block(context.Background(), i)
		if err != nil {
			h.t.Fatalf("a salvaged block: %v", err)
		}
		all := h.shards[slices.IndexFunc(h.shards, func(s shardRecords) bool { return s.ID == b.Shard() })].records
		first := slices.IndexFunc(all, func(x Record) bool { return x.Index == b.At(0).Index })
		h.sameAs(b, map[uint32]int{b.Shard(): first})
	}
	return h.info.Blocks - r.Info().Blocks
}

func TestEverySingleFlippedBitIsFoundAndNothingWrongIsRead(t *testing.T) {
	for name, c := range somehow(t) {
		t.Run(name, func(t *testing.T) {
			h := newHurt(t, c, someShards(3, 40))
			b := slices.Clone(h.b)
			for i := range b {
				for bit := range 8 {
					b[i] ^= 1 << bit
					if lost := h.check(h.set(b), "a flipped bit", i); lost > 1 && i >= 48 {
						t.Fatalf("a bit at %d took %d blocks", i, lost)
					}
					b[i] ^= 1 << bit
				}
			}
		})
	}
}

func TestTwoHundredFlippedBitsInALargeSegmentAreFound(t *testing.T) {
	for name, c := range somehow(t) {
		t.Run(name, func(t *testing.T) {
			c.BlockSize = 64 << 10
			h := newHurt(t, c, someShards(200, 4_000))
			rng := rand.New(rand.NewPCG(3, 3))
			for range 200 {
				i := rng.IntN(len(h.b))
				b := slices.Clone(h.b)
				b[i] ^= 1 << rng.IntN(8)
				if lost := h.check(h.set(b), "a flipped bit", i); lost > 1 {
					t.Fatalf("a bit at %d took %d blocks", i, lost)
				}
			}
		})
	}
}

func TestASegmentThatEndsEarlyIsFoundAndGivesItsWholeBlocks(t *testing.T) {
	for name, c := range somehow(t) {
		t.Run(name, func(t *testing.T) {
			h := newHurt(t, c, someShards(3, 40))
			whole := h.b
			o := h.set(whole)
			r, err := h.src.Open(t.Context(), o.Key, o.Size)
			must(t, err)
			for n := range whole {
				want := 0
				for i := range r.foot.blocks {
					if bl := &r.foot.blocks[i]; bl.off+bl.size() > int64(n) {
						want++
					}
				}
				if lost := h.check(h.set(whole[:n]), "the end", -1); lost != want {
					t.Fatalf("%d bytes of %d: %d blocks lost, should be %d", n, len(whole), lost, want)
				}
				h.shorter(whole[:n], int64(len(whole)))
			}
			h.check(h.set(append(slices.Clone(whole), 0)), "a byte more", -1)
		})
	}
}

// shorter asks for an object by the size that it should have.
func (h *hurt) shorter(b []byte, size int64) {
	h.t.Helper()
	o := h.set(b)
	_, err := h.src.Open(context.Background(), o.Key, size)
	h.isDamage(err)
}

func TestAFooterThatLiesAllocatesNoMoreThanItsBytesAllow(t *testing.T) {
	h := newHurt(t, Config{Name: testName()}, someShards(3, 40))
	n := int64(binary.LittleEndian.Uint32(h.b[len(h.b)-trailerLen:]))
	foot := h.b[int64(len(h.b))-trailerLen-n : len(h.b)-trailerLen]
	head := newFileHead(testName(), "")
	huge := binary.AppendUvarint(nil, 1<<62)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := len(head.raw); i < len(foot); i++ {
		for _, with := range [][]byte{huge, {0xff, 0xff, 0xff, 0xff, 0x0f}, {0xff, 0xff, 0x7f}, {0}} {
			lie := append(append(slices.Clone(foot[:i]), with...), foot[i+1:]...)
			b := appendTrailer(append(slices.Clone(h.b[:int64(len(h.b))-trailerLen-n]), lie...), lie)
			f, err := parseFooter(lie, crc32.Checksum(lie, castagnoli), int64(len(b))-trailerLen-int64(len(lie)))
			if err == nil {
				for k := range f.blocks {
					if f.blocks[k].flaw() {
						t.Fatalf("%+v was taken", f.blocks[k])
					}
				}
			}
		}
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("%d bytes were allocated for footers of %d", got, len(foot))
	}
}

func TestABlockThatLiesIsRefusedBeforeItsRowsAreMade(t *testing.T) {
	head := newFileHead(testName(), "")
	rows := []byte{0, 1, 1, 'k', 'd', 1, 200, 1, 0, 0}
	good := blockHead{block: block{records: 2, rows: uint32(len(rows)), first: 5, last: 6}}
	for name, change := range map[string]func(*blockHead){
		"more rows than a block has":     func(h *blockHead) { h.rows = maxRows + 1 },
		"more records than a block has":  func(h *blockHead) { h.records = maxRecords + 1 },
		"no record":                      func(h *blockHead) { h.records = 0 },
		"more records than rows":         func(h *blockHead) { h.records = 4 },
		"an index beyond the last":       func(h *blockHead) { h.first = maxIndex },
		"an arrival beyond time":         func(h *blockHead) { h.firstArrival = maxArrival + 1 },
		"a codec of the future":          func(h *blockHead) { h.codec = 2 },
		"compressed rows that are not":   func(h *blockHead) { h.codec = codecZstd },
		"other rows than its length":     func(h *blockHead) { h.rows++ },
		"a record fewer than there are":  func(h *blockHead) { h.records-- },
		"a seal in an unsealed segment":  func(h *blockHead) { h.sealed = true },
		"rows whose gap passes the last": func(h *blockHead) { h.first = maxIndex - 100; h.last = h.first + 1 },
	} {
		h := good
		change(&h)
		b := append(make([]byte, blockHeadLen), rows...)
		h.putPlace(b)
		h.putRest(b, head.crc)
		got, err := parseBlockHead(b, head.crc)
		if err == nil {
			_, err = NewSource(SourceConfig{}).decode(t.Context(), &head, &got, b, true)
		}
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	b := append(make([]byte, blockHeadLen), rows...)
	good.putPlace(b)
	good.putRest(b, head.crc)
	got, err := parseBlockHead(b, head.crc)
	must(t, err)
	bl, err := NewSource(SourceConfig{}).decode(t.Context(), &head, &got, b, true)
	must(t, err)
	if bl.Len() != 2 || bl.At(1).Index != 206 {
		t.Errorf("the good one: %+v", bl.table)
	}
}

func TestAZstdBombStopsAtTheLengthOfTheRows(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Config{Name: testName()})
	must(t, err)
	bomb := w.zstd.EncodeAll(make([]byte, 100<<20), nil)
	head := newFileHead(testName(), "")
	h := blockHead{block: block{records: 1, rows: 100_000}, codec: codecZstd}
	b := append(make([]byte, blockHeadLen), bomb...)
	h.rows = uint32(max(len(bomb), 100_000))
	h.putPlace(b)
	h.putRest(b, head.crc)
	got, err := parseBlockHead(b, head.crc)
	must(t, err)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := NewSource(SourceConfig{}).decode(t.Context(), &head, &got, b, true); err == nil {
		t.Error("a block of 100 MiB was taken for one of 100 kB")
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
		t.Errorf("%d bytes were allocated", got)
	}
}

func TestASealedBlockOpensInItsOwnPlaceOnly(t *testing.T) {
	c := somehow(t)["sealed"]
	a := newHurt(t, c, someShards(40, 400))
	ra := a.reader()
	other := c
	other.Name.Last++
	moved := newHurt(t, other, someShards(40, 400))
	b := slices.Clone(moved.b)
	bl := &moved.reader().foot.blocks[0]
	from := a.b[bl.off : bl.off+bl.size()]
	copy(b[bl.off:], from)
	// With a checksum made right for its new place, only the key tells.
	h, err := parseBlockHead(slices.Clone(from), ra.foot.head.crc)
	must(t, err)
	h.putRest(b[bl.off:bl.off+bl.size()], moved.reader().foot.head.crc)
	if moved.check(moved.set(b), "a moved block", -1) != 1 {
		t.Error("the block of another segment was read")
	}
	_, err = NewSource(SourceConfig{Bucket: a.bucket}).openBlock(a)
	if !fault.Is(err, fault.Denied) {
		t.Errorf("without keys: %v", err)
	}
	rep, err := NewSource(SourceConfig{Bucket: a.bucket}).Verify(t.Context(), storage.Object{Key: a.info.Name.Key(), Size: a.info.Size})
	if err != nil || len(rep.Damage) > 0 || rep.Sealed != a.info.Blocks || rep.Blocks != a.info.Blocks {
		t.Errorf("verify without keys: %+v, %v", rep, err)
	}
	nonces := map[string]bool{}
	for i := range ra.foot.blocks {
		off := ra.foot.blocks[i].off + blockHeadLen
		nonces[string(a.b[off:off+nonceLen])] = true
	}
	again, _ := write(t, c, a.shards)
	off := ra.foot.blocks[0].off + blockHeadLen
	nonces[string(again[off:off+nonceLen])] = true
	if len(nonces) != a.info.Blocks+1 {
		t.Errorf("%d nonces for %d blocks", len(nonces), a.info.Blocks+1)
	}
	if bytes.Contains(a.b, []byte("kkkkkkk")) {
		t.Error("a partition key can be read in the sealed bytes")
	}
}

// reader opens the segment as it was written.
func (h *hurt) reader() *Reader {
	h.t.Helper()
	o := h.set(h.b)
	r, err := h.src.Open(context.Background(), o.Key, o.Size)
	must(h.t, err)
	return r
}

func (s *Source) openBlock(h *hurt) (*Block, error) {
	r, err := s.Open(context.Background(), h.info.Name.Key(), h.info.Size)
	must(h.t, err)
	return r.Block(context.Background(), 0)
}
