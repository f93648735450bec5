package meta

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// reserveMost is the default reserve: a log of SQLite's that grew long, a database
	// that grew by as much, and room left.
	reserveMost = 32 << 20
	// reserveShare is the part of a small file system that the reserve takes at most.
	reserveShare = 64
	// reserveAgain is how often a reserve that was given up is tried to be taken back.
	reserveAgain = time.Second
)

// reserve is space on the disk that nobody but this store can have, while it is held. It
// belongs to the writer goroutine, and to Open before that.
type reserve struct {
	cfg   Config
	name  string
	size  int64
	held  bool
	tried time.Time
	owed  atomic.Int64 // the size while it is not held
}

func newReserve(cfg Config) *reserve {
	name := filepath.ToSlash(cfg.Path) + "-reserve"
	r := &reserve{cfg: cfg, name: name, size: cfg.Reserve}
	if r.size == 0 {
		r.size = reserveMost
		if total, _, err := cfg.FS.Space(path.Dir(name)); err == nil && total < math.MaxInt64 {
			r.size = min(r.size, total/reserveShare)
		}
	}
	if r.size > 0 {
		_, err := cfg.FS.Stat(name)
		r.held = err == nil
	}
	r.owe()
	return r
}

// owe notes what others should leave free for the reserve to be taken back.
func (r *reserve) owe() {
	owed := int64(0)
	if !r.held {
		owed = max(r.size, 0)
	}
	r.owed.Store(owed)
}

// look gives the reserve up while there still is a little room, or takes it back when
// there is plenty.
func (r *reserve) look() {
	if r.size <= 0 {
		return
	}
	now := r.cfg.Clock.Now()
	since := now.Sub(r.tried)
	again := since < 0 || since >= reserveAgain
	if !r.held && !again {
		return
	}
	if r.held && again {
		r.tried = now
		if _, err := r.cfg.FS.Stat(r.name); errors.Is(err, fs.ErrNotExist) {
			r.held = false // a command beside the server gave it up
			r.owe()
		}
	}
	_, free, err := r.cfg.FS.Space(path.Dir(r.name))
	switch {
	case err != nil: // the commit will tell
	case r.held && free < r.size/2:
		r.giveUp()
	case !r.held:
		r.tried = now
		if free >= 2*r.size {
			r.take()
		}
	}
}

// take makes the file. Part of a reserve is worse than none: others would count on it.
func (r *reserve) take() {
	f, err := r.cfg.FS.OpenFile(r.name, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = errors.Join(f.Allocate(r.size), f.Truncate(r.size), f.Sync(), f.Close())
	}
	if err != nil {
		err = errors.Join(err, r.remove())
		r.cfg.Logger.Debug("the metadata's reserve cannot be taken", "object", r.name, "err", err)
		return
	}
	r.held = true
	r.owe()
}

// giveUp gives the reserved space to the database; false: it was given before.
func (r *reserve) giveUp() bool {
	if !r.held {
		return false
	}
	if err := r.remove(); err != nil {
		r.cfg.Logger.Error("the metadata's reserve cannot be given up", "object", r.name, "err", err)
		return false
	}
	r.held, r.tried = false, r.cfg.Clock.Now()
	r.owe()
	r.cfg.Logger.Warn("the disk is full: the metadata goes on from its reserve", "object", r.name, "bytes", r.size)
	return true
}

// remove removes the file; the sync makes file systems with a journal hand out its space.
func (r *reserve) remove() error {
	if err := r.cfg.FS.Remove(r.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return r.cfg.FS.SyncDir(path.Dir(r.name))
}

// Owed returns how many bytes of the disk others should leave free beside what they need
// themselves, so that a reserve that was given up can be taken back; 0 while it is held.
// It may be called at once with everything.
func (db *DB) Owed() int64 { return db.spare.owed.Load() }

// IsFull reports whether err, of Write, says that the disk or the quota is used up.
func IsFull(err error) bool {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return true
	}
	var se *sqlite.Error
	return errors.As(err, &se) && se.Code()&0xff == sqlite3.SQLITE_FULL
}

// mayBeFull is IsFull, and what else SQLite makes of a used-up quota or of a full disk
// below its shared memory.
func mayBeFull(err error) bool {
	var se *sqlite.Error
	if errors.As(err, &se) {
		switch se.Code() {
		case sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_SHMSIZE:
			return true
		}
	}
	return IsFull(err)
}
