package producer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"go.uber.org/goleak"

	"penstock/wire/kpl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stored is a record as a reader of the stream meets it, taken apart.
type stored struct {
	shard, key, data string
	sub              int
}

// fake is a server of one data stream, with faults. It is a transport, too, so that it
// can be talked to without sockets.
type fake struct {
	mu       sync.Mutex
	latency  time.Duration
	shards   []shard // open ones
	old      []shard // what ListShards says once more, when not nil
	next     int
	log      []stored
	plain    int // records on the wire
	requests []int
	biggest  int
	most     int
	sequence int
	// Faults; nil: none. before: the request fails so; lose: it is done, the answer lost;
	// refuse: a record's error code.
	before func(operation string, n int) error
	lose   func(n int) bool
	refuse func(n int, s shard, r wireRecord) string
	check  func(r *http.Request, body []byte) error
	n      int
}

type wireRecord struct {
	Data            []byte
	PartitionKey    string
	ExplicitHashKey string
}

func newFake(shards int) *fake {
	f := &fake{latency: time.Millisecond}
	width := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(int64(shards)))
	for i := range shards {
		from := new(big.Int).Mul(width, big.NewInt(int64(i)))
		to := new(big.Int).Sub(new(big.Int).Add(from, width), big.NewInt(1))
		if i == shards-1 {
			to = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))
		}
		s := shard{id: f.id()}
		from.FillBytes(s.from[:])
		to.FillBytes(s.to[:])
		f.shards = append(f.shards, s)
	}
	return f
}

func (f *fake) id() string {
	f.next++
	return fmt.Sprintf("shardId-%012d", f.next-1)
}

// split halves shard i; the map that producers have is then wrong.
func (f *fake) split(i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.shards[i]
	lo, hi := new(big.Int).SetBytes(s.from[:]), new(big.Int).SetBytes(s.to[:])
	mid := new(big.Int).Rsh(lo.Add(lo, hi), 1)
	a, b := shard{id: f.id(), from: s.from}, shard{id: f.id(), to: s.to}
	mid.FillBytes(a.to[:])
	mid.Add(mid, big.NewInt(1)).FillBytes(b.from[:])
	f.shards = append(append(append([]shard{}, f.shards[:i]...), a, b), f.shards[i+1:]...)
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(f.latency):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w := httptest.NewRecorder()
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if err := f.serve(w, r, body); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = f.serve(w, r, body)
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
}

var errLost = errors.New("connection reset by peer")

func (f *fake) serve(w http.ResponseWriter, r *http.Request, body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	mime := r.Header.Get("Content-Type")
	marshal, unmarshal := json.Marshal, json.Unmarshal
	if mime == "application/x-amz-cbor-1.1" {
		marshal, unmarshal = cbor.Marshal, cbor.Unmarshal
	}
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "Kinesis_20131202.")
	answer := func(v any, err error) error {
		status := http.StatusOK
		if err != nil {
			var s *ServiceError
			if !errors.As(err, &s) {
				return err
			}
			status, v = s.Status, map[string]string{"__type": s.Code, "message": s.Message}
		}
		text, err := marshal(v)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", mime)
		w.WriteHeader(status)
		_, err = w.Write(text)
		return err
	}
	if f.check != nil {
		if err := f.check(r, body); err != nil {
			return answer(nil, err)
		}
	}
	f.n++
	if f.before != nil {
		if err := f.before(operation, f.n); err != nil {
			return answer(nil, err)
		}
	}
	if operation == "ListShards" {
		return answer(f.list(), nil)
	}
	var in struct{ Records []wireRecord }
	if err := unmarshal(body, &in); err != nil || operation != "PutRecords" {
		return answer(nil, &ServiceError{Code: "SerializationException", Status: 400})
	}
	out := f.put(in.Records)
	if f.lose != nil && f.lose(f.n) {
		return errLost
	}
	return answer(map[string]any{"FailedRecordCount": 0, "Records": out}, nil)
}

func (f *fake) list() any {
	type keys struct{ StartingHashKey, EndingHashKey string }
	type row struct {
		ShardId      string
		HashKeyRange keys
	}
	var rows []row
	shards := f.shards
	if f.old != nil {
		shards, f.old = f.old, nil
	}
	for _, s := range shards {
		rows = append(rows, row{s.id, keys{new(big.Int).SetBytes(s.from[:]).String(), new(big.Int).SetBytes(s.to[:]).String()}})
	}
	return map[string]any{"Shards": rows}
}

func (f *fake) put(records []wireRecord) []map[string]string {
	var out []map[string]string
	size := 0
	for _, r := range records {
		size += len(r.Data) + len(r.PartitionKey)
		f.most = max(f.most, len(r.Data)+len(r.PartitionKey))
		h := hashOf(r.PartitionKey)
		if r.ExplicitHashKey != "" {
			h, _ = parseHash(r.ExplicitHashKey)
		}
		at := (&shardMap{f.shards}).of(h)
		if f.refuse != nil {
			if code := f.refuse(f.n, at, r); code != "" {
				out = append(out, map[string]string{"ErrorCode": code, "ErrorMessage": "Rate exceeded for " + at.id})
				continue
			}
		}
		f.sequence++
		f.plain++
		out = append(out, map[string]string{"ShardId": at.id, "SequenceNumber": fmt.Sprint(f.sequence)})
		var read kpl.Reader
		if !read.Reset(r.Data) {
			f.log = append(f.log, stored{at.id, r.PartitionKey, string(r.Data), -1})
		}
		for i, rec := range read.All() {
			own := hashOf(rec.Key)
			if rec.Hash != "" {
				own, _ = parseHash(rec.Hash)
			}
			if at.holds(own) { // as Amazon's client library reads
				f.log = append(f.log, stored{at.id, rec.Key, string(rec.Data), i})
			}
		}
	}
	f.requests = append(f.requests, len(records))
	f.biggest = max(f.biggest, size)
	return out
}

// start returns a producer that runs, and closes it at the end of the test.
func start(t *testing.T, f *fake, c Config) *Producer {
	t.Helper()
	c.Stream, c.Endpoint, c.Credentials = "sensors", "http://fake", Static("AKID", "secret", "")
	if c.HTTP == nil {
		c.HTTP = &http.Client{Transport: f}
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = p.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return p
}

func (f *fake) all() []stored {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]stored{}, f.log...)
}

// keepsOrder fails t where records of a key, whose data are numbers, ran over each
// other: doubles are fine, but the first and the last of each must be in order.
func keepsOrder(t *testing.T, log []stored, keys, each int) {
	t.Helper()
	for k := range keys {
		first, last := map[int]int{}, map[int]int{}
		for i, s := range log {
			if s.key != fmt.Sprint("key-", k) {
				continue
			}
			var n int
			if _, err := fmt.Sscan(s.data, &n); err != nil {
				t.Fatal(err)
			}
			if _, ok := first[n]; !ok {
				first[n] = i
			}
			last[n] = i
		}
		for n := range each {
			if _, ok := first[n]; !ok {
				t.Fatalf("key %d: record %d is lost", k, n)
			}
			if n > 0 && (first[n] < first[n-1] || last[n] < last[n-1]) {
				t.Fatalf("key %d: record %d ran over %d", k, n, n-1)
			}
		}
	}
}
