package fragments

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"penstock/internal/fault"
	"penstock/storage/meta"
)

// errNoRoom says that media was not written because what is left of the disk is kept for
// the metadata, without which nothing could be deleted.
var errNoRoom = fmt.Errorf("what is free is kept for the metadata: %w", syscall.ENOSPC)

// space asks how the disk stands: low is below what free the oldest video is deleted,
// floor down to what media may take it. A size that is not known is endless.
func (s *Store) space() (free, low, floor int64, err error) {
	total, free, err := s.cfg.FS.Space(s.cfg.Dir)
	if err != nil || total <= 0 {
		return math.MaxInt64, 0, 0, err
	}
	keep := s.minFree(total)
	owed := s.cfg.Meta.Owed()
	return free, keep + owed, keep/2 + owed, nil
}

// minFree is the space that has to stay free.
func (s *Store) minFree(total int64) int64 {
	if s.cfg.MinFree > 0 {
		return s.cfg.MinFree
	}
	return KeepFree(total)
}

// KeepFree is the space of a disk of total bytes below which the oldest video is deleted,
// before what is kept for the metadata.
func KeepFree(total int64) int64 { return min(256<<20, total/20) }

// claim takes n bytes of the disk for media that is about to be written; give them back
// once they are. errNoRoom: they are not there. The sweeper hears of it before that.
func (s *Store) claim(n int64) (back func(), err error) {
	s.mu.Lock()
	s.claimed += n
	claimed := s.claimed
	s.mu.Unlock()
	back = func() {
		s.mu.Lock()
		s.claimed -= n
		s.mu.Unlock()
	}
	free, low, floor, err := s.space()
	if err != nil {
		return back, nil //nolint:nilerr // the write will tell
	}
	if free-claimed < low {
		s.press()
	}
	if free-claimed < floor {
		back()
		return nil, errNoRoom
	}
	return back, nil
}

// pressEvery is how often writers call for room.
const pressEvery = time.Second

// press has the sweeper look at the disk now.
func (s *Store) press() {
	now := s.cfg.Clock.Now()
	s.mu.Lock()
	age := now.Sub(s.pressed)
	again := s.pressed.IsZero() || age < 0 || age >= pressEvery
	if again {
		s.pressed = now
	}
	s.mu.Unlock()
	if again {
		s.sweepWake.up()
	}
}

// retryNow lets the writers try again that wait after a failure.
func (s *Store) retryNow() {
	s.mu.Lock()
	logs := append([]*Log(nil), s.paused...)
	s.mu.Unlock()
	for _, l := range logs {
		l.mu.Lock()
		l.backoff = 0
		l.mu.Unlock()
	}
}

// One step of making room deletes freeShare of the time since the oldest video, and no
// more than freeStep: a small disk must not lose all that it has at once.
const (
	freeStep  = 10 * time.Minute
	freeShare = 8
)

// makeRoom deletes the oldest video of all streams, down to each one's guaranteed
// minimum, until the disk has room again. When every stream is at its minimum and there
// still is none, the oldest goes too: what happens now counts for more. What is kept stays.
func (s *Store) makeRoom(ctx context.Context) error {
	if s.files == nil {
		return nil // the media is elsewhere; the spool empties itself
	}
	for widen := int64(1); ; {
		free, low, _, err := s.space()
		if err != nil {
			return fault.Wrap(fault.Internal, "look for free space", s.cfg.Dir, err)
		}
		if free >= 2*low {
			return nil
		}
		now := s.cfg.Clock.Now()
		limit := now.Add(-max(s.cfg.Guarantee, 0)).UnixMicro()
		streams, at, err := s.oldest(ctx, limit)
		if err == nil && len(streams) == 0 && free < low {
			limit = now.UnixMicro()
			streams, at, err = s.oldest(ctx, limit)
		}
		if err != nil {
			return readFault("look for the oldest video", "", err)
		}
		if len(streams) == 0 {
			if free < low {
				s.closeAll() // all there is lies in open chunks, or is kept
			}
			return s.noteKept(ctx, free < low)
		}
		step := min((now.UnixMicro()-at[0])/freeShare, freeStep.Microseconds()) + 1
		horizon := min(at[0]+step*widen, limit)
		deleted, err := s.dropBefore(ctx, streams, at, horizon)
		if meta.IsFull(err) && horizon < limit && ctx.Err() == nil {
			// Objects went and the index could not follow. Where that made no room, they
			// were gone before, and who fills the disk has it: those behind them are next.
			if now, _, _, err := s.space(); err == nil && now <= free {
				widen++
			}
			continue
		}
		if err != nil {
			return err
		}
		if deleted == 0 {
			if horizon == limit {
				return nil
			}
			widen *= 2 // the step was shorter than a chunk
			continue
		}
		widen = 1
		s.mu.Lock()
		s.fullKept = 0
		s.mu.Unlock()
		s.retryNow()
		s.cfg.Logger.Warn("the oldest video was deleted because the disk is full", "fragments", deleted, "until", micro(horizon))
	}
}

// noteKept notes how much is kept when nothing else is left to delete on a full disk.
func (s *Store) noteKept(ctx context.Context, stuck bool) error {
	kept := int64(0)
	if stuck {
		t, err := s.cat.sums(ctx, "")
		if err != nil {
			return err
		}
		kept = t.Kept
	}
	s.mu.Lock()
	tell := kept > 0 && s.fullKept == 0
	s.fullKept = kept
	s.mu.Unlock()
	if tell {
		s.cfg.Logger.Error("the disk is full and all video is deleted but what is kept: add space, or let go of some of that", "kept", kept)
	}
	return nil
}

// trimAtOnce is how many streams are trimmed at once: their commits are one.
const trimAtOnce = 32

// dropBefore deletes what ends at or before horizon of the streams whose oldest is at an
// instant before it. at rises.
func (s *Store) dropBefore(ctx context.Context, streams []string, at []int64, horizon int64) (int, error) {
	due, _ := slices.BinarySearch(at, horizon)
	next := make(chan string, due)
	for _, stream := range streams[:due] {
		next <- stream
	}
	close(next)
	var (
		wg      sync.WaitGroup
		deleted atomic.Int64
		mu      sync.Mutex
		failed  error
	)
	for range min(trimAtOnce, due) {
		wg.Go(func() {
			for stream := range next {
				n, err := s.dropOf(ctx, stream, horizon)
				deleted.Add(int64(n))
				mu.Lock()
				failed = cmp.Or(failed, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return int(deleted.Load()), failed
	}
	return int(deleted.Load()), s.emptyTrash(ctx)
}

func (s *Store) dropOf(ctx context.Context, stream string, horizon int64) (int, error) {
	l := s.Log(stream, nil)
	if err := l.load(ctx); err != nil {
		return 0, err
	}
	l.look(horizon)
	return s.trimLog(ctx, l)
}

// closeAll closes the open chunks, so that their media can be deleted.
func (s *Store) closeAll() {
	for _, l := range s.allLogs() {
		l.mu.Lock()
		for _, c := range l.chunks {
			if !c.full && c.dead == nil && !c.inHand && len(c.entries) > 0 {
				s.retire(c)
			}
		}
		l.mu.Unlock()
	}
}

// oldest returns the streams whose oldest stored media began before an instant, oldest
// first.
func (s *Store) oldest(ctx context.Context, before int64) ([]string, []int64, error) {
	rows, err := s.cfg.Meta.Read().QueryContext(ctx, `SELECT stream, min(at) FROM (
			SELECT stream, first AS at FROM fragments_chunks WHERE state = 1
			UNION ALL SELECT stream, max(first, trimmed) FROM fragments_index)
		GROUP BY stream HAVING min(at) < ? ORDER BY 2`, before)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var streams []string
	var at []int64
	for rows.Next() {
		var stream string
		var first int64
		if err := rows.Scan(&stream, &first); err != nil {
			return nil, nil, err
		}
		streams, at = append(streams, stream), append(at, first)
	}
	return streams, at, rows.Err()
}
