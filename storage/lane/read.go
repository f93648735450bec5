package lane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"penstock/internal/fault"
	"penstock/storage"
)

// Replay yields the batches from number from on; see storage.Lane. It reads ahead 1 MiB
// and holds one batch.
func (f *Files) Replay(ctx context.Context, from storage.LSN) iter.Seq2[storage.Batch, error] {
	return func(yield func(storage.Batch, error) bool) {
		r := replay{f: f, at: max(from, 1), yield: yield}
		if f.missing(&r) {
			return
		}
		for {
			file, until := f.hold(r.at)
			if file == nil {
				r.closed()
				return
			}
			more := r.file(ctx, file, until)
			f.release(file)
			if !more {
				return
			}
		}
	}
}

// missing yields the files that are not there, which only Open can know.
func (f *Files) missing(r *replay) (stop bool) {
	f.mu.RLock()
	gaps := f.gaps
	f.mu.RUnlock()
	for _, d := range gaps {
		if d.Last >= r.at && !r.damage(nil, d) {
			return true
		}
	}
	return false
}

// replay is a Replay under way.
type replay struct {
	f     *Files
	at    storage.LSN // the next to yield
	yield func(storage.Batch, error) bool
	buf   []byte // from file to file
}

// damage yields d, which is in file, and reports whether to go on.
func (r *replay) damage(file *file, d *storage.Damage) bool {
	if file != nil && file.index.note(d) {
		r.f.report(d)
	}
	r.at = d.Last + 1
	return r.yield(storage.Batch{LSN: d.First}, d)
}

// fail yields the error that ends the replay.
func (r *replay) fail(err error) bool {
	r.yield(storage.Batch{LSN: r.at}, err)
	return false
}

// closed yields an error when it is Close that ends the replay.
func (r *replay) closed() {
	r.f.mu.RLock()
	closed := r.f.closed
	r.f.mu.RUnlock()
	if closed {
		r.fail(fault.New(fault.Unavailable, "replay lane", r.f.cfg.Dir, "closed"))
	}
}

// file yields what file has from r.at on, and reports whether to go on behind it.
func (r *replay) file(ctx context.Context, file *file, until storage.LSN) bool {
	newest := until == 0
	r.f.mu.RLock()
	end, next, sealed := file.end, r.f.next, r.f.sealed
	r.f.mu.RUnlock()
	if newest {
		until = next
	}
	r.at = max(r.at, file.first)
	if r.at >= until {
		return false
	}
	if !newest || sealed {
		var err error
		if end, err = file.h.Size(); err != nil {
			return r.fail(err)
		}
	}
	w := newWalker(file.h, end, r.f.path(file.name), file.tag, file.first, until, true)
	w.win.buf = r.buf[:0]
	defer func() { r.buf = w.win.buf }()
	r.seek(w, file)
	for {
		if err := ctx.Err(); err != nil {
			return r.fail(err)
		}
		b, d, err := w.step()
		switch {
		case errors.Is(err, io.EOF):
			r.at = until
			return true
		case err != nil:
			return r.fail(fault.Wrap(fault.Internal, "replay lane file", w.name, err))
		case d != nil && d.Last < r.at, d == nil && b.lsn < r.at:
			continue
		case d != nil:
			if !r.damage(file, d) {
				return false
			}
		default:
			r.at = b.lsn + 1
			if b.stained {
				r.f.stained(file, &b)
			}
			if !r.yield(batchOf(&b), nil) {
				return false
			}
		}
	}
}

// seek puts w at the batch r.at where the index of file knows its place.
func (r *replay) seek(w *walker, file *file) {
	if p, ok := file.index.place(file, r.at); ok && p.length > 0 {
		w.off, w.lsn = int64(p.page)*pageSize, r.at
	}
}

// stained tells the operator of bad bytes that are nobody's: the disk loses bits.
func (f *Files) stained(file *file, b *found) {
	f.metrics.damage.Inc()
	f.cfg.Logger.Warn("the zeros behind a whole batch are not zeros any more: check the disk",
		"file", f.path(file.name), "offset", b.off, "lsn", uint64(b.lsn))
}

func batchOf(b *found) storage.Batch {
	return storage.Batch{
		Epoch: b.epoch, LSN: b.lsn, Wall: time.UnixMilli(b.wall).UTC(), Entries: int(b.entries), Body: b.body,
	}
}

// ReadAt fills p from the body of a batch; see storage.Lane.
func (f *Files) ReadAt(ctx context.Context, lsn storage.LSN, off int64, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fail := func(kind fault.Kind, text string) error {
		return fault.New(kind, "read batch", fmt.Sprintf("%d of %s", lsn, f.cfg.Dir), text)
	}
	first, next := f.Bounds()
	switch {
	case lsn < first:
		if d := f.gapAt(lsn); d != nil {
			return d
		}
		return fail(fault.Expired, "trimmed")
	case lsn >= next:
		return fail(fault.NotFound, "not there yet")
	}
	file, until := f.hold(lsn)
	if file == nil {
		return fail(fault.Unavailable, "the lane is closed")
	}
	defer f.release(file)
	if lsn < file.first {
		return fail(fault.Expired, "trimmed")
	}
	if until != 0 {
		if err := file.index.load(file, f.path(file.name), until); err != nil {
			return fault.Wrap(fault.Internal, "read lane file", f.path(file.name), err)
		}
	}
	if d := file.index.damageAt(lsn); d != nil {
		return d
	}
	at, ok := file.index.place(file, lsn)
	if !ok || at.length == 0 {
		return fail(fault.NotFound, "not there yet")
	}
	if off < 0 || off+int64(len(p)) > int64(at.length) {
		return fail(fault.Invalid, fmt.Sprintf("%d bytes at %d of a body of %d", len(p), off, at.length))
	}
	_, err := file.h.ReadAt(p, int64(at.page)*pageSize+headSize+off)
	if unreadable(err) {
		return &storage.Damage{
			File: f.path(file.name), Offset: int64(at.page) * pageSize, Length: pages(headSize + int64(at.length)),
			First: lsn, Last: lsn, Reason: "the disk cannot read it",
		}
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "read lane file", f.path(file.name), err)
	}
	return nil
}

// gapAt returns the damage of a missing file that took lsn, or nil.
func (f *Files) gapAt(lsn storage.LSN) *storage.Damage {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, d := range f.gaps {
		if d.First <= lsn && lsn <= d.Last {
			return d
		}
	}
	return nil
}

// Trim forgets the files whose batches are all below before. The newest file stays.
func (f *Files) Trim(ctx context.Context, before storage.LSN) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	n := 0
	for n+1 < len(f.files) && f.files[n+1].first <= before {
		n++
	}
	if n == 0 || f.closed {
		f.mu.Unlock()
		return nil
	}
	gone := f.files[:n:n]
	f.files = append([]*file(nil), f.files[n:]...)
	f.gaps = nil // they are older
	first := f.files[0].first
	f.mu.Unlock()
	err := f.writeIdentity(func(id *identity) { id.first = max(id.first, first) })
	if err != nil {
		err = f.breaks(fmt.Errorf("trim to batch %d: %w", first, err))
	}
	var idle []*file
	f.mu.Lock()
	for _, file := range gone {
		file.gone, file.keep = true, err != nil // not durably trimmed, it must stay
		if file.readers == 0 {
			idle = append(idle, file)
		}
	}
	f.mu.Unlock()
	for _, file := range idle {
		f.retire(file)
	}
	return err
}
