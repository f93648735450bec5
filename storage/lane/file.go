package lane

import (
	"errors"
	"io"
	"sort"
	"sync"

	"penstock/internal/host"
	"penstock/storage"
)

// file is one log file.
type file struct {
	name  string // in the directory
	first storage.LSN
	tag   uint64
	h     host.File

	// Of the file that is written to; guarded by Files.mu.
	size int64 // it is filled or reserved up to here
	end  int64 // behind the last batch

	// readers, gone and keep are guarded by Files.mu: who holds the file open, and
	// whether it is trimmed, so that the last of them does away with it, or only closes
	// it, because its name is another's by now or it is not durably trimmed.
	readers int
	gone    bool
	keep    bool

	index index
}

// index knows where the batches of a file begin. That of a file that is being written
// grows with it; that of another is made when it is first asked for.
type index struct {
	mu     sync.Mutex
	whole  bool // it holds all batches of a file that is finished, or all there are yet
	places []place
	damage []*storage.Damage // as far as headers tell
}

// place is where a batch lies; length 0 says that it is lost.
type place struct {
	page   uint32
	length uint32
}

// add notes the next batch.
func (x *index) add(off int64, length uint32) {
	x.mu.Lock()
	x.places = append(x.places, place{page: uint32(off / pageSize), length: length})
	x.mu.Unlock()
}

// lose notes damage in the place of batches.
func (x *index) lose(d *storage.Damage) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.damage = append(x.damage, d)
	for range d.Last - d.First + 1 {
		x.places = append(x.places, place{})
	}
}

// note adds damage that was found in a body, and reports whether it is news.
func (x *index) note(d *storage.Damage) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, have := range x.damage {
		if have.First <= d.First && d.Last <= have.Last {
			return false
		}
	}
	x.damage = append(x.damage, d)
	return true
}

// damageAt returns the damage that took lsn, or nil.
func (x *index) damageAt(lsn storage.LSN) *storage.Damage {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, d := range x.damage {
		if d.First <= lsn && lsn <= d.Last {
			return d
		}
	}
	return nil
}

// place returns where lsn lies in file.
func (x *index) place(file *file, lsn storage.LSN) (place, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := uint64(lsn - file.first)
	if i >= uint64(len(x.places)) {
		return place{}, false
	}
	return x.places[i], true
}

// load makes the index of a finished file whose successor begins at until.
func (x *index) load(file *file, name string, until storage.LSN) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.whole {
		return nil
	}
	size, err := file.h.Size()
	if err != nil {
		return err
	}
	var fresh index
	w := newWalker(file.h, size, name, file.tag, file.first, until, false)
	for {
		b, d, err := w.step()
		switch {
		case errors.Is(err, io.EOF):
			x.places, x.whole = fresh.places, true
			x.damage = append(x.damage, fresh.damage...)
			return nil
		case err != nil:
			return err
		case d != nil:
			fresh.lose(d)
		default:
			fresh.add(b.off, b.length)
		}
	}
}

// hold returns the file that lsn is in, or the oldest when that begins above lsn, and the
// number that its successor begins with, 0 for the newest. It stays as it is until
// release. nil: there is no file, or the lane is closed.
func (f *Files) hold(lsn storage.LSN) (held *file, until storage.LSN) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.files) == 0 {
		return nil, 0
	}
	i := sort.Search(len(f.files), func(i int) bool { return f.files[i].first > lsn })
	if i > 0 {
		i--
	}
	if i+1 < len(f.files) {
		until = f.files[i+1].first
	}
	f.files[i].readers++
	return f.files[i], until
}

// release ends a hold.
func (f *Files) release(file *file) {
	f.mu.Lock()
	file.readers--
	last := file.gone && file.readers == 0
	f.mu.Unlock()
	if last {
		f.retire(file)
	}
}

// drop closes file when nobody reads it; the last reader does else. f.mu is held.
func (f *Files) drop(file *file) {
	file.gone, file.keep = true, true
	if file.readers == 0 {
		f.closeFile(file)
	}
}

func (f *Files) closeFile(file *file) {
	if err := file.h.Close(); err != nil {
		f.cfg.Logger.Warn("close a lane file", "file", f.path(file.name), "err", err)
	}
}

// retire does away with a trimmed file that nobody reads: it becomes a spare, or goes.
func (f *Files) retire(file *file) {
	f.mu.RLock()
	keep := f.closed || file.keep // what is trimmed is removed at the next start
	f.mu.RUnlock()
	if !keep && f.spares.recycle(file) {
		return
	}
	f.closeFile(file)
	if keep {
		return
	}
	if err := f.cfg.FS.Remove(f.path(file.name)); err != nil {
		f.cfg.Logger.Warn("remove a trimmed lane file", "file", f.path(file.name), "err", err)
	}
}
