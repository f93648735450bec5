package events

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/base32"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/host"
)

const (
	// writeUsual is how long a change waits for the metadata store.
	writeUsual = 15 * time.Second
	// pollUsual is how often Run looks for events that have ended or expired.
	pollUsual = time.Minute
)

// DB is the part of the metadata store that a Journal needs; *meta.DB satisfies it.
type DB interface {
	// Write runs f in one transaction and returns when that is durable.
	Write(ctx context.Context, f func(*sql.Tx) error) error
	Read() *sql.DB
}

// Config says where events are kept. Meta and Horizon are required; the zero value of the
// rest means the documented default.
type Config struct {
	Meta DB
	// Horizon is the instant before which the video of a stream has expired; what only
	// events keep may be older. (*streams.Hub).Horizon.
	Horizon func(ctx context.Context, stream string) time.Time
	Clock   host.Clock       // host.System
	Time    func() time.Time // the time that video expires by: (*fragments.Store).ExpiryNow; Clock's
	Rand    io.Reader        // crypto/rand
	Logger  *slog.Logger     // discards
	Poll    time.Duration    // a minute
	// Registerer gets the metrics; nil: none.
	Registerer prometheus.Registerer
	// WriteMost is how long a change waits for the metadata store; 15 s.
	WriteMost time.Duration
	// Most is how many events a stream may have, Keeping how many of them may keep video;
	// StreamMax and KeepingMax.
	Most, Keeping int
}

// Journal is the events of all streams. What keeps video is held in memory too. All
// methods may be called at once. One process has a journal at a time.
type Journal struct {
	config Config
	log    *slog.Logger

	watches watches

	mu      sync.Mutex
	shelves map[string]*shelf   // by stream
	gone    map[string]struct{} // streams that were erased never come back
}

// shelf is what memory holds of a stream's events.
type shelf struct {
	changing sync.Mutex // one change of what is there at a time; taken before Journal.mu

	// Under Journal.mu.
	count  int // events
	adding int // of them on their way into the store
	keeps  map[string]fragments.Keep
	sorted []fragments.Keep // of keeps; nil: to be made anew
	unsure bool             // a write may have been done or not: ask the store
	change uint64           // counts what was done to the above
}

// Open reads what keeps video.
func Open(ctx context.Context, c Config) (*Journal, error) {
	if c.Meta == nil || c.Horizon == nil {
		return nil, fault.New(fault.Invalid, "open events", "", "Config.Meta and Config.Horizon are required")
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	if c.Time == nil {
		c.Time = c.Clock.Now
	}
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Poll = cmp.Or(c.Poll, pollUsual)
	c.WriteMost = cmp.Or(c.WriteMost, writeUsual)
	c.Most, c.Keeping = cmp.Or(c.Most, StreamMax), cmp.Or(c.Keeping, KeepingMax)
	j := &Journal{config: c, log: c.Logger, shelves: map[string]*shelf{}, gone: map[string]struct{}{}}
	if err := j.load(ctx); err != nil {
		return nil, fault.Wrap(fault.Internal, "open events", "", err)
	}
	if c.Registerer != nil {
		j.register(c.Registerer)
	}
	return j, nil
}

func (j *Journal) load(ctx context.Context) error {
	rows, err := j.config.Meta.Read().QueryContext(ctx, "SELECT stream, COUNT(*) FROM event GROUP BY stream")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		s := &shelf{keeps: map[string]fragments.Keep{}}
		var stream string
		if err := rows.Scan(&stream, &s.count); err != nil {
			return err
		}
		j.shelves[stream] = s
	}
	if err := rows.Err(); err != nil {
		return err
	}
	keeping, err := scanAll(j.config.Meta.Read().QueryContext(ctx, "SELECT "+columns+" FROM event WHERE keep <> 0"))
	if err != nil {
		return err
	}
	now := j.config.Time()
	for _, e := range keeping {
		if s := j.shelves[e.Stream]; s != nil && e.keeps(now) {
			s.keeps[e.ID] = e.kept()
		}
	}
	return nil
}

// keeps reports whether the event keeps video at the time that video expires by.
func (e Event) keeps(now time.Time) bool {
	return !e.KeptFrom.IsZero() && (e.KeptUntil.IsZero() || e.KeptUntil.After(now))
}

func (e Event) kept() fragments.Keep {
	return fragments.Keep{Start: e.KeptFrom, End: e.KeptTo(), Until: e.KeptUntil}
}

// shelf finds or makes what memory holds of a stream; nil when that was erased.
func (j *Journal) shelf(stream string) *shelf {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, gone := j.gone[stream]; gone {
		return nil
	}
	s := j.shelves[stream]
	if s == nil {
		s = &shelf{keeps: map[string]fragments.Keep{}}
		j.shelves[stream] = s
	}
	return s
}

// Keeps are the stretches of a stream's video that its events keep, sorted by Start. The
// caller must not change them. It reads memory alone.
func (j *Journal) Keeps(stream string) []fragments.Keep {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.shelves[stream]
	if s == nil || len(s.keeps) == 0 {
		return nil
	}
	if s.sorted == nil {
		s.sorted = make([]fragments.Keep, 0, len(s.keeps))
		for _, k := range s.keeps {
			s.sorted = append(s.sorted, k)
		}
		slices.SortFunc(s.sorted, func(a, b fragments.Keep) int { return a.Start.Compare(b.Start) })
	}
	return s.sorted
}

// hold has memory keep the event's video, or let it go.
func (j *Journal) hold(s *shelf, id string, k fragments.Keep, keep bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s.hold(id, k, keep)
}

// hold is under Journal.mu.
func (s *shelf) hold(id string, k fragments.Keep, keep bool) {
	s.sorted = nil
	s.change++
	if keep {
		s.keeps[id] = k
	} else {
		delete(s.keeps, id)
	}
}

// write runs f in a transaction. done false with an error: the store may still come to it.
func (j *Journal) write(ctx context.Context, f func(*sql.Tx) error) (done bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.config.WriteMost)
	defer cancel()
	err = j.config.Meta.Write(ctx, f)
	return err == nil || ctx.Err() == nil, err
}

// doubt has Run ask the store what it made of a write.
func (j *Journal) doubt(s *shelf) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s.unsure = true
}

func (j *Journal) randomID() (string, error) {
	var raw [10]byte
	if _, err := io.ReadFull(j.config.Rand, raw[:]); err != nil {
		return "", err
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(raw[:])), nil
}

// Erase forgets all events of a stream for good, and with them what they keep: call it
// before the video is deleted. It may be called again after an error.
func (j *Journal) Erase(ctx context.Context, stream string) error {
	j.mu.Lock()
	j.gone[stream] = struct{}{}
	delete(j.shelves, stream)
	j.mu.Unlock()
	for {
		left := int64(0)
		err := j.config.Meta.Write(ctx, func(tx *sql.Tx) error {
			r, err := tx.Exec("DELETE FROM event WHERE stream = ? AND id IN (SELECT id FROM event WHERE stream = ? LIMIT ?)", stream, stream, sweepBatch)
			if err != nil {
				return err
			}
			left, err = r.RowsAffected()
			return err
		})
		if err != nil || left == 0 {
			return classify(err, "erase events of", stream)
		}
	}
}

func notFound(id string) error {
	return fault.New(fault.NotFound, "find event", id, "no such event").WithHint("`penstock event ls` lists those that are there; those whose video has expired are gone")
}

// classify keeps a fault and turns anything else into Unavailable: the store did not
// take it.
func classify(err error, op, id string) error {
	var f *fault.Error
	if err == nil || errors.As(err, &f) {
		return err
	}
	return fault.Wrap(fault.Unavailable, op, id, err)
}
