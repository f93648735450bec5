package segment

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"penstock/internal/fault"
	"penstock/storage"
	"penstock/storage/mem"
)

// shardRecords is what a test puts into a shard.
type shardRecords struct {
	Shard
	records []Record
}

// keyOf is the AEAD of the tests' one key.
func keyOf(t testing.TB) cipher.AEAD {
	t.Helper()
	b, err := aes.NewCipher([]byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCM(b)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func keys(t testing.TB) func(context.Context, string) (cipher.AEAD, error) {
	a := keyOf(t)
	return func(_ context.Context, id string) (cipher.AEAD, error) {
		if id != "key-1" {
			return nil, fault.New(fault.NotFound, "find key", id, "no such key")
		}
		return a, nil
	}
}

// fatalT is what *testing.T and *rapid.T share.
type fatalT interface {
	Helper()
	Fatalf(string, ...any)
}

func must(t fatalT, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// write makes a segment of shards.
func write(t fatalT, c Config, shards []shardRecords) ([]byte, Info) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, c)
	must(t, err)
	for _, s := range shards {
		must(t, w.Begin(s.Shard))
		for i := range s.records {
			must(t, w.Add(&s.records[i]))
		}
	}
	info, err := w.Finish()
	must(t, err)
	if info.Size != int64(out.Len()) {
		t.Fatalf("the info says %d bytes, there are %d", info.Size, out.Len())
	}
	return out.Bytes(), info
}

// store puts b under the key of its info, and returns a Source of the bucket.
func store(t fatalT, c SourceConfig, b []byte, info Info) *Source {
	t.Helper()
	if c.Bucket == nil {
		c.Bucket = mem.New(mem.Config{})
	}
	must(t, c.Bucket.Put(context.Background(), info.Name.Key(), bytes.NewReader(b), int64(len(b))))
	return NewSource(c)
}

// readAll returns every record of r, copied, with its shard's number.
func readAll(ctx context.Context, r *Reader, ahead int) (map[uint32][]Record, error) {
	out := map[uint32][]Record{}
	for b, err := range r.Blocks(ctx, 0, r.Info().Blocks, ahead) {
		if err != nil {
			return out, err
		}
		for i := range b.Len() {
			rec := b.At(i)
			rec.Key, rec.Data = strings.Clone(rec.Key), bytes.Clone(rec.Data)
			out[b.Shard()] = append(out[b.Shard()], rec)
		}
	}
	return out, nil
}

func sameRecord(a, b Record) bool {
	return a.Index == b.Index && a.Arrival == b.Arrival && a.Key == b.Key && a.Flags == b.Flags && bytes.Equal(a.Data, b.Data)
}

// compare fails when got are not the records of want.
func compare(t fatalT, got map[uint32][]Record, want []shardRecords) {
	t.Helper()
	n := 0
	for _, s := range want {
		if len(s.records) == 0 {
			continue
		}
		n++
		if !slices.EqualFunc(got[s.ID], s.records, sameRecord) {
			t.Fatalf("shard %d: %d records were put, %d or others were read", s.ID, len(s.records), len(got[s.ID]))
		}
	}
	if n != len(got) {
		t.Fatalf("%d shards have records, %d were read", n, len(got))
	}
}

// drawShards draws some shards with records of many shapes.
func drawShards(t *rapid.T) []shardRecords {
	var out []shardRecords
	id := uint32(0)
	for range rapid.IntRange(1, 6).Draw(t, "shards") {
		id += rapid.Uint32Range(1, 1000).Draw(t, "step")
		s := shardRecords{Shard: Shard{
			ID: id - 1, Created: rapid.Int64Range(0, 1<<33).Draw(t, "created"),
			About: rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "about"),
		}}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		index := rapid.SampledFrom([]uint64{0, 1, 77, 1 << 40, maxIndex - 1<<20}).Draw(t, "first")
		arrival := rapid.SampledFrom([]int64{-1, 0, 1_790_000_000_000}).Draw(t, "arrival")
		size := rapid.SampledFrom([]int{0, 1, 30, 1000, 20_000}).Draw(t, "size")
		for range rapid.IntRange(0, 300).Draw(t, "records") {
			s.records = append(s.records, randomRecord(rng, index, arrival, size))
			if index++; rng.IntN(5) == 0 {
				index += rng.Uint64N(1000)
			}
			if rng.IntN(2) == 0 {
				arrival += rng.Int64N(5000)
			}
		}
		out = append(out, s)
	}
	return out
}

func randomRecord(rng *rand.Rand, index uint64, arrival int64, size int) Record {
	data := make([]byte, rng.IntN(size+1))
	letters := 1 + rng.IntN(255) // from well to not at all compressible
	for i := range data {
		data[i] = byte(rng.IntN(letters))
	}
	return Record{
		Index: index, Arrival: arrival, Data: data, Flags: Flags(rng.IntN(int(maxFlags) + 1)),
		Key: strings.Repeat("k", rng.IntN(20)) + fmt.Sprint(rng.IntN(100)),
	}
}

func testName() Name { return Name{Stream: "s1", Lane: 3, First: 10, Last: 99} }

// drawConfig draws a way to write.
func drawConfig(t *rapid.T, a cipher.AEAD) Config {
	c := Config{
		Name:      testName(),
		BlockSize: rapid.SampledFrom([]int{0, MinBlock, 10_000, MaxBlock}).Draw(t, "block"),
		Plain:     rapid.Bool().Draw(t, "plain"),
	}
	if rapid.Bool().Draw(t, "sealed") {
		c.AEAD, c.KeyID = a, "key-1"
	}
	return c
}

func TestWhatIsWrittenIsReadWhateverItsShape(t *testing.T) {
	key, find := keyOf(t), keys(t)
	rapid.Check(t, func(t *rapid.T) {
		shards, ctx := drawShards(t), context.Background()
		total := 0
		for _, s := range shards {
			total += len(s.records)
		}
		if total == 0 {
			return
		}
		b, info := write(t, drawConfig(t, key), shards)
		src := store(t, SourceConfig{Keys: find, Cache: rapid.Int64Range(1, 1<<20).Draw(t, "cache")}, b, info)
		r, err := src.Open(ctx, info.Name.Key(), info.Size)
		must(t, err)
		if got := r.Info(); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", info) {
			t.Fatalf("the writer says %+v, the reader %+v", info, got)
		}
		got, err := readAll(ctx, r, rapid.IntRange(0, 3).Draw(t, "ahead"))
		must(t, err)
		compare(t, got, shards)
		rep, err := src.Verify(ctx, storage.Object{Key: info.Name.Key(), Size: info.Size})
		must(t, err)
		if len(rep.Damage) > 0 || rep.Blocks != info.Blocks || rep.Records != int64(total) || rep.Sealed > 0 {
			t.Fatalf("verify: %+v", rep)
		}
		findEverything(t, r, shards)
	})
}

// findEverything asks for indexes and times that are there and those that are not.
func findEverything(t *rapid.T, r *Reader, shards []shardRecords) {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "probes"), 1))
	for _, s := range shards {
		held, ok := r.Range(s.ID)
		if ok != (len(s.records) > 0) {
			t.Fatalf("shard %d of %d records: %v", s.ID, len(s.records), ok)
		}
		if !ok {
			continue
		}
		if held.Created != s.Created || !bytes.Equal(held.About, s.About) || held.Records != int64(len(s.records)) {
			t.Fatalf("%+v of %+v", held, s.Shard)
		}
		for range 20 {
			want := s.records[rng.IntN(len(s.records))]
			index := want.Index - min(want.Index, rng.Uint64N(3))
			arrival := want.Arrival - 1 + rng.Int64N(3)
			at := slices.IndexFunc(s.records, func(x Record) bool { return x.Index >= index })
			b, ok := r.Find(s.ID, index)
			checkFound(t, r, s.records, at, b, ok, func(b *Block) int { return b.Find(index) })
			at = slices.IndexFunc(s.records, func(x Record) bool { return x.Arrival >= arrival })
			b, ok = r.FindTime(s.ID, arrival)
			checkFound(t, r, s.records, at, b, ok, func(b *Block) int { return b.FindTime(arrival) })
		}
		if _, ok := r.Find(s.ID, held.Last+1); ok {
			t.Fatalf("found a record after the last of shard %d", s.ID)
		}
	}
}

func checkFound(t fatalT, r *Reader, in []Record, at, block int, ok bool, find func(*Block) int) {
	t.Helper()
	if ok != (at >= 0) {
		t.Fatalf("record %d of %d: found %v", at, len(in), ok)
	}
	if !ok {
		return
	}
	b, err := r.Block(context.Background(), block)
	must(t, err)
	if k := find(b); k == b.Len() || !sameRecord(b.At(k), in[at]) {
		t.Fatalf("place %d of %d in block %d is another record than %d", k, b.Len(), block, at)
	}
}
