package loadgen

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"time"

	"penstock/internal/host"
)

// RawDisk writes and syncs a file, one piece behind the other: the most that anything
// durable can do on a disk with one write at a time. The file's blocks are written before.
type RawDisk struct {
	fs   host.FS
	name string
	f    host.File
	room int64
}

// RawPiece is the largest piece: what one commit of a lane takes.
const RawPiece = 4 << 20

// OpenRaw makes a file of room bytes in dir, which Close removes. Room is RawPiece at least.
func OpenRaw(fs host.FS, dir string, room int64) (*RawDisk, error) {
	name := filepath.Join(dir, "raw")
	f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	d := &RawDisk{fs, name, f, max(room, RawPiece)}
	piece := make([]byte, RawPiece)
	for off := int64(0); off+RawPiece <= d.room; off += RawPiece {
		if _, err := f.WriteAt(piece, off); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Measure writes and syncs pieces of size bytes, at most RawPiece, until d is over, most
// bytes are written or ctx ends, and returns how long each took. At least one is written.
func (d *RawDisk) Measure(ctx context.Context, size int, window time.Duration, most int64) (waits []time.Duration, err error) {
	size = min(size, RawPiece)
	piece := make([]byte, size)
	_, _ = rand.Read(piece)
	off, written := int64(0), int64(0)
	for at, end := time.Now(), time.Now().Add(window); len(waits) == 0 || at.Before(end) && written < most && ctx.Err() == nil; {
		if off+int64(size) > d.room {
			off = 0
		}
		if _, err := d.f.WriteAt(piece, off); err != nil {
			return nil, err
		}
		if err := d.f.Sync(); err != nil {
			return nil, err
		}
		off, written = off+int64(size), written+int64(size)
		now := time.Now()
		waits, at = append(waits, now.Sub(at)), now
	}
	return waits, nil
}

// Close removes the file.
func (d *RawDisk) Close() error { return errors.Join(d.f.Close(), d.fs.Remove(d.name)) }
