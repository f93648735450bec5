package crashfs

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"penstock/internal/host"
)

// lock takes the disk's mutex while the machine runs.
func (f *FS) lock() error {
	f.d.mu.Lock()
	if f.Crashed() {
		f.d.mu.Unlock()
		return ErrCrashed
	}
	return nil
}

// stat finds the node of name.
func (f *FS) stat(name string) (*node, error) {
	if err := f.lock(); err != nil {
		return nil, err
	}
	defer f.d.mu.Unlock()
	return f.d.walk(clean(name))
}

// OpenFile opens or makes a file. os.O_APPEND is refused, as WriteAt refuses it.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (host.File, error) {
	h, err := f.openFile(name, flag, perm)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return h, nil
}

func (f *FS) openFile(name string, flag int, perm fs.FileMode) (*handle, error) {
	if flag&os.O_APPEND != 0 {
		return nil, fs.ErrInvalid
	}
	var (
		v       verdict
		writing = flag&(os.O_WRONLY|os.O_RDWR) != 0
		n, err  = f.stat(name)
		missing = err != nil
	)
	switch {
	case missing && flag&os.O_CREATE != 0:
		v, err = f.begin(Op{Kind: Create, Name: name})
	case missing:
		return nil, err
	case n.dir:
		return nil, syscall.EISDIR
	case flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case writing && flag&os.O_TRUNC != 0:
		v, err = f.begin(Op{Kind: Truncate, Name: name})
	}
	if err != nil {
		return nil, err
	}
	if err := f.lock(); err != nil {
		return nil, err
	}
	defer f.d.mu.Unlock()
	if v.fail != nil {
		return nil, v.result(f, v.fail)
	}
	n, err = f.d.openNode(clean(name), flag, perm)
	if err := v.result(f, err); err != nil {
		return nil, err
	}
	h := &handle{f: f, n: n, name: name, read: flag&os.O_WRONLY == 0, write: writing}
	n.handles++
	f.d.open[h] = struct{}{}
	return h, nil
}

// openNode finds, makes or truncates a file as flag says.
func (d *disk) openNode(parts []string, flag int, perm fs.FileMode) (*node, error) {
	dir, last, err := d.parent(parts)
	if err != nil {
		return nil, err
	}
	n := dir.seen[last]
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		return nil, fs.ErrNotExist
	case n == nil:
		n = &node{mode: perm.Perm(), mod: d.cfg.Clock.Now()}
		d.link(dir, last, n, nil, "")
	case n.dir:
		return nil, syscall.EISDIR
	case flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, fs.ErrExist
	case flag&os.O_TRUNC != 0 && flag&(os.O_WRONLY|os.O_RDWR) != 0 && (len(n.data) > 0 || len(n.pending) > 0):
		d.edit(n, &edit{})
	}
	return n, nil
}

// MkdirAll makes name and its parents; each one made is an operation.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	parts := clean(name)
	for i := range parts {
		if err := f.mkdir(parts[:i+1], perm); err != nil {
			return pathError("mkdir", name, err)
		}
	}
	return nil
}

func (f *FS) mkdir(parts []string, perm fs.FileMode) error {
	name := path.Join(parts...)
	if n, err := f.stat(name); err == nil {
		if !n.dir {
			return syscall.ENOTDIR
		}
		return nil
	} else if f.Crashed() {
		return err
	}
	v, err := f.begin(Op{Kind: Mkdir, Name: name})
	if err != nil {
		return err
	}
	if err := f.lock(); err != nil {
		return err
	}
	defer f.d.mu.Unlock()
	if v.fail != nil {
		return v.result(f, v.fail)
	}
	dir, last, err := f.d.parent(parts)
	if err != nil {
		return v.result(f, err)
	}
	if dir.seen[last] == nil {
		n := newDir()
		n.mode, n.mod = fs.ModeDir|perm.Perm(), f.d.cfg.Clock.Now()
		f.d.link(dir, last, n, nil, "")
	}
	return v.result(f, nil)
}

// Rename moves a file or a directory, replacing a file.
func (f *FS) Rename(from, to string) error {
	v, err := f.begin(Op{Kind: Rename, Name: from, To: to})
	if err == nil {
		err = f.lock()
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	defer f.d.mu.Unlock()
	if err = v.fail; err == nil {
		err = f.d.rename(clean(from), clean(to))
	}
	if err = v.result(f, err); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func (d *disk) rename(from, to []string) error {
	fromDir, fromName, err := d.parent(from)
	if err != nil {
		return err
	}
	toDir, toName, err := d.parent(to)
	if err != nil {
		return err
	}
	n := fromDir.seen[fromName]
	old := toDir.seen[toName]
	switch {
	case n == nil:
		return fs.ErrNotExist
	case n == old:
		return nil
	case n.dir && len(to) > len(from) && slices.Equal(to[:len(from)], from):
		return syscall.EINVAL
	case old != nil && (old.dir || n.dir):
		return syscall.EEXIST
	}
	d.link(toDir, toName, n, fromDir, fromName)
	return nil
}

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error {
	v, err := f.begin(Op{Kind: Remove, Name: name})
	if err == nil {
		err = f.lock()
	}
	if err != nil {
		return pathError("remove", name, err)
	}
	defer f.d.mu.Unlock()
	if err = v.fail; err == nil {
		err = f.d.remove(clean(name))
	}
	return pathError("remove", name, v.result(f, err))
}

func (d *disk) remove(parts []string) error {
	dir, last, err := d.parent(parts)
	if err != nil {
		return err
	}
	n := dir.seen[last]
	if n == nil {
		return fs.ErrNotExist
	}
	if len(n.seen) > 0 {
		return syscall.ENOTEMPTY
	}
	d.unlink(dir, last)
	return nil
}

// SyncDir makes the entries of the directory name durable.
func (f *FS) SyncDir(name string) error {
	v, err := f.begin(Op{Kind: SyncDir, Name: name})
	if err == nil {
		err = f.lock()
	}
	if err != nil {
		return pathError("syncdir", name, err)
	}
	defer f.d.mu.Unlock()
	n, err := f.d.walk(clean(name))
	switch {
	case err != nil:
	case !n.dir:
		err = syscall.ENOTDIR
	case v.fail != nil:
		err = v.fail
	case !v.cut:
		f.d.syncDir(n)
	}
	return pathError("syncdir", name, v.result(f, err))
}

// Space returns the capacity and what is free of it.
func (f *FS) Space(string) (total, free int64, err error) {
	if err := f.lock(); err != nil {
		return 0, 0, err
	}
	defer f.d.mu.Unlock()
	return f.d.cfg.Capacity, max(f.d.cfg.Capacity-f.d.used, 0), nil
}

// Stat describes name.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	if err := f.lock(); err != nil {
		return nil, pathError("stat", name, err)
	}
	defer f.d.mu.Unlock()
	n, err := f.d.walk(clean(name))
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return n.info(path.Base("/" + name)), nil
}

// ReadDir lists name, sorted by file name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.lock(); err != nil {
		return nil, pathError("readdir", name, err)
	}
	defer f.d.mu.Unlock()
	n, err := f.d.walk(clean(name))
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	out := make([]fs.DirEntry, 0, len(n.seen))
	for name, c := range n.seen {
		out = append(out, fs.FileInfoToDirEntry(c.info(name)))
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

// ReadFile returns all of a file as processes see it, for a test's checks.
func (f *FS) ReadFile(name string) ([]byte, error) {
	if err := f.lock(); err != nil {
		return nil, pathError("read", name, err)
	}
	defer f.d.mu.Unlock()
	n, err := f.d.walk(clean(name))
	if err == nil && n.dir {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("read", name, err)
	}
	return slices.Clone(n.data), nil
}

// WriteFile makes or replaces a file, durable at once with its parents and not counted
// as an operation: how a test lays out a disk, or damages it.
func (f *FS) WriteFile(name string, data []byte) error {
	if err := f.lock(); err != nil {
		return pathError("write", name, err)
	}
	defer f.d.mu.Unlock()
	dir, parts := f.d.root, clean(name)
	if len(parts) == 0 {
		return pathError("write", name, fs.ErrInvalid)
	}
	for _, p := range parts[:len(parts)-1] {
		next := dir.seen[p]
		if next == nil {
			next = newDir()
			f.d.link(dir, p, next, nil, "")
		}
		if !next.dir {
			return pathError("write", name, syscall.ENOTDIR)
		}
		f.d.syncDir(dir)
		dir = next
	}
	n, err := f.d.openNode(parts, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return pathError("write", name, err)
	}
	f.d.edit(n, &edit{data: append([]byte{}, data...)})
	n.sync()
	f.d.syncDir(dir)
	return nil
}

// info describes a node at one moment.
type info struct {
	name string
	size int64
	mode fs.FileMode
	mod  time.Time
}

func (n *node) info(name string) info {
	return info{name, int64(len(n.data)), n.mode, n.mod}
}

// Name returns the last part of the name.
func (i info) Name() string { return i.name }

// Size returns the size in bytes.
func (i info) Size() int64 { return i.size }

// Mode returns type and permissions.
func (i info) Mode() fs.FileMode { return i.mode }

// ModTime returns when the data last changed.
func (i info) ModTime() time.Time { return i.mod }

// IsDir reports whether it is a directory.
func (i info) IsDir() bool { return i.mode.IsDir() }

// Sys returns nil.
func (i info) Sys() any { return nil }
