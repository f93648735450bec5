package datastream

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/records"
)

// Defaults of Config.
const (
	// DefaultShardLimit is the service's own quota in its large regions.
	DefaultShardLimit = 20_000
	// DefaultOnDemandLimit bounds on-demand streams, which doors may make on first use.
	DefaultOnDemandLimit = 5_000
	// DefaultScaleEvery is how often on-demand streams are looked at.
	DefaultScaleEvery = 10 * time.Second
)

// DB is the part of the metadata store that a Catalogue needs; *meta.DB satisfies it.
type DB interface {
	// Write runs f in one transaction and returns when that is durable.
	Write(ctx context.Context, f func(*sql.Tx) error) error
	Read() *sql.DB
}

// Sealer keeps keys safe at rest. *auth.Authority satisfies it.
type Sealer interface {
	Seal(context string, plain []byte) ([]byte, error)
	Unseal(context string, sealed []byte) ([]byte, error)
}

// Config says where a Catalogue is kept. Meta and Sealer are required; the zero value of
// the rest means the documented default.
type Config struct {
	Meta       DB
	Sealer     Sealer
	Clock      host.Clock            // host.System
	Rand       io.Reader             // crypto/rand
	Logger     *slog.Logger          // discards
	Registerer prometheus.Registerer // none

	// StateDelay is how long a stream or consumer stays CREATING, UPDATING and DELETING.
	// 0: as long as the work takes, and the call that begins it returns after its end.
	StateDelay time.Duration
	// NoLimits lifts the throughput limits of the shards of provisioned streams.
	NoLimits bool
	// ShardLimit bounds the open shards of an account in a region; DefaultShardLimit.
	ShardLimit int
	// OnDemandLimit bounds the on-demand streams of an account; DefaultOnDemandLimit.
	OnDemandLimit int
	// ScaleEvery is how often on-demand streams are looked at; DefaultScaleEvery.
	// Negative: never.
	ScaleEvery time.Duration
}

// Catalogue is the named data streams, held in memory and in the metadata store. All
// methods may be called at once. The order at start: Open, records.Open with Keys and
// Retention of it, Attach, Run.
type Catalogue struct {
	c     Config
	log   *slog.Logger
	start time.Time // zero of the limits' clock

	mu       sync.RWMutex
	store    *records.Store
	names    map[name]*Stream
	ids      map[string]*Stream
	accounts map[string]Account // by account/region
	making   sync.Mutex         // one Create at a time, so that quotas hold; taken before mu

	tasks  chan *Stream               // streams with something pending, for Run
	laters chan func(context.Context) // for Run
	places chan struct{}              // of streams at work
	began  chan struct{}              // closed when Run begins
	ended  chan struct{}              // closed when Run has ended
	keys   keyCache
}

type name struct{ account, region, name string }

// Open reads the catalogue. It needs no records yet: see Attach.
func Open(ctx context.Context, c Config) (*Catalogue, error) {
	if c.Meta == nil || c.Sealer == nil {
		return nil, fault.New(fault.Invalid, "open data streams", "", "Config.Meta and Config.Sealer are required")
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.ShardLimit = cmp.Or(c.ShardLimit, DefaultShardLimit)
	c.OnDemandLimit = cmp.Or(c.OnDemandLimit, DefaultOnDemandLimit)
	c.ScaleEvery = cmp.Or(c.ScaleEvery, DefaultScaleEvery)
	cat := &Catalogue{c: c, log: c.Logger, start: c.Clock.Now(), names: map[name]*Stream{}, ids: map[string]*Stream{},
		accounts: map[string]Account{}, tasks: make(chan *Stream, tasksMax), laters: make(chan func(context.Context), tasksMax), places: make(chan struct{}, workAtOnce),
		began: make(chan struct{}), ended: make(chan struct{})}
	if err := cat.load(ctx); err != nil {
		return nil, fault.Wrap(fault.Internal, "read data streams", "", err)
	}
	if c.Registerer != nil {
		if err := c.Registerer.Register(&collector{cat}); err != nil {
			return nil, fault.Wrap(fault.Invalid, "register metrics", "data streams", err)
		}
	}
	return cat, nil
}

// Attach hands over the store with the records of the streams. Call it once, before any
// door opens.
func (c *Catalogue) Attach(store *records.Store) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.store = store
	for _, s := range c.ids {
		if st := s.Info().Status; st == Deleting || st == Creating {
			continue
		}
		if log, ok := store.Log(s.id); ok {
			s.records.Store(log)
		} else {
			c.log.Error("the records of a data stream are missing; puts and reads answer that it does not exist", "stream", s.name,
				"id", s.id, "hint", "`penstock reindex` finds them again if they are in the bucket")
		}
	}
}

// New is what Create needs to know.
type New struct {
	Account, Region, Name string
	Mode                  Mode // Provisioned
	Shards                int  // 0: OnDemandShards; ignored on demand
	MaxRecord             int  // bytes; 0: MaxRecordDefault
	Warm                  int
	Tags                  map[string]string
}

// Create makes a stream. It is durable and CREATING, or with no StateDelay ACTIVE, when
// Create returns. Refusals: Taken, ShardQuota, StreamQuota. fault.Unavailable: Run does not
// run; the stream is made when it does. When ctx ends the stream is made all the same.
func (c *Catalogue) Create(ctx context.Context, n New) (*Stream, error) {
	s, err := c.create(ctx, n)
	if err != nil {
		return nil, err
	}
	return s, c.begin(ctx, s)
}

// create writes a new stream down, with the task to make it.
func (c *Catalogue) create(ctx context.Context, n New) (*Stream, error) {
	const op = "create data stream"
	if err := CheckName(n.Name); err != nil {
		return nil, err
	}
	n.Mode = cmp.Or(n.Mode, Provisioned)
	if n.Shards == 0 || n.Mode == OnDemand {
		n.Shards = max(OnDemandShards, min(n.Warm, ShardsMax))
	}
	n.MaxRecord = cmp.Or(n.MaxRecord, MaxRecordDefault)
	if len(n.Tags) > TagsMax {
		return nil, refuse(op, n.Name, &Refusal{Reason: TagQuota, Count: len(n.Tags), Limit: TagsMax})
	}
	c.making.Lock()
	defer c.making.Unlock()
	if _, err := c.Get(ctx, n.Account, n.Region, n.Name); err == nil {
		return nil, refuse(op, n.Name, &Refusal{Reason: Taken})
	}
	if err := c.quota(op, n); err != nil {
		return nil, err
	}
	id, err := c.random(lowerDigits, 12)
	if err != nil {
		return nil, err
	}
	long, err := c.random(lowerDigits, 23)
	if err != nil {
		return nil, err
	}
	info := &Info{ID: id, Account: n.Account, Region: n.Region, Name: n.Name, StreamID: long[:20] + "-" + long[20:],
		Created: c.c.Clock.Now().UTC().Truncate(time.Second), Status: Creating, Mode: n.Mode, Retention: RetentionMin,
		MaxRecord: n.MaxRecord, Warm: n.Warm, Tags: copyTags(n.Tags)}
	s := c.stream(info, &task{Op: opCreate, Shards: n.Shards})
	if err := c.insert(ctx, s); err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, n.Name, err)
	}
	c.mu.Lock()
	c.names[s.key()] = s
	c.ids[id] = s
	c.mu.Unlock()
	return s, nil
}

// quota checks what the account may still have.
func (c *Catalogue) quota(op string, n New) error {
	u := c.Usage(n.Account, n.Region)
	if n.Mode == OnDemand {
		if u.OnDemand >= c.c.OnDemandLimit {
			return refuse(op, n.Name, &Refusal{Reason: StreamQuota, Count: u.OnDemand, Limit: c.c.OnDemandLimit})
		}
		if n.Warm == 0 {
			return nil // what it begins with is little, and it grows with what it takes
		}
	}
	return c.shardQuota(op, n.Name, u, n.Shards)
}

func (c *Catalogue) shardQuota(op, stream string, u Usage, more int) error {
	if u.OpenShards+more > c.c.ShardLimit {
		return refuse(op, stream, &Refusal{Reason: ShardQuota, Count: u.OpenShards, Limit: c.c.ShardLimit, More: more})
	}
	return nil
}

// Usage is what an account has in a region, and may have.
type Usage struct {
	OpenShards, ShardLimit  int
	OnDemand, OnDemandLimit int
	Streams                 int
}

// Usage counts.
func (c *Catalogue) Usage(account, region string) Usage {
	u := Usage{ShardLimit: c.c.ShardLimit, OnDemandLimit: c.c.OnDemandLimit}
	for _, s := range c.List(account, region) {
		i := s.Info()
		u.Streams++
		if i.Mode == OnDemand {
			u.OnDemand++
		}
		if i.Status == Creating {
			if t := s.pending.Load(); t != nil {
				u.OpenShards += t.Shards
				continue
			}
		}
		u.OpenShards += s.OpenShards()
	}
	return u
}

// Get finds a stream by name, from memory. Unknown: fault.NotFound.
func (c *Catalogue) Get(_ context.Context, account, region, stream string) (*Stream, error) {
	c.mu.RLock()
	s := c.names[name{account, region, stream}]
	c.mu.RUnlock()
	if s == nil {
		return nil, fault.New(fault.NotFound, "find data stream", stream, "no such data stream")
	}
	return s, nil
}

// ByStreamID finds a stream of an account by its StreamId. Unknown: fault.NotFound.
func (c *Catalogue) ByStreamID(account, region, id string) (*Stream, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.names {
		if i := s.Info(); i.StreamID == id && i.Account == account && i.Region == region {
			return s, nil
		}
	}
	return nil, fault.New(fault.NotFound, "find data stream", id, "no such data stream")
}

// ByID finds a stream by Info.ID. Unknown: fault.NotFound.
func (c *Catalogue) ByID(id string) (*Stream, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if s := c.ids[id]; s != nil {
		return s, nil
	}
	return nil, fault.New(fault.NotFound, "find data stream", id, "no such data stream")
}

// Ensure finds a stream, and makes it in on-demand mode when there is none: for doors that
// make a stream on first use, after they asked auth for kinesis:CreateStream. It waits
// until the stream is ACTIVE.
func (c *Catalogue) Ensure(ctx context.Context, account, region, stream string) (*Stream, error) {
	s, err := c.Get(ctx, account, region, stream)
	if fault.Is(err, fault.NotFound) {
		s, err = c.Create(ctx, New{Account: account, Region: region, Name: stream, Mode: OnDemand})
		if fault.Is(err, fault.InUse) { // made meanwhile
			s, err = c.Get(ctx, account, region, stream)
		}
	}
	if err != nil {
		return nil, err
	}
	return s, s.Settled(ctx)
}

// List returns the streams of an account in a region, by name. Account and region may be
// empty: all.
func (c *Catalogue) List(account, region string) []*Stream {
	c.mu.RLock()
	list := make([]*Stream, 0, len(c.names))
	for n, s := range c.names {
		if (account == "" || n.account == account) && (region == "" || n.region == region) {
			list = append(list, s)
		}
	}
	c.mu.RUnlock()
	slices.SortFunc(list, func(a, b *Stream) int { return strings.Compare(a.name, b.name) })
	return list
}

// Retention is how long the records of the stream with Info.ID id are kept; a stream that
// is gone keeps the minimum until its records are deleted. For records.Config.
func (c *Catalogue) Retention(id string) time.Duration {
	c.mu.RLock()
	s := c.ids[id]
	c.mu.RUnlock()
	if s == nil {
		return RetentionMin
	}
	return s.Info().Retention
}

const lowerDigits = "abcdefghijklmnopqrstuvwxyz0123456789"

// random returns n characters of the alphabet.
func (c *Catalogue) random(alphabet string, n int) (string, error) {
	raw := make([]byte, n)
	if _, err := io.ReadFull(c.c.Rand, raw); err != nil {
		return "", fault.Wrap(fault.Internal, "draw a random name", "", err)
	}
	for i, b := range raw {
		raw[i] = alphabet[int(b)%len(alphabet)]
	}
	return string(raw), nil
}

func copyTags(tags map[string]string) map[string]string {
	out := make(map[string]string, len(tags))
	for k, v := range tags {
		out[k] = v
	}
	return out
}
