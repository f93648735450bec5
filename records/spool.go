package records

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"syscall"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
)

// spool is where a segment is written before it is an object: a file that is written over
// the next time, or memory where the Store has no directory.
type spool struct {
	fs   host.FS
	name string
	file host.File
	mem  bytes.Buffer
	size int64
	gone bool // it became the object
}

// newSpool makes an empty spool. Two of one name are not in use at once.
func (s *Store) newSpool(name string) (*spool, error) {
	out := &spool{fs: s.cfg.FS}
	if s.cfg.Dir == "" {
		return out, nil
	}
	dir := path.Join(s.cfg.Dir, "tmp")
	if err := out.fs.MkdirAll(dir, 0o700); err != nil {
		return nil, spoolFault(dir, err)
	}
	out.name = path.Join(dir, "records-"+name)
	var err error
	if out.file, err = out.fs.OpenFile(out.name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return nil, spoolFault(out.name, err)
	}
	return out, nil
}

func spoolFault(name string, err error) error {
	return (&fault.Error{Kind: fault.Unavailable, Op: "write segment to", Resource: name, Err: err}).
		WithHint("free space on the disk; it is tried again by itself")
}

// Write appends to the spool.
func (p *spool) Write(b []byte) (int, error) {
	if p.file == nil {
		return p.mem.Write(b)
	}
	n, err := p.file.WriteAt(b, p.size)
	p.size += int64(n)
	if err != nil {
		err = spoolFault(p.name, err)
	}
	return n, err
}

// store makes the spool the object key, which nobody but a crashed predecessor made.
func (p *spool) store(ctx context.Context, b storage.Bucket, key string) error {
	err := p.put(ctx, b, key)
	if !fault.Is(err, fault.InUse) {
		return err
	}
	if err := b.Delete(ctx, key); err != nil {
		return err
	}
	return p.put(ctx, b, key)
}

func (p *spool) put(ctx context.Context, b storage.Bucket, key string) error {
	if p.file == nil {
		return b.Put(ctx, key, bytes.NewReader(p.mem.Bytes()), int64(p.mem.Len()))
	}
	files, ok := storage.Files(b)
	if !ok {
		return b.Put(ctx, key, io.NewSectionReader(p.file, 0, p.size), p.size)
	}
	if err := p.file.Sync(); err != nil {
		return spoolFault(p.name, err)
	}
	if err := p.fs.SyncDir(path.Dir(p.name)); err != nil {
		return spoolFault(p.name, err)
	}
	err := files.Adopt(ctx, key, p.name)
	if errors.Is(err, syscall.EXDEV) { // the bucket is on another disk
		return b.Put(ctx, key, io.NewSectionReader(p.file, 0, p.size), p.size)
	}
	p.gone = err == nil
	return err
}

// close gives the spool's space back.
func (p *spool) close() {
	if p.file == nil {
		return
	}
	_ = p.file.Close()
	if !p.gone {
		_ = p.fs.Remove(p.name)
	}
}
