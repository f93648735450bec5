package acceptance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// worker reads a stream as the Kinesis Client Library does: a shard when all of its parents
// are drained, the next ones by what the end of a shard names. It checks that the records
// of each key come whole and in order; one that comes again at once was put twice by the
// SDK, which had no answer.
type worker struct {
	t    *testing.T
	ctx  context.Context
	s    *server
	c    *sdk.Client
	name *string
	arn  *string // of a registered consumer; nil: it polls

	all sync.WaitGroup

	mu      sync.Mutex
	parents map[string][]string
	started map[string]bool
	ended   map[string]bool
	last    map[string]int
	wrong   []string
}

func newWorker(r *sdkRun, arn *string) *worker {
	return &worker{t: r.t, ctx: r.ctx, s: r.s, c: r.c, name: r.name, arn: arn, parents: map[string][]string{}, started: map[string]bool{}, ended: map[string]bool{}, last: map[string]int{}}
}

// offer makes a shard known, and begins those that can be read.
func (w *worker) offer(id string, parents ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.parents[id] = parents
	for id, parents := range w.parents {
		ready := !w.started[id]
		for _, p := range parents {
			ready = ready && w.ended[p]
		}
		if ready {
			w.started[id] = true
			w.all.Go(func() { w.follow(id) })
		}
	}
}

// take checks records of a shard.
func (w *worker) take(id string, list []types.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range list {
		n, err := strconv.Atoi(string(r.Data))
		if key := *r.PartitionKey; err != nil || n != w.last[key]+1 && n != w.last[key] {
			w.wrong = append(w.wrong, fmt.Sprintf("%s in %s: %s after %d", key, id, r.Data, w.last[key]))
		}
		w.last[*r.PartitionKey] = n
	}
}

func (w *worker) follow(id string) {
	read := w.poll
	if w.arn != nil {
		read = w.subscribe
	}
	children, err := read(id)
	switch {
	case w.ctx.Err() != nil:
		return
	case err != nil || len(children) == 0:
		w.t.Errorf("%s ended with %d children: %v", id, len(children), err)
		return
	}
	w.mu.Lock()
	w.ended[id] = true
	w.mu.Unlock()
	for _, c := range children {
		w.offer(*c.ShardId, c.ParentShards...)
	}
}

// poll reads a shard to its end.
func (w *worker) poll(id string) ([]types.ChildShard, error) {
	it, err := w.c.GetShardIterator(w.ctx, &sdk.GetShardIteratorInput{StreamName: w.name, ShardId: &id, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if err != nil {
		return nil, err
	}
	for next := it.ShardIterator; ; {
		page, err := w.c.GetRecords(w.ctx, &sdk.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(100)})
		if err != nil {
			return nil, err
		}
		w.take(id, page.Records)
		if next = page.NextShardIterator; next == nil {
			return page.ChildShards, nil
		}
	}
}

// subscribe reads a shard to its end, each subscription for a few events only.
func (w *worker) subscribe(id string) ([]types.ChildShard, error) {
	at := &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	for {
		c := w.s.goClient(nil, nil) // event streams of one client share what decodes them, unguarded
		out, err := c.SubscribeToShard(w.ctx, &sdk.SubscribeToShardInput{ConsumerARN: w.arn, ShardId: &id, StartingPosition: at})
		if taken := new(types.ResourceInUseException); errors.As(err, &taken) {
			time.Sleep(20 * time.Millisecond) // the server is about to hear that the last one ended
			continue
		} else if err != nil {
			return nil, err
		}
		events := out.GetStream()
		for n := range 20 {
			e, ok := <-events.Events()
			if !ok {
				break
			}
			got := e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value
			w.take(id, got.Records)
			if len(got.ChildShards) > 0 {
				return got.ChildShards, events.Close()
			}
			kind := types.ShardIteratorTypeAtSequenceNumber
			if n%2 == 0 {
				kind = types.ShardIteratorTypeAfterSequenceNumber
			}
			at = &types.StartingPosition{Type: kind, SequenceNumber: got.ContinuationSequenceNumber}
		}
		_ = events.Close()
		if w.ctx.Err() != nil {
			return nil, w.ctx.Err()
		}
	}
}

// reach waits until a worker has read the last record of each key.
func (w *worker) reach(want map[string]int) {
	for {
		w.mu.Lock()
		done := maps.Equal(w.last, want)
		state := fmt.Sprintf("%d keys of %d, %d shards, %d ended", len(w.last), len(want), len(w.parents), len(w.ended))
		w.mu.Unlock()
		switch {
		case done:
			return
		case w.ctx.Err() != nil:
			w.t.Fatalf("not all was read: %s", state)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// change splits, merges or counts anew, and checks that the open shards cover the hash space.
func (r *sdkRun) change() {
	r.t.Helper()
	list, err := r.c.ListShards(r.ctx, &sdk.ListShardsInput{StreamName: r.name, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}})
	r.no(err)
	from, open := new(big.Int), []types.Shard{}
	for len(open) < len(list.Shards) {
		i := slices.IndexFunc(list.Shards, func(s types.Shard) bool { return *s.HashKeyRange.StartingHashKey == from.String() })
		if i < 0 {
			r.t.Fatalf("nothing begins at %s: %d shards", from, len(list.Shards))
		}
		open = append(open, list.Shards[i])
		from.SetString(*list.Shards[i].HashKeyRange.EndingHashKey, 10)
		from.Add(from, big.NewInt(1))
	}
	n := len(open)
	switch what := rand.IntN(4); {
	case what == 0 && n < 8:
		s := open[rand.IntN(n)]
		low, _ := new(big.Int).SetString(*s.HashKeyRange.StartingHashKey, 10)
		high, _ := new(big.Int).SetString(*s.HashKeyRange.EndingHashKey, 10)
		at := low.Add(low, high).Rsh(low, 1).String()
		_, err = r.c.SplitShard(r.ctx, &sdk.SplitShardInput{StreamName: r.name, ShardToSplit: s.ShardId, NewStartingHashKey: &at})
	case what == 1 && n > 1:
		i := rand.IntN(n - 1)
		_, err = r.c.MergeShards(r.ctx, &sdk.MergeShardsInput{StreamName: r.name, ShardToMerge: open[i].ShardId, AdjacentShardToMerge: open[i+1].ShardId})
	default:
		to := int32(min(8, (n+1)/2+rand.IntN(n+n/2+1)))
		_, err = r.c.UpdateShardCount(r.ctx, &sdk.UpdateShardCountInput{StreamName: r.name, TargetShardCount: &to, ScalingType: types.ScalingTypeUniformScaling})
	}
	r.no(err)
}

// TestConsumersKeepTheOrderOfKeysOverReshards puts without a pause while the shards change,
// and reads with two workers that poll and one that is subscribed.
func TestConsumersKeepTheOrderOfKeysOverReshards(t *testing.T) {
	t.Parallel()
	const producers, keys, changes = 3, 20, 40
	r := newRun(t, "--shard-limits", "off")
	r.c = r.s.goClient(nil, nil) // many call at once
	consumer, err := r.c.RegisterStreamConsumer(r.ctx, &sdk.RegisterStreamConsumerInput{StreamARN: r.arn, ConsumerName: aws.String("c")})
	r.no(err)
	reading, stop := context.WithCancel(r.ctx)
	defer stop()
	var workers []*worker
	for _, arn := range []*string{nil, nil, consumer.Consumer.ConsumerARN} {
		w := newWorker(r, arn)
		w.ctx = reading
		w.offer("shardId-000000000000")
		w.offer("shardId-000000000001")
		workers = append(workers, w)
	}
	want, changed := map[string]int{}, make(chan struct{})
	var mu sync.Mutex
	var puts sync.WaitGroup
	for p := range producers {
		puts.Go(func() {
			for n, more := 1, true; more; n++ {
				select {
				case <-changed:
					more = false
				default:
				}
				in := &sdk.PutRecordsInput{StreamName: r.name}
				for k := range keys {
					key := fmt.Sprintf("%d-%d", p, k)
					in.Records = append(in.Records, types.PutRecordsRequestEntry{PartitionKey: &key, Data: []byte(strconv.Itoa(n))})
				}
				if out, err := r.c.PutRecords(r.ctx, in); err != nil || *out.FailedRecordCount > 0 {
					t.Errorf("put %d of producer %d: %v", n, p, err)
					return
				}
				mu.Lock()
				for _, e := range in.Records {
					want[*e.PartitionKey] = n
				}
				mu.Unlock()
			}
		})
	}
	for range changes {
		r.change()
	}
	close(changed)
	puts.Wait()
	for _, w := range workers {
		w.reach(want)
	}
	stop()
	for i, w := range workers {
		w.all.Wait()
		if len(w.wrong) > 0 {
			t.Errorf("worker %d: %d records out of order: %.500s", i, len(w.wrong), w.wrong)
		}
		if len(w.ended) < changes/4 {
			t.Errorf("worker %d came to the end of %d shards only", i, len(w.ended))
		}
	}
}
