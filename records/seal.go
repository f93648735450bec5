package records

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"penstock/internal/fault"
	"penstock/records/segment"
	"penstock/storage"
)

// Sealing moves records from the lane to segments:
//
//  1. rows that announce the objects, so that a crash leaves none that nobody knows
//  2. the objects
//  3. in one transaction: the rows hold records, the state of the streams, and up to where
//     the lane is sealed
//  4. readers find the records in the segments
//  5. the lane may forget them
//
// A crash before 3 leaves objects that are deleted before the next sealing; one behind it
// leaves nothing but a longer lane. docs/design/records.md.

// sealRetry is how long a sealing that failed waits before it is tried again.
const sealRetry = 2 * time.Second

// sealLoop moves records from the lane to segments.
func (o *owner) sealLoop(ctx context.Context) {
	clock, log := o.store.cfg.Clock, o.store.cfg.Logger
	look := clock.NewTimer(o.store.cfg.SealAfter / 8)
	defer look.Stop()
	failing := false
	for {
		wait := o.store.cfg.SealAfter / 8
		for upto := o.toSeal(clock.Now()); upto > 0 && ctx.Err() == nil; upto = o.toSeal(clock.Now()) {
			began := clock.Now()
			err := o.seal(ctx, upto)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				if !failing {
					log.Error("records are not sealed; it is tried again", "lane", o.no, "err", err, "hint", fault.HintOf(err))
				}
				failing = true
				o.store.met.sealFailed.Inc()
				wait = min(sealRetry, wait)
				break
			}
			if failing {
				failing = false
				log.Info("records are sealed again", "lane", o.no)
			}
			o.store.met.sealSeconds.Observe(clock.Now().Sub(began).Seconds())
		}
		look.Reset(wait)
		select {
		case <-o.due:
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// toSeal returns up to where the lane is to be sealed now; 0: not at all.
func (o *owner) toSeal(now time.Time) storage.LSN {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.oldest.After(now) { // the clock was set back
		o.oldest = now
	}
	if len(o.marks) == 0 && !o.oldest.IsZero() && now.Sub(o.oldest) >= o.store.cfg.SealAfter {
		o.mark()
	}
	o.store.met.unsealed.Set(float64(len(o.marks)))
	if len(o.marks) == 0 {
		return 0
	}
	return o.marks[0].lsn
}

// batchOf is what a sealing takes from one log.
type batchOf struct {
	log  *Log
	name segment.Name
	key  string
	runs []run
	seg  *sealedSegment // once it is written
	info segment.Info
	far  map[ShardID]reached
	sum  uint32 // of the map in the bucket
	gone bool   // the stream was deleted meanwhile
}

// run is what a sealing takes from one shard.
type run struct {
	sh   *shard
	exts []ext
}

// Seal moves what is in the lanes to segments now, instead of when it is time. Run need not
// be running.
func (s *Store) Seal(ctx context.Context) error {
	for _, o := range s.lanes {
		o.mu.Lock()
		if !o.oldest.IsZero() {
			o.mark()
		}
		upto := storage.LSN(0)
		if n := len(o.marks); n > 0 {
			upto = o.marks[n-1].lsn
		}
		o.mu.Unlock()
		if upto == 0 {
			continue
		}
		if err := o.seal(ctx, upto); err != nil {
			return err
		}
	}
	return nil
}

// seal moves what lies before upto to segments.
func (o *owner) seal(ctx context.Context, upto storage.LSN) error {
	o.sealing.Lock()
	defer o.sealing.Unlock()
	o.mu.Lock()
	done := upto <= o.sealed
	o.mu.Unlock()
	if done {
		return nil
	}
	if err := o.store.dropIntents(ctx, o.no); err != nil {
		return err
	}
	work := o.collect(upto)
	if err := o.store.intend(ctx, work); err != nil {
		return err
	}
	for _, w := range work {
		err := o.write(ctx, w)
		if err == nil {
			err = o.storeMap(ctx, w)
		}
		if err != nil {
			return fault.Wrap(fault.KindOf(err), "seal records of", w.log.id, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	lasting := context.WithoutCancel(ctx) // once it has begun only its outcome counts
	if err := o.store.cfg.Meta.Write(lasting, func(tx *sql.Tx) error { return o.settle(tx, work, upto) }); err != nil {
		for _, w := range work {
			w.log.dirty()
		}
		return err
	}
	for _, w := range work {
		w.log.swap(w, upto)
		if w.seg != nil {
			o.store.met.segments.WithLabelValues("sealed").Inc()
		}
		keep := w.mapKey()
		if w.gone {
			keep = ""
		}
		if w.gone || w.sum != w.log.stored {
			w.log.stored = w.sum
			if err := o.store.dropMaps(ctx, w.log.id, keep); err != nil {
				o.store.cfg.Logger.Warn("older maps of shards stay in the bucket", "stream", w.log.id, "err", err)
			}
		}
	}
	o.mu.Lock()
	o.sealed = upto
	for len(o.marks) > 0 && o.marks[0].lsn <= upto {
		o.marks = o.marks[1:]
	}
	o.mu.Unlock()
	if err := o.lane.Trim(ctx, upto); err != nil {
		o.store.cfg.Logger.Warn("the lane keeps what is sealed; the next sealing tries again", "lane", o.no, "err", err)
	}
	return nil
}

// collect returns what lies before upto, by log.
func (o *owner) collect(upto storage.LSN) []*batchOf {
	var work []*batchOf
	for _, l := range o.store.all() {
		if l.lane != o {
			continue
		}
		w := &batchOf{log: l, far: map[ShardID]reached{}}
		oldest := int64(0)
		for _, sh := range l.view.Load().shards {
			sh.rmu.Lock()
			n := sh.before(upto)
			exts := sh.exts[:n:n]
			sh.rmu.Unlock()
			if n == 0 {
				continue
			}
			if oldest == 0 || exts[0].arrival < oldest {
				oldest = exts[0].arrival
			}
			w.runs = append(w.runs, run{sh, exts})
		}
		if len(w.runs) == 0 && !l.isDirty() && l.stored == sumOf(l.shardMap().encode()) {
			continue
		}
		w.name = segment.Name{Stream: l.id, Day: segment.DayOf(oldest), Lane: uint32(o.no), First: uint64(o.sealed), Last: uint64(upto - 1)}
		w.key = w.name.Key()
		work = append(work, w)
	}
	return work
}

// before returns how many exts lie before upto. Under rmu.
func (sh *shard) before(upto storage.LSN) int {
	n := 0
	for n < len(sh.exts) && sh.exts[n].lsn < upto {
		n++
	}
	return n
}

func (l *Log) isDirty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mapDirty
}

// intend announces the objects that are about to be written.
func (s *Store) intend(ctx context.Context, work []*batchOf) error {
	return s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for _, w := range work {
			if len(w.runs) == 0 {
				continue
			}
			if err := announce(tx, w.name); err != nil {
				return err
			}
		}
		return nil
	})
}

func announce(tx *sql.Tx, n segment.Name) error {
	_, err := tx.Exec(`INSERT INTO records_segments (key, stream, lane, level, first, last, state, size, records, raw, oldest, newest, shards)
		VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, 0, x'')`, n.Key(), n.Stream, n.Lane, n.Level, int64(n.First), int64(n.Last), segmentIntended)
	return err
}

// dropIntents deletes what a sealing of the lane left that did not come to its end.
func (s *Store) dropIntents(ctx context.Context, lane int) error {
	return s.dropState(ctx, "state = ? AND level = 0 AND lane = ?", segmentIntended, lane)
}

// dropState deletes the objects of the rows that match, then the rows.
func (s *Store) dropState(ctx context.Context, where string, args ...any) error {
	var keys []string
	rows, err := s.cfg.Meta.Read().QueryContext(ctx, "SELECT key FROM records_segments WHERE "+where+" LIMIT 1000", args...)
	if err != nil {
		return err
	}
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return errors.Join(err, rows.Close())
		}
		keys = append(keys, key)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(keys) == 0 {
		return err
	}
	if err := s.cfg.Bucket.Delete(ctx, keys...); err != nil {
		return err
	}
	return s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for _, key := range keys {
			if _, err := tx.Exec("DELETE FROM records_segments WHERE key = ?", key); err != nil {
				return err
			}
		}
		return nil
	})
}

// settle is the transaction that moves the records: before it they are the lane's, behind
// it the segments'.
func (o *owner) settle(tx *sql.Tx, work []*batchOf, upto storage.LSN) error {
	for _, w := range work {
		var there int
		if err := tx.QueryRow("SELECT count(*) FROM records_streams WHERE stream = ?", w.log.id).Scan(&there); err != nil {
			return err
		}
		if w.seg != nil {
			state := segmentLive
			if there == 0 {
				state = segmentDeleted
			}
			if err := w.seg.record(tx, &w.info, state); err != nil {
				return err
			}
		}
		if w.gone = there == 0; w.gone {
			continue
		}
		if _, err := tx.Exec("UPDATE records_streams SET state = ?, stored = ? WHERE stream = ?", w.log.state(w.far), w.sum, w.log.id); err != nil {
			return err
		}
		if w.log.isDirty() {
			if err := w.log.writeMap(tx); err != nil {
				return err
			}
		}
	}
	_, err := tx.Exec("INSERT INTO records_lanes (lane, sealed) VALUES (?, ?) ON CONFLICT (lane) DO UPDATE SET sealed = excluded.sealed", o.no, int64(upto))
	return err
}

// state returns the blob of how far the shards are sealed, far being what changes.
func (l *Log) state(far map[ShardID]reached) []byte {
	var all []reached
	for _, sh := range l.view.Load().shards {
		r, ok := far[sh.id]
		if !ok {
			sh.rmu.Lock()
			r = reached{id: sh.id, index: sh.sealed, at: sh.sealedAt}
			sh.rmu.Unlock()
		}
		if r.least = sh.least; r.index > 0 || r.least > 1 {
			all = append(all, r)
		}
	}
	return encodeState(all)
}

// swap lets readers find the records in their segment.
func (l *Log) swap(w *batchOf, upto storage.LSN) {
	at := 0
	for _, run := range w.runs {
		sh := run.sh
		for at < len(w.info.Shards) && w.info.Shards[at].ID < uint32(sh.id) {
			at++
		}
		sh.rmu.Lock()
		if at < len(w.info.Shards) && w.info.Shards[at].ID == uint32(sh.id) {
			held := &w.info.Shards[at]
			sh.refs = append(sh.refs, ref{w.seg, held.First, held.Last, held.LastArrival})
		}
		sh.exts = append([]ext(nil), sh.exts[sh.before(upto):]...)
		far := w.far[sh.id]
		sh.sealed, sh.sealedAt = far.index, far.at
		sh.rmu.Unlock()
	}
	if w.seg != nil {
		l.mu.Lock()
		l.segs = append(l.segs, w.seg)
		l.mu.Unlock()
	}
}

// write makes the segment of one log.
func (o *owner) write(ctx context.Context, w *batchOf) error {
	if len(w.runs) == 0 {
		return nil
	}
	c := segment.Config{Name: w.name, Plain: o.store.cfg.Plain, Rand: o.store.cfg.Rand}
	if err := w.log.keyFor(ctx, &c); err != nil {
		return err
	}
	info, err := o.store.makeSegment(ctx, fmt.Sprintf("seal-%d", o.no), c, w.key, func(out *segment.Writer) (segment.Info, error) {
		any := false
		for _, run := range w.runs {
			n, err := o.copyRun(ctx, out, &run, w.far)
			if err != nil {
				return segment.Info{}, err
			}
			any = any || n > 0
		}
		if !any { // all of it is damaged
			return segment.Info{}, nil
		}
		return out.Finish()
	})
	if err != nil {
		return err
	}
	if info.Records > 0 {
		w.info, w.seg = info, newSealed(&info)
	}
	return nil
}

// keyFor has a segment encrypted when its log's records are.
func (l *Log) keyFor(ctx context.Context, c *segment.Config) error {
	if !l.secret.Load() && !l.encrypted.Load() {
		return nil
	}
	key, err := l.store.keys.of(ctx, l.id)
	if err != nil {
		return err
	}
	c.AEAD, c.KeyID = key.aead, key.id
	return nil
}

// copyRun adds a shard's records to a segment. What is damaged in the lane is left out,
// and told: readers meet the gap.
func (o *owner) copyRun(ctx context.Context, out *segment.Writer, run *run, far map[ShardID]reached) (added int, err error) {
	sh := run.sh
	if err := out.Begin(sh.about()); err != nil {
		return 0, err
	}
	end := &run.exts[len(run.exts)-1]
	at := end.arrival
	for i := range run.exts {
		e := &run.exts[i]
		err := o.each(ctx, sh, e, true, func(h *header, rows []byte) error {
			at, added = max(at, h.arrival), added+int(h.count)
			return addRows(out, h, rows)
		})
		if err == nil {
			continue
		}
		if !isDamage(err) {
			return added, err
		}
		o.store.met.damaged.Inc()
		o.store.cfg.Logger.Error("records in the lane are lost", "lane", o.no, "stream", sh.log.id, "shard", sh.id.String(),
			"batch", uint64(e.lsn), "offset", e.off, "first", e.first, "count", e.count, "err", err)
	}
	far[sh.id] = reached{id: sh.id, index: end.first + uint64(end.count) - 1, at: at}
	return added, nil
}

// isDamage reports whether an error is about bytes that are not what was written.
func isDamage(err error) bool {
	var (
		f flaw
		l *storage.Damage
		s *segment.Damage
	)
	return errors.As(err, &f) || errors.As(err, &l) || errors.As(err, &s)
}

// addRows adds an entry's records to a segment.
func addRows(out *segment.Writer, h *header, rows []byte) error {
	r := segment.Record{Index: h.first, Arrival: h.arrival}
	if h.flags&flagSealed != 0 {
		r.Flags = segment.Sealed
	}
	for ; len(rows) > 0; r.Index++ {
		var err error
		if r.Key, r.Data, rows, err = nextRow(rows); err != nil {
			return err
		}
		if err := out.Add(&r); err != nil {
			return err
		}
	}
	return nil
}
