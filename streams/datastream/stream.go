package datastream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"penstock/internal/fault"
	"penstock/records"
)

// Stream is one data stream, live: Info changes under it. All methods may be called at
// once. It stays usable, and answers fault.NotFound, after the stream was deleted.
type Stream struct {
	c                                   *Catalogue
	id, account, region, name, arn, sid string

	info    atomic.Pointer[Info]
	pending atomic.Pointer[task]
	records atomic.Pointer[records.Log]  // nil: not ACTIVE yet, or being deleted
	readers atomic.Pointer[[]Consumer]   // by name
	shared  atomic.Pointer[parsedPolicy] // see Shared
	meter   meter
	gate    records.Gate  // made once
	gone    chan struct{} // closed when the stream begins to be deleted

	mu      sync.Mutex    // one change at a time; not held while records work
	settled chan struct{} // closed when nothing is pending; under mu
	// readersChanged is closed with each change of readers, and made anew; under mu
	readersChanged chan struct{}
	settling       bool // a goroutine works on pending; under mu
	goneOnce       sync.Once
	sealedKey      []byte           // under mu
	lastMade       map[string]int64 // seconds in the ARN of the last consumer of a name; under mu
	today          today            // under mu
	peaks          peaks            // of an on-demand stream; under mu
	busy           int              // shards that its traffic asked for at the last look, 0: never looked at; under mu
}

func (c *Catalogue) stream(i *Info, t *task) *Stream {
	s := &Stream{c: c, id: i.ID, account: i.Account, region: i.Region, name: i.Name, arn: i.ARN(), sid: i.StreamID,
		gone: make(chan struct{}), settled: make(chan struct{}), readersChanged: make(chan struct{}), lastMade: map[string]int64{}}
	s.info.Store(i)
	s.pending.Store(t)
	s.readers.Store(new([]Consumer))
	s.gate = s.admit
	if t == nil {
		close(s.settled)
	}
	return s
}

func (s *Stream) key() name { return name{s.account, s.region, s.name} }

// Info is what the stream is now; it is not to be modified.
func (s *Stream) Info() *Info { return s.info.Load() }

// ID is Info.ID.
func (s *Stream) ID() string { return s.id }

// Name is Info.Name.
func (s *Stream) Name() string { return s.name }

// Account is Info.Account.
func (s *Stream) Account() string { return s.account }

// Region is Info.Region.
func (s *Stream) Region() string { return s.region }

// ARN is Info.ARN, made once.
func (s *Stream) ARN() string { return s.arn }

// Gone is closed when the stream begins to be deleted.
func (s *Stream) Gone() <-chan struct{} { return s.gone }

// Log is the stream's records, for whom Put, Read and so on are not enough. fault.NotFound:
// the stream is CREATING or DELETING.
func (s *Stream) Log() (*records.Log, error) {
	if log := s.records.Load(); log != nil {
		return log, nil
	}
	return nil, fault.New(fault.NotFound, "use data stream", s.name, "it is "+string(s.Info().Status))
}

// Put stores records and returns when they are durable, in request order within each
// shard. out is as long as in; an element's Err is fault.Throttled where a shard is over
// its limits, and the others are stored. fault.Invalid with RecordTooBig: nothing is stored.
func (s *Stream) Put(ctx context.Context, in []records.Input, out []records.Placed) error {
	log := s.records.Load()
	if log == nil {
		_, err := s.Log()
		return err
	}
	info := s.info.Load()
	for i := range in {
		if n := len(in[i].Data) + len(in[i].Key); n > info.MaxRecord {
			return refuse("put into data stream", s.name, &Refusal{Reason: RecordTooBig, Count: n, Limit: info.MaxRecord, More: i})
		}
	}
	var gate records.Gate
	if info.Mode == Provisioned && !s.c.c.NoLimits {
		gate = s.gate
	}
	begin := s.c.now()
	if err := log.Put(ctx, in, out, gate); err != nil {
		return err
	}
	s.meter.rates.puts.observe(s.c.now() - begin)
	s.meter.put(in, out)
	return nil
}

// Shards is all shards still retained, by index: an immutable snapshot. None while
// CREATING and DELETING.
func (s *Stream) Shards() []records.Shard {
	if log := s.records.Load(); log != nil {
		return log.Shards()
	}
	return nil
}

// Horizon is the time that records must have arrived at, or later, to be shown now; the
// zero time while CREATING and DELETING.
func (s *Stream) Horizon() time.Time {
	if log := s.records.Load(); log != nil {
		return log.Horizon()
	}
	return time.Time{}
}

// OpenShards counts the shards that take records.
func (s *Stream) OpenShards() int { return len(open(s.Shards())) }

// At finds a position in a shard.
func (s *Stream) At(ctx context.Context, shard records.ShardID, from records.From) (records.Position, error) {
	log, err := s.Log()
	if err != nil {
		return records.Position{}, err
	}
	return log.At(ctx, shard, from)
}

// Reached reports whether a record of the shard arrived at t or later.
func (s *Stream) Reached(shard records.ShardID, t time.Time) bool {
	log := s.records.Load()
	return log != nil && log.Reached(shard, t)
}

// Read fills page from p on, without limits of throughput: for the tail of our own doors,
// and for registered consumers, which have their own.
func (s *Stream) Read(ctx context.Context, shard records.ShardID, p records.Position, limit, maxBytes int, page *records.Page) error {
	log, err := s.Log()
	if err != nil {
		return err
	}
	if err := log.Read(ctx, shard, p, limit, maxBytes, page); err != nil {
		return err
	}
	s.meter.got(shard, page)
	return nil
}

// ReadShared is Read with the limits that all readers without a registration share on a
// provisioned stream: 5 reads and 2 MiB a second of each shard. fault.Throttled: over them.
func (s *Stream) ReadShared(ctx context.Context, shard records.ShardID, p records.Position, limit, maxBytes int, page *records.Page) error {
	limited := s.info.Load().Mode == Provisioned && !s.c.c.NoLimits
	if limited && !s.meter.at(shard).mayRead(s.c.now()) {
		return fault.New(fault.Throttled, "read data stream", s.name, "over 5 reads or 2 MiB a second of "+shard.String())
	}
	if err := s.Read(ctx, shard, p, limit, maxBytes, page); err != nil {
		return err
	}
	if limited {
		s.meter.at(shard).charge(s.c.now(), pageBytes(page))
	}
	return nil
}

// Wait returns when a record after p exists in the shard or the shard has ended.
func (s *Stream) Wait(ctx context.Context, shard records.ShardID, p records.Position) error {
	log, err := s.Log()
	if err != nil {
		return err
	}
	return log.Wait(ctx, shard, p)
}

// Find returns a shard of the snapshot by its id.
func Find(shards []records.Shard, id records.ShardID) (records.Shard, bool) {
	// The snapshot is sorted and, until the oldest expire, without holes.
	lo, hi := 0, len(shards)
	for lo < hi {
		mid := (lo + hi) / 2
		if shards[mid].ID < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(shards) && shards[lo].ID == id {
		return shards[lo], true
	}
	return records.Shard{}, false
}

func open(shards []records.Shard) []records.Shard {
	var out []records.Shard
	for _, s := range shards {
		if s.Open() {
			out = append(out, s)
		}
	}
	return out
}

func pageBytes(p *records.Page) int {
	n := 0
	for i := range p.Records {
		n += len(p.Records[i].Data) + len(p.Records[i].Key)
	}
	return n
}

// now is the limits' clock: it does not step when an operator sets the time.
func (c *Catalogue) now() time.Duration { return c.c.Clock.Now().Sub(c.start) }
