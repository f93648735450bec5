package streams

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/internal/secret"
)

// streamsMax bounds the catalogue, which is held in memory.
const streamsMax = 100_000

// listMax is the longest page of List.
const listMax = 1000

func newSecret(s string) Secret { return secret.New(s) }

// DB is the part of the metadata store that the catalogue needs; *meta.DB satisfies it.
type DB interface {
	// Write runs f in one transaction and returns when that is durable.
	Write(ctx context.Context, f func(*sql.Tx) error) error
	Read() *sql.DB
}

// CatalogueConfig says where the catalogue is kept. Meta is required, Sealer when
// sources have passwords; the zero value of the rest means the documented default.
type CatalogueConfig struct {
	Meta   DB
	Sealer Sealer
	Region string       // in ARNs; "us-east-1"
	Clock  host.Clock   // host.System
	Rand   io.Reader    // crypto/rand
	Logger *slog.Logger // discards
	Poll   time.Duration
	// Erase ends a deleted stream's producer and listeners and deletes its media:
	// (*Hub).Erase. It is called until it returns nil, also after a restart.
	Erase func(context.Context, Stream) error
}

// Catalogue is the named streams, held in memory and in the metadata store. All
// methods may be called at once.
type Catalogue struct {
	config CatalogueConfig
	log    *slog.Logger

	reload sync.Mutex // one load or change of the memory at a time; taken before mu

	mu       sync.RWMutex
	epoch    int64
	byID     map[string]*Stream
	accounts map[string][]*Stream // sorted by name
	watches  map[*Watch]struct{}
	erasing  chan struct{} // wakes Run
	longer   func(Stream)  // called before a longer retention counts
}

// OpenCatalogue reads the streams.
func OpenCatalogue(ctx context.Context, c CatalogueConfig) (*Catalogue, error) {
	if c.Meta == nil {
		return nil, fault.New(fault.Invalid, "open catalogue", "", "CatalogueConfig.Meta is missing")
	}
	c.Region = cmp.Or(c.Region, "us-east-1")
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Poll = cmp.Or(c.Poll, 2*time.Second)
	cat := &Catalogue{config: c, log: c.Logger, watches: map[*Watch]struct{}{}, erasing: make(chan struct{}, 1),
		byID: map[string]*Stream{}, accounts: map[string][]*Stream{}}
	return cat, cat.refresh(ctx)
}

// Create adds a stream; Account, Name, Retention, RetentionBytes, Source and Tags are read. It is
// durable when Create returns. fault.InUse: the name is taken. fault.Invalid: names the field.
func (c *Catalogue) Create(ctx context.Context, s Stream) (Stream, error) {
	if s.Account == "" {
		return Stream{}, fault.New(fault.Invalid, "create stream", s.Name, "no account")
	}
	s = s.clone()
	if err := s.normal(); err != nil {
		return Stream{}, err
	}
	var raw [8]byte
	if _, err := io.ReadFull(c.config.Rand, raw[:]); err != nil {
		return Stream{}, err
	}
	s.ID = strings.ToLower(base32.StdEncoding.EncodeToString(raw[:])[:12])
	s.Region = c.config.Region
	s.Created = c.config.Clock.Now().UTC().Truncate(time.Millisecond)
	s.Version = "1"
	c.mu.RLock()
	count := len(c.byID)
	c.mu.RUnlock()
	if count >= streamsMax {
		return Stream{}, fault.New(fault.Throttled, "create stream", s.Name, fmt.Sprintf("there are %d streams already", count))
	}
	row, err := c.row(s)
	if err != nil {
		return Stream{}, err
	}
	taken := fault.New(fault.InUse, "create stream", s.Name, "the name is taken")
	err = c.change(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT COUNT(*) FROM stream WHERE account = ? AND name = ?`, s.Account, s.Name).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return taken
		}
		_, err := tx.Exec(`INSERT INTO stream (id, account, name, created, version, retention, retention_bytes, source, password, tags)
			VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?)`, s.ID, s.Account, s.Name, s.Created.UnixMilli(), row.retention, row.bytes, row.source, row.password, row.tags)
		return err
	}, func() { c.put(&s, Created) })
	if err != nil {
		return Stream{}, classify(err, "create stream", s.Name)
	}
	return s, nil
}

// Update changes Retention, RetentionBytes, Source and Tags of a stream: change is called with a copy
// of it as it is now, and again when somebody else was faster.
func (c *Catalogue) Update(ctx context.Context, account, name string, change func(*Stream) error) (Stream, error) {
	raced := errors.New("it was changed at the same time; try again")
	for try := 0; ; try++ {
		old, err := c.Get(account, name)
		if err != nil {
			return Stream{}, err
		}
		s := old.clone()
		if err := change(&s); err != nil {
			return Stream{}, err
		}
		s.ID, s.Account, s.Region, s.Name, s.Created = old.ID, old.Account, old.Region, old.Name, old.Created
		if err := s.normal(); err != nil {
			return Stream{}, err
		}
		var version int64
		fmt.Sscan(old.Version, &version)
		s.Version = fmt.Sprint(version + 1)
		row, err := c.row(s)
		if err != nil {
			return Stream{}, err
		}
		c.mu.RLock()
		longer := c.longer
		c.mu.RUnlock()
		if s.keepsMore(old) && longer != nil {
			longer(old)
		}
		err = c.change(ctx, func(tx *sql.Tx) error {
			r, err := tx.Exec(`UPDATE stream SET version = ?, retention = ?, retention_bytes = ?, source = ?, password = ?, tags = ? WHERE id = ? AND version = ?`,
				version+1, row.retention, row.bytes, row.source, row.password, row.tags, s.ID, version)
			if err != nil {
				return err
			}
			if n, err := r.RowsAffected(); err != nil || n == 0 {
				return errors.Join(err, raced)
			}
			return nil
		}, func() { c.put(&s, Updated) })
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, raced) && try < 5:
			if err := c.refresh(ctx); err != nil {
				return Stream{}, classify(err, "update stream", name)
			}
		case errors.Is(err, raced):
			return Stream{}, fault.Wrap(fault.InUse, "update stream", name, raced)
		default:
			return Stream{}, classify(err, "update stream", name)
		}
	}
}

// Delete takes a stream out of the catalogue: its name is free, and nobody can reach
// its media, when Delete returns. Run erases the media.
func (c *Catalogue) Delete(ctx context.Context, account, name string) error {
	s, err := c.Get(account, name)
	if err != nil {
		return err
	}
	err = c.change(ctx, func(tx *sql.Tx) error {
		r, err := tx.Exec(`DELETE FROM stream WHERE id = ?`, s.ID)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return err
		}
		_, err = tx.Exec(`INSERT INTO stream_erase (id, account, name, created) VALUES (?, ?, ?, ?)`, s.ID, s.Account, s.Name, s.Created.UnixMilli())
		return err
	}, func() { c.drop(&s) })
	if err != nil {
		return classify(err, "delete stream", name)
	}
	select {
	case c.erasing <- struct{}{}:
	default:
	}
	return nil
}

// Get finds a stream by name. Unknown: fault.NotFound.
func (c *Catalogue) Get(account, name string) (Stream, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	list := c.accounts[account]
	i, ok := slices.BinarySearchFunc(list, name, byName)
	if !ok {
		return Stream{}, notFound(name)
	}
	return *list[i], nil
}

// ByID finds a stream by ID. Unknown: fault.NotFound.
func (c *Catalogue) ByID(id string) (Stream, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if s := c.byID[id]; s != nil {
		return *s, nil
	}
	return Stream{}, notFound(id)
}

// List returns the streams of an account whose names begin with prefix and come after
// the name after, in order of names, at most limit (0: 1000). next is the after of the
// following page, empty on the last.
func (c *Catalogue) List(account, prefix, after string, limit int) (list []Stream, next string) {
	if limit <= 0 || limit > listMax {
		limit = listMax
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := c.accounts[account]
	i, ok := slices.BinarySearchFunc(all, max(prefix, after), byName)
	if ok && after >= prefix && after != "" {
		i++
	}
	for ; i < len(all) && strings.HasPrefix(all[i].Name, prefix); i++ {
		if len(list) == limit {
			return list, list[limit-1].Name
		}
		list = append(list, *all[i])
	}
	return list, ""
}

// All returns the streams of all accounts, in no order.
func (c *Catalogue) All() []Stream {
	c.mu.RLock()
	defer c.mu.RUnlock()
	list := make([]Stream, 0, len(c.byID))
	for _, s := range c.byID {
		list = append(list, *s)
	}
	return list
}

// Bounds are what a stream's Retention and RetentionBytes are now; a stream that is gone
// keeps the minimum until its media is erased.
func (c *Catalogue) Bounds(id string) (age time.Duration, size int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if s := c.byID[id]; s != nil {
		return s.Retention, s.RetentionBytes
	}
	return RetentionMin, 0
}

// keepsMore reports whether s may keep what old did not.
func (s Stream) keepsMore(old Stream) bool {
	return s.Retention > old.Retention || old.RetentionBytes > 0 && (s.RetentionBytes == 0 || s.RetentionBytes > old.RetentionBytes)
}

// beforeLonger sets what is called before a stream's retention grows, so that what has
// expired by then stays so.
func (c *Catalogue) beforeLonger(f func(Stream)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.longer = f
}

func byName(s *Stream, name string) int { return strings.Compare(s.Name, name) }

func notFound(name string) error {
	return fault.New(fault.NotFound, "find stream", name, "no such stream")
}

// classify keeps a fault and turns anything else into Unavailable: the store did not
// take it.
func classify(err error, op, name string) error {
	var f *fault.Error
	if errors.As(err, &f) {
		return err
	}
	return fault.Wrap(fault.Unavailable, op, name, err)
}
