// Package host is what the program asks of the machine it runs on: the time,
// files, connections. Everything that touches them gets them passed in, so that
// crashes, full disks, clock jumps and dead peers can be made to happen in a test.
//
// It holds no behaviour of its own beyond the thin real implementations.
package host

import (
	"context"
	"io"
	"io/fs"
	"net"
	"time"
)

// Clock tells the server's time and waits on it. System is the real one;
// inside testing/synctest the real one is already a fake.
type Clock interface {
	// Now is the server time. It may step when an operator sets the clock.
	Now() time.Time
	// NewTimer fires once after d, as time.NewTimer does.
	NewTimer(d time.Duration) *time.Timer
}

// System is the machine's own clock.
type System struct{}

// Now returns time.Now.
func (System) Now() time.Time { return time.Now() }

// NewTimer returns time.NewTimer(d).
func (System) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// Dial opens an outgoing connection, as net.Dialer.DialContext does. Every
// outgoing address goes through one, so that one place can refuse it.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// FS is the part of a file system that durable logs need. Names are
// slash-separated paths, absolute or relative to the process, cleaned by the caller.
// All methods may be called at once.
type FS interface {
	// OpenFile opens name with the flags of package os. Missing: fs.ErrNotExist.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	MkdirAll(name string, perm fs.FileMode) error
	Rename(from, to string) error // replaces to; durable only after SyncDir
	Remove(name string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	SyncDir(name string) error // makes creations, renames and removals in name durable
	// Space returns the bytes of the file system that holds name.
	Space(name string) (total, free int64, err error)
}

// File is an open file. ReadAt and WriteAt may be called at once; a file is not
// durable before Sync returned nil, and after Sync failed its contents are unknown.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// WritevAt writes bufs one after another from off, in as few system calls
	// as the machine allows. It does not modify bufs' contents.
	WritevAt(bufs [][]byte, off int64) (int64, error)
	Sync() error // fdatasync: data and the size, not the times
	Truncate(size int64) error
	Size() (int64, error)
	// Allocate reserves blocks for [0, size) without changing the size where the
	// file system can; elsewhere it does nothing. Full: syscall.ENOSPC.
	Allocate(size int64) error
}
