package records

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"penstock/internal/fault"
)

// asked is an operation on the records of one partition key: a put, or a read of them all.
type asked struct {
	key string
	put int // the value; 0: a read
}

// answered is what it returned: the number of what was put, or what was read.
type answered struct {
	seq    Seq
	values string
}

// keyLog is what the records of a key are: a list, whose numbers rise.
type keyLog struct {
	values string
	last   Seq
}

// oneKey is the model: of each key by itself, a list that grows.
func oneKey() porcupine.Model {
	return porcupine.Model{
		Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
			by := map[string][]porcupine.Operation{}
			for _, op := range history {
				k := op.Input.(asked).key
				by[k] = append(by[k], op)
			}
			for _, ops := range by {
				parts = append(parts, ops)
			}
			return parts
		},
		Init: func() any { return keyLog{} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(keyLog), input.(asked), output.(answered)
			if in.put == 0 {
				return out.values == s.values, s
			}
			return out.seq.Compare(s.last) > 0, keyLog{s.values + fmt.Sprint(in.put, " "), out.seq}
		},
	}
}

// readKey reads the records of a key as a consumer does: a shard to its end, then the child
// that goes on with the key.
func readKey(l *Log, key string) (string, error) {
	h := HashOf(key)
	covers := func(s Shard) bool { return s.From.Compare(h) <= 0 && h.Compare(s.To) <= 0 }
	id := NoShard
	for _, s := range l.Shards() {
		if s.Parent == NoShard && covers(s) {
			id = s.ID
		}
	}
	values := ""
	var page Page
	for p := (Position{}); ; p = page.Next {
		if err := l.Read(context.Background(), id, p, 3, 0, &page); err != nil {
			return "", err
		}
		for i := range page.Records {
			if page.Records[i].Key == key {
				values += string(page.Records[i].Data) + " "
			}
		}
		switch {
		case page.Ended:
			for _, s := range page.Children {
				if covers(s) {
					id = s.ID
				}
			}
			page.Next = Position{}
		case len(page.Records) == 0:
			return values, nil
		}
	}
}

// TestPutsAndReadsAreLinearizable has writers and readers of a few keys at work while the
// shards split and merge and the lane is sealed, and asks whether some order of the
// operations, within their times, explains every answer.
func TestPutsAndReadsAreLinearizable(t *testing.T) {
	for seed := range 6 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.TailBytes = []int64{1, 1 << 20}[seed%2] })
			l := r.create("s", 1+seed%3)
			var (
				mu      sync.Mutex
				history []porcupine.Operation
				all     sync.WaitGroup
				value   int
			)
			began := time.Now()
			note := func(client int, in asked, call time.Duration, out answered) {
				mu.Lock()
				defer mu.Unlock()
				history = append(history, porcupine.Operation{ClientId: client, Input: in, Call: int64(call), Output: out, Return: int64(time.Since(began))})
			}
			for c := range 6 {
				rng := rand.New(rand.NewPCG(uint64(seed), uint64(c)))
				all.Go(func() {
					for range 60 {
						in := asked{key: fmt.Sprintf("key-%d", rng.IntN(5))}
						if c < 4 {
							mu.Lock()
							value++
							in.put = value
							mu.Unlock()
						}
						call := time.Since(began)
						if in.put == 0 {
							values, err := readKey(l, in.key)
							if err != nil {
								t.Error(err)
								return
							}
							note(c, in, call, answered{values: values})
							continue
						}
						out := make([]Placed, 1)
						if err := l.Put(context.Background(), []Input{{Key: in.key, Hash: HashOf(in.key), Data: fmt.Append(nil, in.put)}}, out, nil); err != nil {
							t.Error(err)
							return
						}
						note(c, in, call, answered{seq: out[0].Seq})
					}
				})
			}
			all.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(seed), 99))
				for range 25 {
					open := *l.route.Load()
					i := rng.IntN(len(open))
					var err error
					switch k := rng.IntN(4); {
					case k == 0 && i+1 < len(open):
						err = l.Merge(context.Background(), open[i].id, open[i+1].id)
					case k == 1:
						err = r.store.Seal(context.Background())
					default:
						err = l.Split(context.Background(), open[i].id, Middle(open[i].from, open[i].to))
					}
					if err != nil && !fault.Is(err, fault.Invalid) {
						t.Error(err)
					}
				}
			})
			all.Wait()
			if t.Failed() {
				return
			}
			if res := porcupine.CheckOperationsTimeout(oneKey(), history, time.Minute); res != porcupine.Ok {
				t.Fatalf("the history of %d operations: %v", len(history), res)
			}
		})
	}
}
