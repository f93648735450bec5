// Package disk keeps each object in a file of its own: a storage.Bucket and FileBucket
// on a local file system.
//
// The key is the path below Config.Dir. A file becomes an object by write, sync, rename
// and sync of the directories, so a power cut leaves an object whole or absent. Files
// whose names begin with a dot are not objects: no key can name them. One process uses
// the directory at a time; it does not look for a second.
package disk

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
)

// tmpSuffix marks what Put has not finished; Open removes what a crash left of it.
const tmpSuffix = ".put"

// copyBlock is how much of an object is in memory while it is stored.
const copyBlock = 1 << 20

// maxKnownDirs bounds the directories remembered as durable; past it all are forgotten
// and synced once more.
const maxKnownDirs = 4096

// The operations, as errors name them.
const (
	opOpen   = "open bucket"
	opPut    = "put object"
	opAdopt  = "adopt object"
	opGet    = "get object"
	opList   = "list objects"
	opDelete = "delete object"
)

// Config says where the objects are.
type Config struct {
	Dir string // made if missing, and its parents; required
	// Tmp holds what is being written; it must be on Dir's file system. "": Dir/.tmp
	Tmp string
	FS  host.FS // nil: host.OS
}

// Bucket is a storage.FileBucket. Its methods may be called at once.
type Bucket struct {
	fs       host.FS
	dir, tmp string

	// place is held for writing while empty directories are removed, and for reading by
	// a Put that has already lost its directory to that once.
	place sync.RWMutex

	mu    sync.Mutex // taken under place
	known map[string]struct{}
	busy  map[string]struct{} // keys being put
	seq   uint64              // names temporary files
	gen   uint64              // counts removals of directories: known may have shrunk
}

var _ storage.FileBucket = (*Bucket)(nil)

// Open makes the directories durable and removes what unfinished Puts left. Its cost
// does not depend on what is stored.
func Open(ctx context.Context, cfg Config) (*Bucket, error) {
	if cfg.Dir == "" {
		return nil, fault.New(fault.Invalid, opOpen, "", "Dir is empty")
	}
	cfg.FS = cmp.Or[host.FS](cfg.FS, host.OS{})
	b := &Bucket{
		fs: cfg.FS, dir: path.Clean(cfg.Dir), tmp: path.Clean(cfg.Tmp),
		known: map[string]struct{}{}, busy: map[string]struct{}{},
	}
	if cfg.Tmp == "" {
		b.tmp = path.Join(b.dir, ".tmp")
	}
	for _, dir := range []string{b.dir, b.tmp} {
		if err := b.fs.MkdirAll(dir, 0o750); err != nil {
			return nil, classify(opOpen, dir, err)
		}
		for at := dir; at != path.Dir(at); at = path.Dir(at) {
			err := b.fs.SyncDir(path.Dir(at))
			if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EINVAL) {
				break // a directory that we may not open or sync is not one that we made
			}
			if err != nil {
				return nil, classify(opOpen, path.Dir(at), err)
			}
		}
	}
	left, err := b.fs.ReadDir(b.tmp)
	if err != nil {
		return nil, classify(opOpen, b.tmp, err)
	}
	for _, e := range left {
		if err := storage.CheckContext(ctx, opOpen, b.tmp); err != nil {
			return nil, err
		}
		if strings.HasSuffix(e.Name(), tmpSuffix) && !e.IsDir() {
			if err := b.fs.Remove(path.Join(b.tmp, e.Name())); err != nil {
				return nil, classify(opOpen, e.Name(), err)
			}
		}
	}
	return b, nil
}

// Path returns the file that holds key, or "" for an invalid key.
func (b *Bucket) Path(key string) string {
	if storage.CheckKey("", key) != nil {
		return ""
	}
	return path.Join(b.dir, key)
}

// Get opens the file; ctx is asked again before each read.
func (b *Bucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := storage.CheckGet(ctx, opGet, key, off); err != nil {
		return nil, err
	}
	st, err := b.fs.Stat(b.Path(key))
	if err == nil && st.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, classify(opGet, key, err)
	}
	f, err := b.fs.OpenFile(b.Path(key), os.O_RDONLY, 0)
	if err != nil {
		return nil, classify(opGet, key, err)
	}
	if n < 0 || n > st.Size()-off {
		n = max(st.Size()-off, 0)
	}
	return &reader{ctx: ctx, key: key, f: f, r: io.NewSectionReader(f, off, n), left: n}, nil
}

// reader reads one object.
type reader struct {
	ctx  context.Context
	key  string
	f    host.File
	r    *io.SectionReader
	left int64
}

// Read reads on; a file shorter than it was when opened is an error, not an end.
func (r *reader) Read(p []byte) (int, error) {
	if err := storage.CheckContext(r.ctx, opGet, r.key); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	r.left -= int64(n)
	if err == io.EOF {
		if r.left > 0 {
			return n, fault.Wrap(fault.Internal, opGet, r.key, io.ErrUnexpectedEOF)
		}
		return n, io.EOF
	}
	return n, classify(opGet, r.key, err)
}

// Close closes the file.
func (r *reader) Close() error { return classify(opGet, r.key, r.f.Close()) }

// classify gives the file system's errors a kind and, where a person can help, a hint.
func classify(op, key string, err error) error {
	if err == nil {
		return nil
	}
	e := &fault.Error{Kind: fault.Internal, Op: op, Resource: key, Err: err}
	switch {
	case op == opGet || op == opDelete:
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return fault.New(fault.NotFound, op, key, "no such object")
		}
	case errors.Is(err, syscall.ENOTDIR):
		return fault.New(fault.InUse, op, key, "a key is a directory of another")
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Hint = fault.Unavailable, "the data directory is gone: mount it and start again"
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Kind, e.Hint = fault.Unavailable, "the disk is full: free space or shorten the retention of a stream"
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EROFS):
		e.Kind, e.Hint = fault.Unavailable, "the disk reports errors: look at the kernel log"
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Hint = fault.Denied, "check that this user may read and write the data directory"
	}
	return e
}
