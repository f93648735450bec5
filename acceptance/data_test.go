package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// kinesisError is what the AWS door answers when it refuses.
type kinesisError struct {
	Status  int
	Type    string `json:"__type"`
	Message string `json:"message"`
}

// Error names the exception.
func (e *kinesisError) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Type, e.Message) }

// dataClient keeps a connection for each writer.
var dataClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 10 * time.Second}}

// kinesis calls an operation as an AWS client does, signed, once.
func (s *server) kinesis(ctx context.Context, op string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return s.kinesisBody(ctx, op, body, out)
}

// kinesisBody is kinesis with a body that was made before.
func (s *server) kinesisBody(ctx context.Context, op string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.http+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	s.signer.Sign(req, body, time.Now())
	res, err := dataClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err // an answer that was cut is none
	}
	if res.StatusCode != http.StatusOK {
		e := &kinesisError{Status: res.StatusCode}
		if err := json.Unmarshal(answer, e); err != nil {
			e.Message = string(answer)
		}
		return e
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// kds is kinesis for what must not fail.
func (s *server) kds(op string, in, out any) {
	s.t.Helper()
	if err := s.kinesis(context.Background(), op, in, out); err != nil {
		s.t.Fatalf("%s: %v", op, err)
	}
}

type object = map[string]any

// dataShard is a shard as ListShards tells it.
type dataShard struct {
	ShardID             string `json:"ShardId"`
	HashKeyRange        struct{ StartingHashKey, EndingHashKey string }
	SequenceNumberRange struct{ StartingSequenceNumber, EndingSequenceNumber string }
}

func (d *dataShard) open() bool { return d.SequenceNumberRange.EndingSequenceNumber == "" }

// shards lists the shards of a data stream, parents before their children.
func (s *server) shards(stream string) []dataShard {
	s.t.Helper()
	var all []dataShard
	in := object{"StreamName": stream}
	for {
		var page struct {
			Shards    []dataShard
			NextToken string
		}
		s.kds("ListShards", in, &page)
		all = append(all, page.Shards...)
		if page.NextToken == "" {
			return all
		}
		in = object{"NextToken": page.NextToken}
	}
}

// active waits until a data stream is.
func (s *server) active(stream string) {
	s.t.Helper()
	s.until(stream+" is active", 20*time.Second, func() error {
		var d struct{ StreamDescriptionSummary struct{ StreamStatus string } }
		if err := s.kinesis(context.Background(), "DescribeStreamSummary", object{"StreamName": stream}, &d); err != nil {
			return err
		}
		if got := d.StreamDescriptionSummary.StreamStatus; got != "ACTIVE" {
			return errors.New(got)
		}
		return nil
	})
}

// ledger knows what a data stream has promised, and compares it with what is read.
type ledger struct {
	s      *server
	stream string

	mu     sync.Mutex
	acked  map[string]acked  // by sequence number: acknowledged and not read yet
	newest map[string]uint64 // by partition key: the number of the newest record that was read
	read   map[string]*readShard
	count  int // acknowledged in all
}

// acked is a record that the server said is stored.
type acked struct {
	shard string
	print uint64
}

// readShard is what was read of a shard.
type readShard struct {
	last   string // sequence number
	prints []uint64
	ended  bool
}

func newLedger(s *server, stream string) *ledger {
	return &ledger{s: s, stream: stream, acked: map[string]acked{}, newest: map[string]uint64{}, read: map[string]*readShard{}}
}

// dataRecord is a record on the wire.
type dataRecord struct {
	PartitionKey   string
	Data           []byte
	SequenceNumber string `json:",omitempty"`
}

// print is a fingerprint of what a record says.
func (r *dataRecord) print() uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, r.PartitionKey) // a hash takes everything
	_, _ = h.Write(r.Data)
	return h.Sum64()
}

// newRecord makes the record number n of a key: the number, what does or does not
// compress, and a checksum over all.
func newRecord(key string, n uint64, rng *rand.Rand) dataRecord {
	b := fmt.Appendf(nil, "%s %d ", key, n)
	for size := rng.IntN(2000); len(b) < size; {
		if n%2 == 0 {
			b = fmt.Appendf(b, `{"temperature": %d.5, "state": "running"}`, rng.IntN(90))
		} else {
			b = append(b, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()))
		}
	}
	h := fnv.New64a()
	_, _ = h.Write(b)
	return dataRecord{PartitionKey: key, Data: h.Sum(b)}
}

// number checks a record that newRecord made and returns its number.
func (r *dataRecord) number() (uint64, error) {
	if len(r.Data) < 8 {
		return 0, errors.New("it is too short")
	}
	b := r.Data[:len(r.Data)-8]
	h := fnv.New64a()
	_, _ = h.Write(b)
	if !bytes.Equal(h.Sum(nil), r.Data[len(b):]) {
		return 0, errors.New("its checksum is wrong")
	}
	field := strings.SplitN(string(b[:min(len(b), 60)]), " ", 3)
	if len(field) != 3 || field[0] != r.PartitionKey {
		return 0, fmt.Errorf("it is another key's: %q", field)
	}
	return strconv.ParseUint(field[1], 10, 64)
}

// writers put records into the stream until stop is called, which returns when the last
// has given up. An answer that does not come is no promise; the same record is never put twice, so
// that one which is read twice was stored twice.
func (l *ledger) writers(n int) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for w := range n {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(rand.Uint64(), uint64(w)))
			for ctx.Err() == nil {
				if err := l.put(ctx, w, rng); err != nil {
					select { // the server is down: it is not to be hammered
					case <-time.After(10 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// numbers gives every record its own; they rise in each key because a key has one writer.
var numbers atomic.Uint64

// put is one request of writer w, which has three keys of its own.
func (l *ledger) put(ctx context.Context, w int, rng *rand.Rand) error {
	batch := make([]dataRecord, 1)
	if rng.IntN(3) > 0 {
		batch = make([]dataRecord, 1+rng.IntN(60))
	}
	for i := range batch {
		batch[i] = newRecord(fmt.Sprintf("w%d-%d", w, rng.IntN(3)), numbers.Add(1), rng)
	}
	return l.send(ctx, batch)
}

// send puts records and remembers which the server acknowledged.
func (l *ledger) send(ctx context.Context, batch []dataRecord) error {
	type answer struct{ ShardID, SequenceNumber, ErrorCode string }
	var out struct{ Records []answer }
	if len(batch) == 1 {
		out.Records = make([]answer, 1)
		in := object{"StreamName": l.stream, "PartitionKey": batch[0].PartitionKey, "Data": batch[0].Data}
		if err := l.s.kinesis(ctx, "PutRecord", in, &out.Records[0]); err != nil {
			return err
		}
	} else if err := l.s.kinesis(ctx, "PutRecords", object{"StreamName": l.stream, "Records": batch}, &out); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(out.Records) != len(batch) {
		l.s.t.Errorf("%d answers for %d records", len(out.Records), len(batch))
		return nil
	}
	for i, a := range out.Records {
		if a.ErrorCode != "" {
			continue
		}
		if _, twice := l.acked[a.SequenceNumber]; twice || a.SequenceNumber == "" {
			l.s.t.Errorf("sequence number %q was given twice", a.SequenceNumber)
		}
		l.acked[a.SequenceNumber] = acked{a.ShardID, batch[i].print()}
		l.count++
	}
	return nil
}

// catchUp reads what came since the last time and checks that every promise was kept:
// each acknowledged record is there, whole, under its number, once, in order of its key.
func (l *ledger) catchUp(when string) {
	l.s.t.Helper()
	for _, shard := range l.s.shards(l.stream) {
		r := l.read[shard.ShardID]
		if r == nil {
			r = &readShard{}
			l.read[shard.ShardID] = r
		}
		if !r.ended {
			r.ended = l.s.drain(l.stream, shard.ShardID, r.last, func(rec *dataRecord) {
				l.check(when, shard.ShardID, r, rec)
			})
		}
		if !r.ended != shard.open() {
			l.s.t.Errorf("%s: %s is open: %v, its end was read: %v", when, shard.ShardID, shard.open(), r.ended)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := 0
	for seq, a := range l.acked {
		if lost++; lost <= 5 {
			l.s.t.Errorf("%s: record %s of %s was acknowledged and is not there", when, seq, a.shard)
		}
	}
	if lost > 0 {
		l.s.t.Errorf("%s: %d acknowledged records are lost", when, lost)
	}
	clear(l.acked)
}

// check takes the next record of a shard.
func (l *ledger) check(when, shard string, r *readShard, rec *dataRecord) {
	l.s.t.Helper()
	n, err := rec.number()
	if err != nil {
		l.s.t.Errorf("%s: record %s of %s: %v", when, rec.SequenceNumber, shard, err)
		return
	}
	if !before(r.last, rec.SequenceNumber) {
		l.s.t.Errorf("%s: %s comes after %s in %s", when, rec.SequenceNumber, r.last, shard)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n <= l.newest[rec.PartitionKey] {
		l.s.t.Errorf("%s: key %s: %d comes after %d", when, rec.PartitionKey, n, l.newest[rec.PartitionKey])
	}
	if a, ok := l.acked[rec.SequenceNumber]; ok && (a.shard != shard || a.print != rec.print()) {
		l.s.t.Errorf("%s: %s of %s is another record than %s was promised to", when, rec.SequenceNumber, shard, a.shard)
	}
	delete(l.acked, rec.SequenceNumber)
	r.last, l.newest[rec.PartitionKey] = rec.SequenceNumber, n
	r.prints = append(r.prints, rec.print())
}

// before reports whether sequence number a is less than b; none is less than all.
func before(a, b string) bool { return len(a) < len(b) || len(a) == len(b) && a < b }

// reread reads everything from the beginning and checks that it is what was read before.
func (l *ledger) reread(when string) {
	l.s.t.Helper()
	total := 0
	for id, r := range l.read {
		var again []uint64
		l.s.drain(l.stream, id, "", func(rec *dataRecord) { again = append(again, rec.print()) })
		if !slices.Equal(again, r.prints) {
			l.s.t.Errorf("%s: %s had %d records, %d or others are read again", when, id, len(r.prints), len(again))
		}
		total += len(again)
	}
	l.s.t.Logf("%s: %d records acknowledged, %d there, in %d shards", when, l.count, total, len(l.read))
}

// drain reads a shard behind a sequence number, from the beginning where it is "", up to
// now. It reports whether the shard ended.
func (s *server) drain(stream, shard, after string, each func(*dataRecord)) (ended bool) {
	s.t.Helper()
	in := object{"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
	if after != "" {
		in["ShardIteratorType"], in["StartingSequenceNumber"] = "AFTER_SEQUENCE_NUMBER", after
	}
	var at struct{ ShardIterator string }
	s.kds("GetShardIterator", in, &at)
	for n := 0; ; {
		var page struct {
			Records            []dataRecord
			NextShardIterator  string
			MillisBehindLatest int64
		}
		if err := s.kinesis(context.Background(), "GetRecords", object{"ShardIterator": at.ShardIterator, "Limit": 10_000}, &page); err != nil {
			s.t.Fatalf("GetRecords of %s after %d records behind %q: %v", shard, n, after, err)
		}
		for i := range page.Records {
			each(&page.Records[i])
		}
		n += len(page.Records)
		if page.NextShardIterator == "" {
			return true
		}
		if len(page.Records) == 0 && page.MillisBehindLatest == 0 {
			return false
		}
		at.ShardIterator = page.NextShardIterator
	}
}

// withStream makes a data stream on a server that has no limits of throughput.
func withStream(t testing.TB, dir string, shards int) (*server, *ledger) {
	t.Helper()
	s := startWith(t, &server{dir: dir, args: []string{"--shard-limits", "off"}})
	s.kds("CreateStream", object{"StreamName": "crash", "ShardCount": shards}, nil)
	s.active("crash")
	return s, newLedger(s, "crash")
}
