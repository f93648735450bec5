package segment

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"penstock/internal/fault"
	"penstock/storage"
	"penstock/storage/mem"
)

// spread deals the records of shards out to n segments, in order.
func spread(t *rapid.T, shards []shardRecords, n int) [][]shardRecords {
	out := make([][]shardRecords, n)
	for _, s := range shards {
		cuts := []int{0, len(s.records)}
		for range n - 1 {
			cuts = append(cuts, rapid.IntRange(0, len(s.records)).Draw(t, "cut"))
		}
		slices.Sort(cuts)
		for i := range n {
			out[i] = append(out[i], shardRecords{s.Shard, s.records[cuts[i]:cuts[i+1]]})
		}
	}
	return out
}

func TestAMergeHoldsWhatItsSourcesHeld(t *testing.T) {
	key, find := keyOf(t), keys(t)
	rapid.Check(t, func(t *rapid.T) {
		shards, ctx := drawShards(t), context.Background()
		bucket := mem.New(mem.Config{})
		src := NewSource(SourceConfig{Bucket: bucket, Keys: find})
		var readers []*Reader
		for i, part := range spread(t, shards, rapid.IntRange(1, 5).Draw(t, "segments")) {
			if !slices.ContainsFunc(part, func(s shardRecords) bool { return len(s.records) > 0 }) {
				continue
			}
			c := drawConfig(t, key)
			c.Name.First, c.Name.Last = uint64(i*10+1), uint64(i*10+10)
			b, info := write(t, c, part)
			must(t, bucket.Put(ctx, info.Name.Key(), bytes.NewReader(b), info.Size))
			r, err := src.Open(ctx, info.Name.Key(), info.Size)
			must(t, err)
			readers = append(readers, r)
		}
		if len(readers) == 0 {
			return
		}
		readers = rapid.Permutation(readers).Draw(t, "order")
		c := drawConfig(t, key)
		c.Name.Level, c.Name.First, c.Name.Last = 1, 1, 50
		var out bytes.Buffer
		w, err := NewWriter(&out, c)
		must(t, err)
		info, err := Compact(ctx, w, readers)
		must(t, err)
		merged := store(t, SourceConfig{Bucket: bucket, Keys: find}, out.Bytes(), info)
		r, err := merged.Open(ctx, info.Name.Key(), info.Size)
		must(t, err)
		got, err := readAll(ctx, r, 1)
		must(t, err)
		compare(t, got, shards)
		for _, s := range shards {
			if held, ok := r.Range(s.ID); ok && (held.Created != s.Created || !bytes.Equal(held.About, s.About)) {
				t.Fatalf("shard %d became %+v", s.ID, held)
			}
		}
	})
}

func TestAMergeRefusesWhatDoesNotBelongTogether(t *testing.T) {
	ctx, bucket := t.Context(), mem.New(mem.Config{})
	src := NewSource(SourceConfig{Bucket: bucket})
	open := func(n Name, shards []shardRecords) *Reader {
		b, info := write(t, Config{Name: n}, shards)
		must(t, bucket.Put(ctx, info.Name.Key(), bytes.NewReader(b), info.Size))
		r, err := src.Open(ctx, info.Name.Key(), info.Size)
		must(t, err)
		return r
	}
	shards := someShards(5, 100)
	n := testName()
	first := open(n, shards)
	n.First = 50
	same := open(n, shards)
	n.Stream = "s2"
	other := open(n, shards)
	n.Stream, n.First = "s1", 60
	shards[0].Created++
	shards[0].records = []Record{{Index: 1000, Arrival: 1_800_000_000_000}}
	reborn := open(n, shards[:1])
	for name, from := range map[string][]*Reader{
		"the same record twice": {first, same},
		"another stream":        {first, other},
		"another creation":      {first, reborn},
	} {
		w, err := NewWriter(&bytes.Buffer{}, Config{Name: testName()})
		must(t, err)
		if _, err := Compact(ctx, w, from); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADamagedSourceStopsAMergeAndCanBeSalvaged(t *testing.T) {
	h := newHurt(t, Config{Name: testName(), BlockSize: MinBlock}, someShards(60, 800))
	r := h.reader()
	bad := r.foot.blocks[2]
	b := slices.Clone(h.b)
	b[bad.off+100] ^= 1
	b[len(b)-1] ^= 1
	o := h.set(b)
	w, err := NewWriter(&bytes.Buffer{}, Config{Name: testName()})
	must(t, err)
	var d *Damage
	if _, err := Compact(t.Context(), w, []*Reader{r}); !errors.As(err, &d) || d.Offset != bad.off {
		t.Fatalf("the merge of a damaged segment: %v", err)
	}
	rep, err := h.src.Verify(t.Context(), o)
	must(t, err)
	if len(rep.Damage) != 2 || rep.Blocks != h.info.Blocks-1 || rep.Records != h.info.Records-int64(bad.records) {
		t.Errorf("verify: %+v", rep)
	}
	saved, err := h.src.Salvage(t.Context(), o)
	must(t, err)
	var out bytes.Buffer
	must(t, w.Reset(&out, Config{Name: testName()}))
	info, err := Compact(t.Context(), w, []*Reader{saved})
	must(t, err)
	if info.Records != h.info.Records-int64(bad.records) {
		t.Errorf("%d records were salvaged of %d, of which %d are damaged", info.Records, h.info.Records, bad.records)
	}
	o = h.set(out.Bytes())
	rep, err = h.src.Verify(t.Context(), storage.Object{Key: info.Name.Key(), Size: info.Size})
	if err != nil || len(rep.Damage) > 0 || rep.Info.Shards[0].Created != 1_790_000_000 {
		t.Errorf("what was salvaged: %+v, %v", rep, err)
	}
}
