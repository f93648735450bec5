package acceptance

import (
	"context"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// recordCrashes is how many times TestRecordsCrash kills the server:
// PENSTOCK_RECORD_CRASHES, else 200 in CI and a short form elsewhere.
func recordCrashes(t *testing.T) int { return setting(t, "PENSTOCK_RECORD_CRASHES", 200, 10) }

// middle is the hash key at which a shard is halved.
func middle(d *dataShard) string {
	from, _ := new(big.Int).SetString(d.HashKeyRange.StartingHashKey, 10)
	to, _ := new(big.Int).SetString(d.HashKeyRange.EndingHashKey, 10)
	return from.Rsh(from.Add(from, to), 1).String()
}

// TestRecordsCrash kills the server under producers, again and again: what it had
// acknowledged is there, once, in order.
func TestRecordsCrash(t *testing.T) {
	t.Parallel()
	s, l := withStream(t, t.TempDir(), 4)
	rng := rand.New(rand.NewPCG(4, 200))
	back := &returns{s: s}
	cycles := recordCrashes(t)
	for n := range cycles {
		l.strike(n, cycles, rng, s.kill)
		if rng.IntN(8) == 0 { // and once more on the way up
			s.launch()
			time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
			s.kill()
		}
		back.up()
		s.active(l.stream) // what a crash broke off has been done
		when := "crash " + strconv.Itoa(n)
		l.catchUp(when)
		if n%50 == 49 {
			l.reread(when)
		}
		if t.Failed() {
			return
		}
	}
	s.stop()
	if out, err := exec.Command(binary, "verify", s.dir).CombinedOutput(); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	s.up()
	l.catchUp("after all crashes")
	l.reread("after all crashes")
	back.inTime()
}

// strike puts records and, amid that, ends the server with blow.
func (l *ledger) strike(n, of int, rng *rand.Rand, blow func()) {
	l.s.t.Helper()
	stop := l.writers(6)
	defer stop()
	time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond) // the instant is the experiment
	upheaval, ended := l.upheaval(n, of, rng), make(chan error, 1)
	go func() { ended <- upheaval() }()
	time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
	blow()
	<-ended // it succeeded, or the blow broke it: both are fair
}

// returns are those of a server that is killed again and again: it has to be ready within a
// second. What the machine does beside may delay some, or all: where it takes longer, a
// server that has nothing to recover is started too, and tells what is the machine's.
type returns struct {
	s     *server
	took  []time.Duration
	late  int
	empty *server
	own   []time.Duration // what the empty one took
}

// up starts the killed server.
func (r *returns) up() {
	r.s.t.Helper()
	took := timed(r.s)
	r.took = append(r.took, took)
	if took > time.Second && took > 3*r.machine() {
		r.late++
	}
}

// timed starts a server and returns how long that took.
func timed(s *server) time.Duration {
	s.t.Helper()
	pulse, begin := s.machine(), time.Now()
	s.up()
	return pulse.Took(begin)
}

// machine is how long a server takes that has nothing to recover: now, or, when that was
// asked often enough, as a rule.
func (r *returns) machine() time.Duration {
	t := r.s.t
	t.Helper()
	if r.empty == nil {
		r.empty = &server{t: t, dir: t.TempDir(), http: freeAddress(t), rtsp: freeAddress(t), args: r.s.args, log: &journal{}}
		r.empty.up() // makes its directory
		r.empty.kill()
	}
	if len(r.own) == 20 {
		slices.Sort(r.own)
		return r.own[10]
	}
	took := timed(r.empty)
	r.empty.kill()
	r.own = append(r.own, took)
	return took
}

// inTime looks at all of them.
func (r *returns) inTime() {
	t := r.s.t
	t.Helper()
	slices.Sort(r.took)
	slices.Sort(r.own)
	half, last := r.took[len(r.took)/2], r.took[len(r.took)-1]
	t.Logf("ready again: half within %v, all within %v; an empty server, where that was long: %v", half.Round(time.Millisecond), last.Round(time.Millisecond), r.own)
	if r.late > len(r.took)/2 || last > patience*5*time.Second {
		t.Errorf("ready again: half within %v, all within %v; %d of %d much later than an empty server", half, last, r.late, len(r.took))
	}
}

// TestRecordsCrashWithMuchStored kills a server that has stored PENSTOCK_RECORD_GB: 1 GB in
// CI, 10 by make crash. How much there is must not show in how long it takes to be ready.
func TestRecordsCrashWithMuchStored(t *testing.T) {
	total := int64(setting(t, "PENSTOCK_RECORD_GB", 1, 0)) * 1_000_000_000
	total = max(total, 100_000_000)
	s, l := withStream(t, t.TempDir(), 8)
	begin := time.Now()
	last := l.bulk(total)
	t.Logf("%d MB were put in %v", total/1e6, time.Since(begin).Round(time.Second))
	back := &returns{s: s}
	for range 5 {
		stop := l.writers(4)
		time.Sleep(300 * time.Millisecond) // the instant of the crash is the experiment
		s.kill()
		stop()
		back.up()
		l.has(last)
	}
	back.inTime()
}

// bulk puts records of 1 KiB until there are total bytes of them, and returns where the
// last of each producer is.
func (l *ledger) bulk(total int64) (last []placed) {
	const producers, records, size = 4, 500, 1024
	last = make([]placed, producers)
	var wg sync.WaitGroup
	for w := range last {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1024))
			batch := make([]dataRecord, records)
			for i := range batch {
				data := make([]byte, size)
				for k := range data {
					data[k] = byte(rng.Uint32())
				}
				batch[i] = dataRecord{PartitionKey: strconv.Itoa(rng.IntN(1000)), Data: data}
			}
			body, err := json.Marshal(object{"StreamName": l.stream, "Records": batch})
			if err != nil {
				l.s.t.Error(err)
				return
			}
			for put := int64(0); put < total/producers; put += records * size {
				var out struct {
					FailedRecordCount int
					Records           []placed
				}
				if err := l.s.kinesisBody(context.Background(), "PutRecords", body, &out); err != nil || out.FailedRecordCount > 0 {
					l.s.t.Errorf("after %d bytes: %d failed, %v", put, out.FailedRecordCount, err)
					return
				}
				last[w] = out.Records[records-1]
			}
		})
	}
	wg.Wait()
	return last
}

// placed is where a record is.
type placed struct {
	ShardID        string `json:"ShardId"`
	SequenceNumber string
}

// has checks that some records are there, and the first of their shards.
func (l *ledger) has(all []placed) {
	l.s.t.Helper()
	for _, p := range all {
		for _, in := range []object{
			{"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": p.SequenceNumber},
			{"ShardIteratorType": "TRIM_HORIZON"},
		} {
			in["StreamName"], in["ShardId"] = l.stream, p.ShardID
			var at struct{ ShardIterator string }
			l.s.kds("GetShardIterator", in, &at)
			var page struct{ Records []dataRecord }
			l.s.kds("GetRecords", object{"ShardIterator": at.ShardIterator, "Limit": 1}, &page)
			switch {
			case len(page.Records) != 1:
				l.s.t.Errorf("%v: %d records", in, len(page.Records))
			case in["StartingSequenceNumber"] != nil && page.Records[0].SequenceNumber != p.SequenceNumber:
				l.s.t.Errorf("%v: it is %s", in, page.Records[0].SequenceNumber)
			}
		}
	}
}

// upheaval prepares a change of the stream for the moment of a crash; mostly none.
func (l *ledger) upheaval(n, cycles int, rng *rand.Rand) func() error {
	switch {
	case n == cycles/2:
		return l.later("StartStreamEncryption", object{"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"})
	case n%8 == 5:
		return l.reshard(rng)
	}
	return func() error { return nil }
}

// later is a call that may not end well.
func (l *ledger) later(op string, in object) func() error {
	in["StreamName"] = l.stream
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return l.s.kinesis(ctx, op, in, nil)
	}
}

// reshard is a split or a merge.
func (l *ledger) reshard(rng *rand.Rand) func() error {
	open := slices.DeleteFunc(l.s.shards(l.stream), func(d dataShard) bool { return !d.open() })
	slices.SortFunc(open, func(a, b dataShard) int {
		if before(a.HashKeyRange.StartingHashKey, b.HashKeyRange.StartingHashKey) {
			return -1
		}
		return 1
	})
	i := rng.IntN(len(open) - 1)
	if len(open) > 4 {
		return l.later("MergeShards", object{"ShardToMerge": open[i].ShardID, "AdjacentShardToMerge": open[i+1].ShardID})
	}
	return l.later("SplitShard", object{"ShardToSplit": open[i].ShardID, "NewStartingHashKey": middle(&open[i])})
}
