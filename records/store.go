package records

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"penstock/internal/fault"
	"penstock/records/segment"
	"penstock/storage"
	"penstock/storage/expiry"
	"penstock/storage/lane"
)

// Store holds the logs of many streams. Open makes it and Run does its work. Its methods
// may be called at once.
type Store struct {
	cfg   Config
	met   *metrics
	lanes []*owner
	src   *segment.Source
	keys  *keyring
	epoch uint64

	mu   sync.RWMutex
	logs map[string]*Log

	puttings sync.Pool // of *putting

	slots   slots
	tidying sync.Mutex // one merging or deleting at a time

	expiry *expiry.Time // what retention goes by

	tight atomic.Bool // the disk is nearly full: nothing is put
	swept chan struct{}
}

// owner is a lane and what this process knows of it.
type owner struct {
	no    int
	store *Store
	lane  storage.Lane
	w     *lane.Writer
	tail  tail

	damaged bool // the lane lost records; set before Open returns

	sealing sync.Mutex // one sealing at a time; taken before mu

	mu     sync.Mutex
	sealed storage.LSN // the first that is not in segments
	next   storage.LSN // the first that is not visible
	bytes  int64       // of entries since the last mark
	oldest time.Time   // wall of the first commit since the last mark; zero: none
	marks  []mark      // where to seal up to
	due    chan struct{}
}

// mark says that what lies before lsn can be sealed.
type mark struct{ lsn storage.LSN }

// slots gives the tags of lane entries their meaning.
type slots struct {
	mu   sync.RWMutex
	all  []target
	free []uint64
}

// target hears that an entry is durable, on the goroutine that commits.
type target interface {
	committed(lsn storage.LSN, body []byte, off int)
}

func (s *slots) add(t target) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		tag := s.free[n-1]
		s.free = s.free[:n-1]
		s.all[tag] = t
		return tag
	}
	s.all = append(s.all, t)
	return uint64(len(s.all) - 1)
}

// release gives a tag back, once no entry can carry it any more.
func (s *slots) release(tag uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[tag] = nil
	s.free = append(s.free, tag)
}

// bury lets go of what a tag stands for, when entries that carry it may yet be committed.
func (s *slots) bury(tag uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[tag] = nobody{}
}

// nobody is what is deleted.
type nobody struct{}

func (nobody) committed(storage.LSN, []byte, int) {}

func (s *slots) get(tag uint64) target {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.all[tag]
}

// committed is the hook of the lane's writer.
func (o *owner) committed(c *lane.Commit) {
	o.tail.add(c.LSN, c.Body)
	for _, e := range c.Entries {
		o.store.slots.get(e.Tag).committed(c.LSN, c.Body, e.Off)
	}
	o.advance(c.LSN, c.Wall, len(c.Body))
}

// batchPage is what the smallest batch takes in a lane file, and of what larger ones take a
// multiple: what counts is how much the next start has to read.
const batchPage = 4 << 10

// advance notes a commit that is visible, and where one could seal up to.
func (o *owner) advance(lsn storage.LSN, wall time.Time, size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next = lsn + 1
	if o.oldest.IsZero() {
		o.oldest = wall
	}
	if o.bytes += int64(size)/batchPage*batchPage + batchPage; o.bytes >= o.store.cfg.LaneFileSize {
		o.mark()
	}
}

// mark ends a run of commits that is sealed together. Under mu.
func (o *owner) mark() {
	o.marks = append(o.marks, mark{o.next})
	o.bytes, o.oldest = 0, time.Time{}
	select {
	case o.due <- struct{}{}:
	default:
	}
}

// Run commits, seals, merges and deletes until ctx ends; then it makes durable what is
// pending and returns nil. It is called once. Any error means that a lane is broken: the
// process must exit and recover.
func (s *Store) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var (
		all  sync.WaitGroup
		once sync.Once
		bad  error
	)
	for _, o := range s.lanes {
		all.Go(func() {
			if err := o.w.Run(ctx); err != nil {
				once.Do(func() { bad = fault.Wrap(fault.Internal, "commit records", fmt.Sprintf("lane %d", o.no), err) })
			}
			stop()
		})
		all.Go(func() { o.sealLoop(ctx) })
	}
	all.Go(func() { s.spaceLoop(ctx) })
	all.Go(func() { s.sweepLoop(ctx) })
	all.Wait()
	return bad
}

// Close releases the lanes' files, after Run has returned or instead of it. Twice is fine.
func (s *Store) Close() error {
	var all error
	for _, o := range s.lanes {
		if c, ok := o.lane.(interface{ Close() error }); ok {
			all = errors.Join(all, c.Close())
		}
	}
	return all
}

// Create makes the log of a stream with so many open shards of equal width; created is to
// the second and stands in its sequence numbers. id is 1 to 64 letters, digits, - and _,
// and best never used before. It returns when that is durable. fault.InUse: there is one
// of this id. fault.Invalid: the id or the number of shards cannot be.
func (s *Store) Create(ctx context.Context, id string, created time.Time, shards int) (*Log, error) {
	const op = "create log"
	sec := created.Unix()
	switch {
	case !goodID(id):
		return nil, fault.New(fault.Invalid, op, clip(id), "the id is not one")
	case shards < 1 || shards > MaxShards:
		return nil, fault.New(fault.Invalid, op, id, fmt.Sprintf("%d shards; 1 to %d are possible", shards, MaxShards))
	case sec < 0 || sec >= maxCreated:
		return nil, fault.New(fault.Invalid, op, id, "the time of creation cannot be")
	}
	l := newLog(s, id, s.laneFor(id), sec)
	for _, d := range firstShards(shards, sec) {
		l.adopt(newShard(l, d))
	}
	if err := l.place(ctx, kindCreate, uint32(shards)); err != nil {
		l.unadopt()
		return nil, fault.Wrap(fault.KindOf(err), op, id, err)
	}
	err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM records_streams WHERE stream = ?", id).Scan(&n); err != nil || n > 0 {
			return errors.Join(err, fault.New(fault.InUse, op, id, "there is a log of this id"))
		}
		_, err := tx.Exec("INSERT INTO records_streams (stream, lane, born, created, map, state) VALUES (?, ?, ?, ?, ?, ?)",
			id, l.lane.no, int64(l.born), sec, l.shardMap().encode(), encodeState(nil))
		return err
	})
	if err != nil {
		l.unadopt()
		return nil, fault.Wrap(fault.KindOf(err), op, id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs[id] = l
	return l, nil
}

// firstShards returns n shards of equal width.
func firstShards(n int, created int64) []def {
	all := make([]def, n)
	for i := range all {
		all[i] = def{id: ShardID(i), parent: NoShard, adjacent: NoShard, from: uniform(i, n), to: MaxHashKey, created: created}
		if i > 0 {
			all[i-1].to = all[i].from.Prev()
		}
	}
	return all
}

func goodID(id string) bool {
	n, err := segment.ParseKey(segment.Name{Stream: id, Day: 20000101, First: 1, Last: 1}.Key())
	return err == nil && n.Stream == id && len(id) <= maxID
}

// laneFor spreads streams over the lanes.
func (s *Store) laneFor(id string) *owner {
	h := fnv.New32a()
	h.Write([]byte(id))
	return s.lanes[int(h.Sum32()%uint32(s.cfg.Lanes))]
}

// Log returns the log of a stream.
func (s *Store) Log(id string) (*Log, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	l, ok := s.logs[id]
	return l, ok
}

// all returns the logs there are now.
func (s *Store) all() []*Log {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		out = append(out, l)
	}
	return out
}

// Delete forgets a stream and all of its records; segments are deleted later. Who reads,
// waits or puts gets fault.NotFound. A stream that is not there is no error.
func (s *Store) Delete(ctx context.Context, id string) error {
	l, ok := s.Log(id)
	if !ok {
		return nil
	}
	if err := s.dropMaps(ctx, id, ""); err != nil {
		return fault.Wrap(fault.KindOf(err), "delete log", id, err)
	}
	if err := l.place(ctx, kindDelete, 0); err != nil {
		// It only tells a reindex; a full disk does not stop what frees it.
		s.cfg.Logger.Warn("the lane does not say that a stream is deleted", "stream", id, "err", err)
	}
	err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec("UPDATE records_segments SET state = ? WHERE stream = ? AND state = ?", segmentDeleted, id, segmentLive); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM records_streams WHERE stream = ?", id)
		return err
	})
	if err != nil {
		return fault.Wrap(fault.KindOf(err), "delete log", id, err)
	}
	s.mu.Lock()
	delete(s.logs, id)
	s.mu.Unlock()
	l.end()
	s.sweepSoon()
	return nil
}
