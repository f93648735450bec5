package records

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strconv"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/records/segment"
	"penstock/storage"
	"penstock/storage/lane"
)

// Validate names the field that is wrong.
func (c Config) Validate() error {
	const op = "open records"
	switch {
	case c.Dir == "" && c.OpenLane == nil:
		return fault.New(fault.Invalid, op, "", "Dir is empty")
	case c.Bucket == nil:
		return fault.New(fault.Invalid, op, c.Dir, "Bucket is missing")
	case c.Meta == nil:
		return fault.New(fault.Invalid, op, c.Dir, "Meta is missing")
	case c.Lanes < 0 || c.Lanes > 1<<10:
		return fault.New(fault.Invalid, op, c.Dir, "Lanes is not 0 to 1024")
	case c.LaneFileSize < 0 || c.TailBytes < 0 || c.CacheBytes < 0 || c.SealAfter < 0:
		return fault.New(fault.Invalid, op, c.Dir, "LaneFileSize, TailBytes, CacheBytes or SealAfter is negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.FS = cmp.Or[host.FS](c.FS, host.OS{})
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Lanes = cmp.Or(c.Lanes, 1)
	c.LaneFileSize = cmp.Or(c.LaneFileSize, 64<<20)
	c.TailBytes = cmp.Or(c.TailBytes, 64<<20)
	c.CacheBytes = cmp.Or(c.CacheBytes, 64<<20)
	c.SealAfter = cmp.Or(c.SealAfter, 10*time.Minute)
	c.CompactSegments = cmp.Or(c.CompactSegments, 16)
	return c
}

// Open reads what is there and recovers what a crash left; it costs what is not yet
// sealed, not what is stored. What is put becomes durable once Run runs. When Run is never
// called, Close ends the Store.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Store{cfg: cfg, met: newMetrics(cfg.Registerer), keys: newKeyring(cfg), logs: map[string]*Log{}, swept: make(chan struct{}, 1)}
	s.slots.add(nil) // tag 0 is nobody's
	s.src = segment.NewSource(segment.SourceConfig{Bucket: cfg.Bucket, Cache: cfg.CacheBytes, Keys: s.keys.named})
	if err := cfg.Meta.Apply(ctx, schema()); err != nil {
		return nil, fault.Wrap(fault.KindOf(err), "open records", cfg.Dir, err)
	}
	if err := s.claim(ctx); err != nil {
		return nil, fault.Wrap(fault.KindOf(err), "open records", cfg.Dir, err)
	}
	if err := s.beginExpiry(ctx); err != nil {
		return nil, fault.Wrap(fault.KindOf(err), "open records", cfg.Dir, err)
	}
	if err := s.load(ctx); err != nil {
		return nil, fault.Wrap(fault.KindOf(err), "open records", cfg.Dir, errors.Join(err, s.Close()))
	}
	for _, o := range s.lanes {
		if err := o.recover(ctx); err != nil {
			return nil, fault.Wrap(fault.KindOf(err), "open records", fmt.Sprintf("lane %d", o.no), errors.Join(err, s.Close()))
		}
	}
	for _, l := range s.logs {
		l.settle()
		for _, sh := range l.view.Load().shards {
			sh.least = sh.next
		}
	}
	return s, nil
}

// claim takes the next epoch, so that no earlier owner can append.
func (s *Store) claim(ctx context.Context) error {
	return s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		var last int64
		if err := tx.QueryRow("SELECT epoch FROM records_owner").Scan(&last); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		s.epoch = s.cfg.Epoch
		if s.epoch == 0 {
			s.epoch = uint64(last) + 1
		}
		if s.epoch < uint64(last) {
			return fault.New(fault.Denied, "claim lanes", "", fmt.Sprintf("epoch %d is not newer than %d, that another owner has", s.epoch, last))
		}
		_, err := tx.Exec("INSERT INTO records_owner (one, epoch) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET epoch = excluded.epoch", int64(s.epoch))
		return err
	})
}

// load reads what Meta knows and opens the lanes.
func (s *Store) load(ctx context.Context) error {
	lanes := s.cfg.Lanes
	var top sql.NullInt64
	if err := s.cfg.Meta.Read().QueryRowContext(ctx, "SELECT max(lane) FROM records_streams").Scan(&top); err != nil {
		return err
	}
	if top.Valid {
		lanes = max(lanes, int(top.Int64)+1)
	}
	for n := range lanes {
		if err := s.openLane(ctx, n, s.cfg.TailBytes/int64(lanes)); err != nil {
			return err
		}
	}
	if err := s.loadStreams(ctx); err != nil {
		return err
	}
	return s.loadSegments(ctx)
}

func (s *Store) openLane(ctx context.Context, n int, tailBytes int64) error {
	o := &owner{no: n, store: s, due: make(chan struct{}, 1), sealed: 1, next: 1}
	o.tail.limit = tailBytes
	err := s.cfg.Meta.Read().QueryRowContext(ctx, "SELECT sealed FROM records_lanes WHERE lane = ?", n).Scan(&o.sealed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if s.cfg.OpenLane != nil {
		o.lane, err = s.cfg.OpenLane(ctx, n)
	} else {
		o.lane, err = lane.Open(ctx, lane.Config{
			Dir: path.Join(s.cfg.Dir, "wal", strconv.Itoa(n)), FS: s.cfg.FS, FileSize: s.cfg.LaneFileSize,
			Clock: s.cfg.Clock, Rand: s.cfg.Rand, Name: strconv.Itoa(n), Logger: s.cfg.Logger, Registerer: s.cfg.Registerer,
		})
	}
	if err != nil {
		return err
	}
	s.lanes = append(s.lanes, o)
	return o.lane.Fence(ctx, s.epoch)
}

func (s *Store) loadStreams(ctx context.Context) error {
	rows, err := s.cfg.Meta.Read().QueryContext(ctx, "SELECT stream, lane, born, created, encrypted, floor, stored, map, state FROM records_streams")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			id             string
			no             int
			born           int64
			created, floor int64
			encrypted      bool
			stored         uint32
			defs, state    []byte
		)
		if err := rows.Scan(&id, &no, &born, &created, &encrypted, &floor, &stored, &defs, &state); err != nil {
			return err
		}
		l := newLog(s, id, s.lanes[no], created)
		l.born, l.stored = storage.LSN(born), stored
		l.encrypted.Store(encrypted)
		l.floor.Store(floor)
		if err := l.restore(defs, state); err != nil {
			return fault.Wrap(fault.Internal, "read shards", id, err)
		}
		s.logs[id] = l
	}
	return rows.Err()
}

// restore makes the shards as Meta knows them.
func (l *Log) restore(defs, state []byte) error {
	m, err := readMap(defs)
	if err != nil {
		return err
	}
	far, err := readState(state)
	if err != nil {
		return err
	}
	byID := make(map[ShardID]reached, len(far))
	for _, r := range far {
		byID[r.id] = r
	}
	for _, d := range m.shards {
		sh := newShard(l, d.def)
		sh.closed, sh.moved = d.closed, d.closed != 0
		if r, ok := byID[sh.id]; ok {
			sh.sealed, sh.sealedAt = r.index, r.at
			sh.newest, sh.last = r.index, r.at
			sh.next, sh.clock = max(r.index+1, r.least), max(sh.clock, r.at)
		}
		l.adopt(sh)
	}
	l.nextID = max(l.nextID, m.next)
	return nil
}

// recover reads what the lane holds beyond the segments and makes it readable.
func (o *owner) recover(ctx context.Context) error {
	o.next = o.sealed
	first, next := o.lane.Bounds()
	if next < o.sealed {
		return fault.New(fault.Internal, "recover", "", fmt.Sprintf("the lane ends before batch %d, up to which records are in segments", o.sealed)).
			WithHint("the lane's files are not those that belong to this database: put back both from one copy")
	}
	if first > o.sealed && next > o.sealed {
		o.lost(&storage.Damage{First: o.sealed, Last: first - 1, Reason: "the lane begins behind what is sealed"})
	}
	for b, err := range o.lane.Replay(ctx, o.sealed) {
		var damage *storage.Damage
		switch {
		case errors.As(err, &damage):
			o.lost(damage)
			o.next = max(o.next, damage.Last+1)
			continue
		case err != nil:
			return err
		}
		if err := o.replay(&b); err != nil {
			return fault.Wrap(fault.Internal, "replay", fmt.Sprintf("batch %d", b.LSN), err)
		}
		o.advance(b.LSN, b.Wall, len(b.Body))
	}
	if _, o.next = o.lane.Bounds(); o.damaged {
		o.leap()
	}
	o.w = lane.NewWriter(o.lane, o.store.epoch, lane.WriterConfig{
		Committed: o.committed, Clock: o.store.cfg.Clock, Name: strconv.Itoa(o.no), Registerer: o.store.cfg.Registerer,
	})
	return nil
}

// jump is how many indexes are left out behind damage: more than a lane can hold of one
// shard, so that no number of a record that was lost is given again.
const jump = 1 << 32

// lost notes that batches cannot be read: their records are gone, and nobody knows whose
// they were. Readers meet a gap where later records show that there is one.
func (o *owner) lost(d *storage.Damage) {
	o.damaged = true
	o.store.met.damaged.Inc()
	o.store.cfg.Logger.Error("records in the lane are lost", "lane", o.no, "err", d)
}

// leap keeps the numbers of records that were lost from being given again.
func (o *owner) leap() {
	now := o.store.cfg.Clock.Now().UnixMilli()
	for _, l := range o.store.logs {
		if l.lane != o {
			continue
		}
		for _, sh := range l.view.Load().shards {
			sh.next += jump
			sh.clock = max(sh.clock, now)
		}
	}
}

// replay makes one batch's records readable.
func (o *owner) replay(b *storage.Batch) error {
	for off := 0; off < len(b.Body); {
		h, err := parseHeader(b.Body[off:])
		if err != nil {
			return err
		}
		if h.size > len(b.Body)-off {
			return flaw("an entry is longer than its batch")
		}
		if l := o.store.logs[string(h.id)]; l != nil && l.lane == o && b.LSN > l.born {
			if err := l.replay(&h, b.LSN, off, b.Body[off:off+h.size]); err != nil {
				return err
			}
		}
		off += h.size
	}
	return nil
}

// replay applies an entry of the log.
func (l *Log) replay(h *header, lsn storage.LSN, off int, entry []byte) error {
	switch h.kind {
	case kindRecords:
		sh, err := l.find("replay", h.shard)
		if err != nil {
			return nil // it closed and expired
		}
		if h.count == 0 || h.first <= sh.newest {
			return flaw(fmt.Sprintf("shard %d has index %d behind %d", h.shard, h.first, sh.newest))
		}
		sh.publish(h, lsn, off)
		sh.next, sh.clock = max(sh.next, h.first+uint64(h.count)), max(sh.clock, h.arrival)
		return nil
	case kindChange:
		p, err := h.payloadOf(entry)
		if err != nil {
			return err
		}
		c, err := readChange(p)
		if err != nil {
			return err
		}
		l.redo(&c)
	}
	return nil
}

// redo applies a change of shards that Meta may know already.
func (l *Log) redo(c *change) {
	v := l.view.Load()
	for _, d := range c.opened {
		if d.id < l.nextID {
			continue
		}
		sh := newShard(l, d)
		l.adopt(sh)
		l.mapDirty = true
	}
	for _, id := range c.closed {
		if sh, err := l.find("replay", id); err == nil && sh.closed == 0 {
			sh.closed, sh.moved = c.at, true
			l.mapDirty = true
		}
	}
	if l.mapDirty {
		v.shown = v.shown[:0]
		r := (*l.route.Load())[:0]
		for _, sh := range v.shards {
			v.shown = append(v.shown, sh.view())
			if sh.closed == 0 {
				r = append(r, sh)
			}
		}
		l.route.Store(&r)
	}
}
