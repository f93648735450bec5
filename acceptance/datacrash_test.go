package acceptance

import (
	"context"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"
)

// recordCrashes is how many times TestRecordsCrash kills the server:
// PENSTOCK_RECORD_CRASHES, else 200 in CI and a short form elsewhere.
func recordCrashes(t *testing.T) int {
	text := os.Getenv("PENSTOCK_RECORD_CRASHES")
	switch {
	case text != "":
	case os.Getenv("PENSTOCK_CI") == "1":
		return 200
	default:
		return 10
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// middle is the hash key at which a shard is halved.
func middle(d *dataShard) string {
	from, _ := new(big.Int).SetString(d.HashKeyRange.StartingHashKey, 10)
	to, _ := new(big.Int).SetString(d.HashKeyRange.EndingHashKey, 10)
	return from.Rsh(from.Add(from, to), 1).String()
}

// TestRecordsCrash kills the server under producers, again and again: what it had
// acknowledged is there, once, in order.
func TestRecordsCrash(t *testing.T) {
	s, l := withStream(t, t.TempDir(), 4)
	rng := rand.New(rand.NewPCG(4, 200))
	var ready []time.Duration
	cycles := recordCrashes(t)
	for n := range cycles {
		stop := l.writers(6)
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond) // the instant of the crash is the experiment
		upheaval, ended := l.upheaval(n, cycles, rng), make(chan error, 1)
		go func() { ended <- upheaval() }()
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
		s.kill()
		<-ended // it succeeded, or the crash broke it: both are fair
		stop()
		if rng.IntN(8) == 0 { // and once more on the way up
			s.launch()
			time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
			s.kill()
		}
		begin := time.Now()
		s.up()
		ready = append(ready, time.Since(begin))
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
	readyInTime(t, ready)
}

// readyInTime asks that a killed server is ready again within a second. What the machine
// does beside may delay some.
func readyInTime(t *testing.T, took []time.Duration) {
	t.Helper()
	slices.Sort(took)
	half, last := took[len(took)/2], took[len(took)-1]
	t.Logf("ready again: half within %v, all within %v", half.Round(time.Millisecond), last.Round(time.Millisecond))
	if half > time.Second || last > 5*time.Second {
		t.Errorf("ready again: half within %v, all within %v", half, last)
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
