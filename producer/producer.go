// Package producer is a client library for programs that put many small records into a
// data stream, of Penstock or of Amazon Kinesis: it speaks the AWS wire.
//
// It gathers records for a moment (RecordMaxBufferedTime of Amazon's producer library),
// packs small ones into aggregates (package wire/kpl), sends full requests, and tries
// again what was throttled or lost, with back-off, until a record's time is up. Records
// of one key arrive in the order in which they were put; a lost answer may put one
// twice. Memory is bounded: Put waits while too much is unsent.
//
//	p, err := producer.New(producer.Config{Stream: "sensors", Endpoint: "http://localhost:8080", Credentials: producer.Static(id, secret, "")})
//	go p.Run(ctx)
//	err = p.Put(ctx, producer.Record{Key: "sensor-7", Data: line}, nil)
//	err = p.Close(ctx) // sends what is left
package producer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/semaphore"
)

// Limits of the service.
const (
	RequestRecordsMax = 500      // entries of PutRecords
	RequestBytesMax   = 10 << 20 // data and keys of PutRecords
	RecordBytesMax    = 10 << 20 // data and key, where the stream allows it
	KeyMax            = 256      // characters of a partition key
)

// Defaults of Config.
const (
	bufferedDefault   = 100 * time.Millisecond
	lifeDefault       = 30 * time.Second
	requestDefault    = 5 << 20 // what servers of before 2025 take, too
	recordDefault     = 1 << 20
	aggregateDefault  = 256 << 10
	pendingDefault    = 64 << 20
	inFlightDefault   = 8
	backoffDefault    = 50 * time.Millisecond
	backoffMaxDefault = 5 * time.Second
	timeoutDefault    = 30 * time.Second
)

// ErrClosed is the answer to a Put after Close, and the fate of records that Close or
// the end of Run left behind.
var ErrClosed = errors.New("the producer is closed")

// ErrExpired is in the chain of the error of a record whose time was up.
var ErrExpired = errors.New("the record's time is up")

// Config says where records go and how. Stream (or ARN) and Credentials are needed; the
// zero value of anything else is the default named.
type Config struct {
	Stream string // the data stream's name
	ARN    string // instead of the name
	// Endpoint is the server's URL; empty: Amazon's of Region.
	Endpoint    string
	Region      string // us-east-1
	Credentials Credentials
	CBOR        bool // speak CBOR, not JSON: a third fewer bytes

	// BufferedTime is how long a record may wait for company: 100 ms; negative: not at all.
	BufferedTime time.Duration
	// Life is how long a record is tried before it is given up with ErrExpired: 30 s;
	// negative: for ever.
	Life time.Duration
	// AggregateBytes is the size at which an aggregate is sent: 256 KiB, at most
	// RecordBytes; negative: records are not aggregated.
	AggregateBytes int
	RecordBytes    int   // the largest record, data and key: 1 MiB, as streams have it by default
	RequestBytes   int   // of one request: 5 MiB, at most RequestBytesMax
	RequestRecords int   // of one request: 500
	PendingBytes   int64 // unsent records in memory: 64 MiB; beyond it Put waits
	InFlight       int   // requests at once: 8
	// Unordered lets records of one key overtake each other when some are tried again;
	// requests are fuller then where nothing is aggregated.
	Unordered bool

	Backoff, BackoffMax time.Duration // before another try: 50 ms doubling to 5 s, less up to half by chance
	Timeout             time.Duration // of one request: 30 s

	HTTP    *http.Client   // a client with keep-alive for InFlight connections
	Chance  func() float64 // in [0,1), for the back-off: math/rand's
	Observe func(Request)  // hears of every request, many at once; nil: nobody
	Logger  *slog.Logger   // slog.Default
}

// Record is what a program puts.
type Record struct {
	Key  string // partition key, 1 to 256 characters
	Hash string // explicit hash key, decimal; empty: the MD5 of Key
	Data []byte // kept until the record's fate is known; not to be modified until then
}

// Result is a record's fate.
type Result struct {
	Shard, Sequence string // empty when Err is not nil
	Sub             int    // place in its aggregate, from 0; -1: it was put alone
	Attempts        int    // requests that carried it
	Err             error
}

// Producer puts records into one data stream. All methods may be called at once.
type Producer struct {
	c     Config
	wire  *wire
	room  *semaphore.Weighted
	wake  chan struct{}
	ended chan struct{} // Run has returned

	mu       sync.Mutex // guards what follows; nothing of the caller's is called under it
	due      queue      // groups with records that may be sent, by time
	groups   map[unit]*group
	shards   *shardMap // nil: not known yet, or not needed
	waiting  []*item   // put before the shards were known, or set aside while they change
	limbo    []landed  // stored in a shard that was not foreseen
	stale    bool      // the shards have changed: send nothing until they are read again
	blind    bool      // the shards cannot be read: aggregate by key alone
	mapTries int
	mapHold  time.Time
	warned   time.Time // when it was last logged that records wait
	fates    []fate    // to be told
	stats    Stats
	inFlight int
	flushing int
	serial   uint64
	epoch    uint64
	open     map[uint64]int // unfinished records by epoch
	flushes  []flush
	closed   bool
	running  bool
	cancel   context.CancelFunc // ends Run
}

// item is a record on its way.
type item struct {
	Record
	hash     hash
	serial   uint64
	epoch    uint64
	put      time.Time
	attempts int
	alone    bool // to be sent in a request of its own, to find the one that is refused
	cause    error
	done     func(Result)
}

func (it *item) size() int { return len(it.Data) + len(it.Key) }

// New checks c and returns a Producer that sends once Run runs.
func New(c Config) (*Producer, error) {
	if c.Stream == "" && c.ARN == "" {
		return nil, errors.New("producer: Stream is empty")
	}
	if c.Credentials == nil {
		return nil, errors.New("producer: Credentials is nil")
	}
	c.setDefaults()
	switch {
	case c.RecordBytes > RecordBytesMax:
		return nil, fmt.Errorf("producer: RecordBytes %d: more than %d", c.RecordBytes, RecordBytesMax)
	case c.RequestBytes > RequestBytesMax || c.RequestBytes < c.RecordBytes:
		return nil, fmt.Errorf("producer: RequestBytes %d: not from RecordBytes to %d", c.RequestBytes, RequestBytesMax)
	case c.RequestRecords < 1 || c.RequestRecords > RequestRecordsMax:
		return nil, fmt.Errorf("producer: RequestRecords %d: not 1 to %d", c.RequestRecords, RequestRecordsMax)
	case c.AggregateBytes > c.RecordBytes:
		return nil, fmt.Errorf("producer: AggregateBytes %d: more than RecordBytes", c.AggregateBytes)
	}
	w, err := newWire(c)
	if err != nil {
		return nil, err
	}
	return &Producer{
		c: c, wire: w, room: semaphore.NewWeighted(c.PendingBytes), wake: make(chan struct{}, 1), ended: make(chan struct{}),
		groups: map[unit]*group{}, open: map[uint64]int{}, stale: c.AggregateBytes > 0,
	}, nil
}

func (c *Config) setDefaults() {
	c.Region = cmp.Or(c.Region, "us-east-1")
	c.Endpoint = cmp.Or(c.Endpoint, "https://kinesis."+c.Region+".amazonaws.com")
	c.BufferedTime = cmp.Or(c.BufferedTime, bufferedDefault)
	c.Life = cmp.Or(c.Life, lifeDefault)
	c.RecordBytes = cmp.Or(c.RecordBytes, recordDefault)
	c.RequestBytes = cmp.Or(c.RequestBytes, max(requestDefault, c.RecordBytes))
	c.RequestRecords = cmp.Or(c.RequestRecords, RequestRecordsMax)
	c.AggregateBytes = cmp.Or(c.AggregateBytes, min(aggregateDefault, c.RecordBytes))
	c.PendingBytes = cmp.Or(c.PendingBytes, pendingDefault)
	c.InFlight = cmp.Or(c.InFlight, inFlightDefault)
	c.Backoff = cmp.Or(c.Backoff, backoffDefault)
	c.BackoffMax = cmp.Or(c.BackoffMax, backoffMaxDefault)
	c.Timeout = cmp.Or(c.Timeout, timeoutDefault)
	if c.Chance == nil {
		c.Chance = rand.Float64
	}
	c.Logger = cmp.Or(c.Logger, slog.Default())
	if c.HTTP == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = c.InFlight
		c.HTTP = &http.Client{Transport: t}
	}
}

// Put takes r and returns; done, which may be nil, hears its fate once, records of one
// key in order; it is called on the goroutine of Run and must not wait for anything. Put
// itself waits only while PendingBytes are unsent. A record that no stream would take, and ErrClosed, are
// answered at once, without done.
func (p *Producer) Put(ctx context.Context, r Record, done func(Result)) error {
	h, err := p.check(r)
	if err != nil {
		return err
	}
	weight := p.weight(r)
	if err := p.room.Acquire(ctx, weight); err != nil {
		return fmt.Errorf("put record: %w", err)
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.room.Release(weight)
		return ErrClosed
	}
	p.serial++
	it := &item{Record: r, hash: h, serial: p.serial, epoch: p.epoch, put: time.Now(), done: done}
	p.open[it.epoch]++
	p.stats.Pending++
	p.stats.PendingBytes += int64(it.size())
	early := p.add(it)
	p.mu.Unlock()
	if early {
		p.nudge()
	}
	return nil
}

// PutWait is Put that waits for the record's fate. Ending ctx does not take it back.
func (p *Producer) PutWait(ctx context.Context, r Record) (Result, error) {
	fate := make(chan Result, 1)
	if err := p.Put(ctx, r, func(res Result) { fate <- res }); err != nil {
		return Result{}, err
	}
	select {
	case res := <-fate:
		return res, res.Err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// overhead is what a waiting record costs beside its bytes.
const overhead = 256

func (p *Producer) weight(r Record) int64 {
	return min(int64(len(r.Data)+len(r.Key)+len(r.Hash)+overhead), p.c.PendingBytes)
}

func (p *Producer) check(r Record) (hash, error) {
	if n := utf8.RuneCountInString(r.Key); n < 1 || n > KeyMax || !utf8.ValidString(r.Key) {
		return hash{}, fmt.Errorf("put record: a partition key of %d characters: not 1 to %d of UTF-8", n, KeyMax)
	}
	if n := len(r.Data) + len(r.Key); n > p.c.RecordBytes {
		return hash{}, fmt.Errorf("put record %q: %d bytes with its key, more than %d", r.Key, n, p.c.RecordBytes)
	}
	if r.Hash == "" {
		return hashOf(r.Key), nil
	}
	return parseHash(r.Hash)
}
