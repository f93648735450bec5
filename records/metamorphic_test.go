package records

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"penstock/internal/fault"
)

// model is what a log must hold: the records by shard, in order.
type model struct {
	shards map[ShardID][]kept
	ended  map[ShardID]bool
}

type kept struct {
	seq  Seq
	key  string
	data string
}

// TestAnyHistoryReadsBackTheSame makes random histories of puts, splits, merges, reshards,
// sealings, merges of segments, encryption and restarts, with small files, and compares
// all that can be read with what was put.
func TestAnyHistoryReadsBackTheSame(t *testing.T) {
	seeds := 12
	if testing.Short() {
		seeds = 3
	}
	if n, err := strconv.Atoi(os.Getenv("PENSTOCK_HISTORIES")); err == nil {
		seeds = n
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			history(t, uint64(seed))
		})
	}
}

func history(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 99))
	r := newRig(t, func(c *Config) {
		c.Plain = rng.IntN(2) == 0
		c.LaneFileSize = int64(256<<10) << rng.IntN(3)
		c.TailBytes = []int64{1, 32 << 10, 64 << 20}[rng.IntN(3)]
		c.Lanes = 1 + rng.IntN(3)
		c.CompactSegments = 2 + rng.IntN(4)
		c.Keys = testKeys{}
	})
	ctx := context.Background()
	models := map[string]*model{}
	ids := []string{}
	for i := range 1 + rng.IntN(3) {
		id := fmt.Sprintf("stream-%d", i)
		r.create(id, 1+rng.IntN(6))
		models[id] = &model{map[ShardID][]kept{}, map[ShardID]bool{}}
		ids = append(ids, id)
	}
	for step := range 150 {
		id := ids[rng.IntN(len(ids))]
		l, m := r.log(id), models[id]
		switch k := rng.IntN(100); {
		case k < 60:
			m.putAtOnce(t, l, rng, 1+rng.IntN(1+rng.IntN(6)))
		case k < 66:
			open := *l.route.Load()
			sh := open[rng.IntN(len(open))]
			err := l.Split(ctx, sh.id, Middle(sh.from, sh.to))
			if err != nil && !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
		case k < 72:
			if open := *l.route.Load(); len(open) > 1 {
				i := rng.IntN(len(open) - 1)
				must(t, l.Merge(ctx, open[i].id, open[i+1].id))
			}
		case k < 74:
			must(t, l.Reshard(ctx, 1+rng.IntN(8)))
		case k < 80:
			must(t, r.store.Seal(ctx))
		case k < 84:
			must(t, r.store.compact(ctx))
		case k < 87:
			must(t, r.store.sweep(ctx))
		case k < 90:
			must(t, l.Encrypt(ctx, rng.IntN(2) == 0))
		case k < 94:
			r.restart()
		default:
			m.compare(t, l, rng, fmt.Sprintf("step %d", step))
		}
	}
	for _, id := range ids {
		models[id].compare(t, r.log(id), rng, "at the end")
	}
	r.restart()
	for _, id := range ids {
		models[id].compare(t, r.log(id), rng, "after a restart")
	}
}

// putAtOnce puts several requests at once, which share commits.
func (m *model) putAtOnce(t *testing.T, l *Log, rng *rand.Rand, requests int) {
	var (
		all sync.WaitGroup
		mu  sync.Mutex
	)
	for range requests {
		in := make([]Input, 1+rng.IntN(60))
		for i := range in {
			key := fmt.Sprintf("k%d", rng.IntN(1000))
			data := make([]byte, rng.IntN(1<<rng.IntN(13)))
			for j := range data {
				data[j] = byte(rng.IntN(7) * j)
			}
			in[i] = Input{Key: key, Hash: HashOf(key), Data: data}
		}
		all.Go(func() {
			out := make([]Placed, len(in))
			if err := l.Put(context.Background(), in, out, nil); err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for i, p := range out {
				m.shards[p.Shard] = append(m.shards[p.Shard], kept{p.Seq, in[i].Key, string(in[i].Data)})
			}
		})
	}
	all.Wait()
	for _, of := range m.shards {
		slices.SortFunc(of, func(a, b kept) int { return a.seq.Compare(b.seq) })
	}
}

// compare reads everything from the oldest on, and something from somewhere.
func (m *model) compare(t *testing.T, l *Log, rng *rand.Rand, when string) {
	t.Helper()
	shards := l.Shards()
	for i, s := range shards {
		if int(s.ID) != i {
			t.Fatalf("%s: shard %d is number %d", when, s.ID, i)
		}
		got, page := readAll(t, l, s.ID, Position{})
		want := m.shards[s.ID]
		same(t, when, s.ID, got, want)
		if page.Ended == s.Open() {
			t.Fatalf("%s: shard %v ended: %v", when, s, page.Ended)
		}
		if len(want) == 0 {
			continue
		}
		k := rng.IntN(len(want))
		p, err := l.At(context.Background(), s.ID, From{Kind: AfterSeq, Seq: want[k].seq})
		must(t, err)
		got, _ = readAll(t, l, s.ID, p)
		same(t, when+" after a number", s.ID, got, want[k+1:])
		at := want[k].seq.Time()
		p, err = l.At(context.Background(), s.ID, From{Kind: AtTime, Time: at})
		must(t, err)
		got, _ = readAll(t, l, s.ID, p)
		from := slices.IndexFunc(want, func(r kept) bool { return !r.seq.Time().Before(at) })
		same(t, when+" at a time", s.ID, got, want[from:])
		mark, err := l.Mark(s.ID, page.Next)
		must(t, err)
		if last := want[len(want)-1].seq; mark.Compare(last) <= 0 {
			t.Fatalf("the mark %v is not behind %v", mark, last)
		}
	}
}

func same(t *testing.T, when string, id ShardID, got []Record, want []kept) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if g, w := got[i], want[i]; g.Seq != w.seq || g.Key != w.key || string(g.Data) != w.data {
			t.Fatalf("%s: record %d of %v is %v %q of %d bytes, want %v %q of %d", when, i, id, g.Seq, g.Key, len(g.Data), w.seq, w.key, len(w.data))
		}
		if i > 0 && got[i].Arrival.Before(got[i-1].Arrival) {
			t.Fatalf("%s: record %d of %v arrived before the one before", when, i, id)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %v has %d records, want %d", when, id, len(got), len(want))
	}
}
