// Package crashfs is a file system in memory that can lose power.
//
// It keeps apart what was written and what was synced: Crash gives back the disk as it
// may look afterwards, where any subset of the unsynced pages survived, some of them
// torn between sectors, and unsynced creations, renames and removals happened or did
// not. It also fails, fills up and stalls on request, and counts its operations so that
// a test can cut the power at each of them in turn:
//
//	for k := int64(1); ; k++ {
//		fsys := crashfs.New(crashfs.Config{})
//		fsys.CrashAt(k)
//		workload(fsys)
//		if !fsys.Crashed() {
//			break // the workload has fewer than k operations
//		}
//		check(fsys.Crash(rand.New(rand.NewPCG(seed, uint64(k)))))
//	}
//
// What it assumes of a disk: a sector of 512 bytes is written whole or not at all; a
// rename is one step even between directories, as a journal makes it; Sync makes a
// file's data and size durable, not its name; SyncDir makes the entries of that one
// directory durable, not the directory's own entry in its parent. After a failed Sync
// the unsynced data is in doubt for good: a later Sync that succeeds does not save it
// (https://www.usenix.org/conference/atc20/presentation/rebello).
package crashfs

import (
	"cmp"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"penstock/internal/host"
)

// ErrCrashed is what every operation returns once the power is gone, also wrapped in
// an *fs.PathError.
var ErrCrashed = errors.New("the power is gone")

// The units in which a disk forgets.
const (
	PageSize   = 4096 // pages are written back one by one, in any order
	SectorSize = 512  // a page may be torn between sectors
)

// Config describes the disk. The zero value is an endless one.
type Config struct {
	Capacity int64      // bytes of file data it holds; 0: endless
	Clock    host.Clock // stamps modification times; nil: host.System
}

// FS is one running machine's view of the disk. It implements host.FS. All methods may
// be called at once. A given sequence of operations and a given random source always
// give the same result.
type FS struct {
	d *disk
	// gone is closed when this view lost its machine, by power cut or kill.
	gone chan struct{}
	end  sync.Once

	mu     sync.Mutex // never held together with disk.mu
	ops    int64
	cutAt  int64 // the operation at which the power goes; 0: none
	rules  []*rule
	stalls []*stall
	hook   func(Op) error
}

var _ host.FS = (*FS)(nil)

// New returns an empty disk with a durable root directory. Names are relative to it
// with or without a leading slash.
func New(cfg Config) *FS {
	cfg.Clock = cmp.Or[host.Clock](cfg.Clock, host.System{})
	cfg.Capacity = cmp.Or(cfg.Capacity, math.MaxInt64)
	return newFS(&disk{cfg: cfg, root: newDir(), open: map[*handle]struct{}{}})
}

func newFS(d *disk) *FS { return &FS{d: d, gone: make(chan struct{})} }

// Crash cuts the power, if CrashAt has not yet, and returns the disk as the next boot
// may find it, chosen by rng. It may be called again for another possible outcome of the
// same cut. Every operation on the old view, stalled ones too, ends with ErrCrashed.
func (f *FS) Crash(rng *rand.Rand) *FS {
	f.cut()
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return newFS(f.d.afterCrash(rng))
}

// Kill ends the process but not the machine, as kill -9 does: the new view sees all that
// was written, and what was not synced is still not synced. Open files are gone.
func (f *FS) Kill() *FS {
	f.cut()
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.dropHandles()
	return newFS(f.d)
}

// Crashed reports whether the power is gone.
func (f *FS) Crashed() bool {
	select {
	case <-f.gone:
		return true
	default:
		return false
	}
}

// cut ends this view.
func (f *FS) cut() { f.end.Do(func() { close(f.gone) }) }

// clean turns any spelling of a name into the parts below the root.
func clean(name string) []string {
	name = strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(name)), "/")
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}
