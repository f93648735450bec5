package lane

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"syscall"
	"time"

	"penstock/internal/fault"
	"penstock/storage"
)

// writeScratch is what an Append would else allocate.
type writeScratch struct {
	head [headSize]byte
	bufs [][]byte
	// zeros is never written to.
	zeros [pageSize]byte
}

// Append stores one batch; see storage.Lane. fault.Unavailable, also: there is no room
// for another file; nothing is stored, the lane is not broken, and a later Append may
// succeed.
func (f *Files) Append(ctx context.Context, epoch uint64, wall time.Time, entries int, body [][]byte) (storage.LSN, error) {
	var crc uint32
	for _, b := range body {
		crc = crc32.Update(crc, castagnoli(), b)
	}
	return f.appendSummed(ctx, epoch, wall, entries, body, crc)
}

// appendSummed is Append for who has made the body's checksum already.
func (f *Files) appendSummed(ctx context.Context, epoch uint64, wall time.Time, entries int, body [][]byte, crc uint32) (storage.LSN, error) {
	var length int64
	for _, b := range body {
		length += int64(len(b))
	}
	if length == 0 || length > MaxBody || entries < 0 || int64(entries) > math.MaxUint32 {
		return 0, fault.New(fault.Invalid, "append to lane", f.cfg.Dir, fmt.Sprintf("%d entries of %d bytes", entries, length))
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	f.appending.Lock()
	defer f.appending.Unlock()
	file, lsn, err := f.place(epoch, pages(headSize+length))
	if err != nil {
		return 0, err
	}
	h := head{
		tag: file.tag, epoch: epoch, lsn: lsn, wall: wall.UnixMilli(),
		entries: uint32(entries), length: uint32(length), crc: crc,
	}
	began := f.cfg.Clock.Now()
	if err := f.write(file, &h, body); err != nil {
		return 0, f.breaks(fmt.Errorf("append batch %d to %s at offset %d: %w", lsn, file.name, file.end, err))
	}
	f.metrics.commit(f.cfg.Clock.Now().Sub(began), entries, length)
	file.index.add(file.end, h.length)
	f.mu.Lock()
	file.end += h.span()
	f.next++
	used := file.end
	f.mu.Unlock()
	f.spares.prepare(file.size, used)
	return lsn, nil
}

// write stores a batch behind the last one and syncs it.
func (f *Files) write(file *file, h *head, body [][]byte) error {
	s := &f.scratch
	h.put(s.head[:])
	s.bufs = append(append(s.bufs[:0], s.head[:]), body...)
	if pad := h.span() - headSize - int64(h.length); pad > 0 {
		s.bufs = append(s.bufs, f.scratch.zeros[:pad])
	}
	n, err := file.h.WritevAt(s.bufs, file.end)
	clear(s.bufs)
	if err != nil {
		return err
	}
	if n != h.span() {
		return fmt.Errorf("%d of %d bytes written", n, h.span())
	}
	return file.h.Sync()
}

// place returns the file and the number for the next batch, which takes span bytes.
// f.appending is held.
func (f *Files) place(epoch uint64, span int64) (*file, storage.LSN, error) {
	if err := f.usable(); err != nil {
		return nil, 0, err
	}
	f.mu.RLock()
	have, next, sealed := f.epoch, f.next, f.sealed
	var active *file
	if n := len(f.files); n > 0 {
		active = f.files[n-1]
	}
	f.mu.RUnlock()
	if epoch != have {
		return nil, 0, fault.New(fault.Denied, "append to lane", f.cfg.Dir, fmt.Sprintf("epoch %d is not the fenced one, %d", epoch, have))
	}
	if active != nil && !sealed && active.end+span <= active.size {
		return active, next, nil
	}
	file, err := f.roll(active, next, span)
	return file, next, err
}

// roll begins the next file.
func (f *Files) roll(active *file, first storage.LSN, span int64) (*file, error) {
	var before int64
	if active != nil {
		before = active.size
	}
	s, err := f.spares.take(before, span)
	if isFull(err) {
		e := fault.Wrap(fault.Unavailable, "begin a lane file in", f.cfg.Dir, err)
		var full *fault.Error
		errors.As(e, &full)
		return nil, full.WithHint("the disk is full: free space or shorten the retention of a stream")
	}
	if err != nil {
		return nil, f.breaks(fmt.Errorf("make a lane file: %w", err))
	}
	file := &file{name: logName(first), first: first, tag: tagOf(f.secret, first), h: s.h, size: s.size}
	file.index.whole = true
	if err := f.cfg.FS.Rename(f.path(s.name), f.path(file.name)); err != nil {
		return nil, f.breaks(errors.Join(fmt.Errorf("begin %s: %w", file.name, err), s.h.Close()))
	}
	if err := f.cfg.FS.SyncDir(f.cfg.Dir); err != nil {
		return nil, f.breaks(errors.Join(fmt.Errorf("begin %s: %w", file.name, err), s.h.Close()))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if active != nil && active.first == first { // it held nothing, and the rename replaced it
		f.files = f.files[:len(f.files)-1]
		f.drop(active)
	}
	f.files = append(f.files, file)
	f.sealed = false
	return file, nil
}

// isFull reports whether err says that there is no room on the disk.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
