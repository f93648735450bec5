package crashfs

import (
	"io"
	"io/fs"
	"syscall"

	"penstock/internal/host"
)

// edit is one unsynced change of a file.
type edit struct {
	off   int64
	data  []byte // nil: a truncation
	size  int64  // truncation: the size
	doubt bool   // a Sync that was to save it failed
}

// end is the size that e leaves a file of the given size with.
func (e *edit) end(size int64) int64 {
	if e.data == nil {
		return e.size
	}
	return max(size, e.off+int64(len(e.data)))
}

// apply changes content, which begins at base in the file, within its bounds.
func (e *edit) apply(content []byte, base int64) {
	if e.data == nil {
		if e.size < base+int64(len(content)) {
			clear(content[max(e.size-base, 0):])
		}
		return
	}
	if at := e.off - base; at >= 0 {
		if at < int64(len(content)) {
			copy(content[at:], e.data)
		}
	} else if -at < int64(len(e.data)) {
		copy(content, e.data[-at:])
	}
}

// grow returns b with the length size, zero where it is new.
func grow(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		clear(b[size:])
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// edit applies e to what processes see and notes it as unsynced.
func (d *disk) edit(n *node, e *edit) {
	d.change(n, func() {
		n.data = grow(n.data, e.end(int64(len(n.data))))
		if e.data == nil {
			n.alloc = min(n.alloc, e.size)
		}
	})
	e.apply(n.data, 0)
	n.pending = append(n.pending, e)
	n.mod = d.cfg.Clock.Now()
}

// sync makes what is unsynced, and not in doubt, durable.
func (n *node) sync() {
	rest := n.pending[:0]
	for _, e := range n.pending {
		if e.doubt {
			rest = append(rest, e)
			continue
		}
		n.synced = grow(n.synced, e.end(int64(len(n.synced))))
		e.apply(n.synced, 0)
	}
	clear(n.pending[len(rest):])
	n.pending = rest
}

// handle is an open file.
type handle struct {
	f           *FS
	n           *node
	name        string
	read, write bool
}

var _ host.File = (*handle)(nil)

// lock takes the disk's mutex for an operation on an open file of a running machine.
func (h *handle) lock() error {
	h.f.d.mu.Lock()
	err := fs.ErrClosed
	if h.f.Crashed() {
		err = ErrCrashed
	} else if _, ok := h.f.d.open[h]; ok {
		return nil
	}
	h.f.d.mu.Unlock()
	return err
}

func (h *handle) unlock() { h.f.d.mu.Unlock() }

// ReadAt reads what processes see, synced or not.
func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.lock(); err != nil {
		return 0, pathError("read", h.name, err)
	}
	defer h.unlock()
	switch {
	case !h.read:
		return 0, pathError("read", h.name, syscall.EBADF)
	case off < 0:
		return 0, pathError("read", h.name, syscall.EINVAL)
	case off >= int64(len(h.n.data)):
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, h.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes what fits; a full disk gives a short write and ENOSPC.
func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	n, err := h.WritevAt([][]byte{p}, off)
	return int(n), err
}

// WritevAt is one operation, however many buffers there are.
func (h *handle) WritevAt(bufs [][]byte, off int64) (int64, error) {
	var data []byte
	for _, b := range bufs {
		data = append(data, b...)
	}
	v, err := h.f.begin(Op{Kind: Write, Name: h.name, Off: off, Len: int64(len(data))})
	if err != nil {
		return 0, pathError("write", h.name, err)
	}
	if err := h.lock(); err != nil {
		return 0, pathError("write", h.name, err)
	}
	defer h.unlock()
	if !h.write {
		return 0, pathError("write", h.name, v.result(h.f, syscall.EBADF))
	}
	if off < 0 {
		return 0, pathError("write", h.name, v.result(h.f, syscall.EINVAL))
	}
	failed := v.fail
	if failed != nil {
		data = data[:len(data)/2]
	}
	if fit := h.f.d.fits(h.n, off+int64(len(data))) - off; fit < int64(len(data)) {
		data = data[:max(fit, 0)]
		if failed == nil {
			failed = syscall.ENOSPC
		}
	}
	if len(data) > 0 {
		h.f.d.edit(h.n, &edit{off: off, data: data})
	}
	return int64(len(data)), pathError("write", h.name, v.result(h.f, failed))
}

// Sync makes data and size durable.
func (h *handle) Sync() error {
	v, err := h.f.begin(Op{Kind: Sync, Name: h.name})
	if err != nil {
		return pathError("sync", h.name, err)
	}
	if err := h.lock(); err != nil {
		return pathError("sync", h.name, err)
	}
	defer h.unlock()
	switch {
	case v.cut:
	case v.fail != nil:
		for _, e := range h.n.pending {
			e.doubt = true
		}
	default:
		h.n.sync()
	}
	return pathError("sync", h.name, v.result(h.f, v.fail))
}

// Truncate sets the size.
func (h *handle) Truncate(size int64) error {
	return h.resize(Truncate, "truncate", size, func() { h.f.d.edit(h.n, &edit{size: size}) })
}

// Size returns the size as processes see it.
func (h *handle) Size() (int64, error) {
	if err := h.lock(); err != nil {
		return 0, pathError("stat", h.name, err)
	}
	defer h.unlock()
	return int64(len(h.n.data)), nil
}

// Allocate reserves space without changing the size.
func (h *handle) Allocate(size int64) error {
	return h.resize(Allocate, "allocate", size, func() {
		h.f.d.change(h.n, func() { h.n.alloc = max(h.n.alloc, size) })
	})
}

// resize does what wants room for size bytes: with the lock held, and if no fault stands
// against it.
func (h *handle) resize(kind Kind, verb string, size int64, do func()) error {
	v, err := h.f.begin(Op{Kind: kind, Name: h.name, Off: size})
	if err != nil {
		return pathError(verb, h.name, err)
	}
	if err := h.lock(); err != nil {
		return pathError(verb, h.name, err)
	}
	defer h.unlock()
	switch {
	case !h.write || size < 0:
		err = syscall.EINVAL
	case v.fail != nil:
		err = v.fail
	case h.f.d.fits(h.n, size) < size:
		err = syscall.ENOSPC
	default:
		do()
	}
	return pathError(verb, h.name, v.result(h.f, err))
}

// Close closes the file; it syncs nothing. The second call is fs.ErrClosed.
func (h *handle) Close() error {
	h.f.d.mu.Lock()
	defer h.f.d.mu.Unlock()
	if h.f.Crashed() {
		return nil
	}
	if _, ok := h.f.d.open[h]; !ok {
		return pathError("close", h.name, fs.ErrClosed)
	}
	h.f.d.release(h)
	return nil
}
