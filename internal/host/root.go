package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Root is the machine's file system below one directory: what a name leads out of it,
// by dots or by a link, the kernel is never asked for. Directories above may be synced and
// measured. Its methods may be called at once.
type Root struct {
	dir  string
	root *os.Root
}

var _ FS = (*Root)(nil)

// OpenRoot opens dir, which must exist, and may itself be a link. Names are given as they
// would be to OS: dir joined with what is below.
func OpenRoot(dir string) (*Root, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Root{dir: filepath.Clean(dir), root: r}, nil
}

// Close lets the directory go; files that are open stay so.
func (r *Root) Close() error { return r.root.Close() }

var errOutside = errors.New("is not in the data directory")

// below returns name as the root has it.
func (r *Root) below(op, name string) (string, error) {
	rel, err := filepath.Rel(r.dir, filepath.Clean(name))
	if err != nil || !filepath.IsLocal(rel) {
		return "", &fs.PathError{Op: op, Path: name, Err: errOutside}
	}
	return rel, nil
}

// OpenFile opens name as os.OpenFile does.
func (r *Root) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	rel, err := r.below("open", name)
	if err != nil {
		return nil, err
	}
	f, err := r.root.OpenFile(rel, flag, perm)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

// MkdirAll makes name and its parents below the root.
func (r *Root) MkdirAll(name string, perm fs.FileMode) error {
	rel, err := r.below("mkdir", name)
	if err != nil || rel == "." {
		return err
	}
	return r.root.MkdirAll(rel, perm)
}

// Rename moves from to to, replacing it.
func (r *Root) Rename(from, to string) error {
	a, err := r.below("rename", from)
	if err != nil {
		return err
	}
	b, err := r.below("rename", to)
	if err != nil {
		return err
	}
	return r.root.Rename(a, b)
}

// Remove removes a file or an empty directory.
func (r *Root) Remove(name string) error {
	rel, err := r.below("remove", name)
	if err != nil {
		return err
	}
	return r.root.Remove(rel)
}

// ReadDir lists name, sorted by file name.
func (r *Root) ReadDir(name string) ([]fs.DirEntry, error) {
	rel, err := r.below("open", name)
	if err != nil {
		return nil, err
	}
	d, err := r.root.Open(rel)
	if err != nil {
		return nil, err
	}
	list, err := d.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, errors.Join(err, d.Close())
}

// Stat describes name.
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	rel, err := r.below("stat", name)
	if err != nil {
		return nil, err
	}
	return r.root.Stat(rel)
}

// SyncDir syncs the directory name, which may be above the root: that makes the root's own
// name durable.
func (r *Root) SyncDir(name string) error {
	rel, err := r.below("sync", name)
	if err != nil {
		return OS{}.SyncDir(name)
	}
	d, err := r.root.Open(rel)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Space is that of OS.
func (r *Root) Space(name string) (total, free int64, err error) { return OS{}.Space(name) }
