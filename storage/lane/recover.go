package lane

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"penstock/internal/fault"
	"penstock/storage"
)

// Open opens the lane in cfg.Dir, or makes it, and recovers it: a batch that a crash left
// unfinished is cut off, and the newest whole one is made durable anew. Damage is no
// error here: Replay tells of it. fault.Invalid: cfg, or a version that is not known.
func Open(ctx context.Context, cfg Config) (*Files, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.defaults()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f := &Files{cfg: cfg, metrics: newMetrics(cfg.Name)}
	f.spares.init(&f.cfg)
	if err := f.open(); err != nil {
		for _, file := range f.files {
			f.closeFile(file)
		}
		if f.id.h != nil {
			err = errors.Join(err, f.id.h.Close())
		}
		return nil, fault.Wrap(fault.KindOf(err), "open lane", cfg.Dir, err)
	}
	f.metrics.register(cfg.Registerer, cfg.Name, f)
	return f, nil
}

func (f *Files) open() error {
	if err := f.cfg.FS.MkdirAll(f.cfg.Dir, 0o700); err != nil {
		return err
	}
	names, err := f.list()
	if err != nil {
		return err
	}
	id, whole, err := openIdentity(f.cfg.FS, f.path(idName))
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(names) > 0:
		return fault.New(fault.Internal, "open lane", f.path(idName), "missing beside log files").
			WithHint("put the file back from a backup: without its secret the batches beside it cannot be read")
	case errors.Is(err, fs.ErrNotExist):
		id, err = makeIdentity(&f.cfg)
		whole = true
	}
	if err != nil {
		return err
	}
	f.id = id
	f.epoch, f.secret = id.id.epoch, id.id.secret
	if f.recovery.Repaired = !whole; !whole {
		f.cfg.Logger.Warn("one of the two records of the lane is damaged or old; the other is used", "file", f.path(idName))
		// The better one may not be durable, and files are removed on its word.
		if err := f.writeIdentity(nil); err != nil {
			return err
		}
	}
	if names, err = f.forget(names); err != nil {
		return err
	}
	// A process that was killed may have renamed a file, and not come to the sync.
	if err := f.cfg.FS.SyncDir(f.cfg.Dir); err != nil {
		return err
	}
	for _, first := range names {
		if err := f.openFile(first); err != nil {
			return err
		}
	}
	return f.recover()
}

// list returns the numbers of the log files in order, and removes what is only a
// leftover.
func (f *Files) list() ([]storage.LSN, error) {
	entries, err := f.cfg.FS.ReadDir(f.cfg.Dir)
	if err != nil {
		return nil, err
	}
	var names []storage.LSN
	for _, e := range entries {
		name := e.Name()
		if first, ok := parseLogName(name); ok {
			names = append(names, first)
			continue
		}
		if strings.HasSuffix(name, spareSuffix) || name == idName+".tmp" {
			if err := f.cfg.FS.Remove(f.path(name)); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// forget removes the files that were trimmed before a crash.
func (f *Files) forget(names []storage.LSN) ([]storage.LSN, error) {
	for len(names) > 1 && names[1] <= f.id.id.first {
		if err := f.cfg.FS.Remove(f.path(logName(names[0]))); err != nil {
			return nil, err
		}
		names = names[1:]
	}
	return names, nil
}

func (f *Files) openFile(first storage.LSN) error {
	name := logName(first)
	h, err := f.cfg.FS.OpenFile(f.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	size, err := h.Size()
	if err != nil {
		return errors.Join(err, h.Close())
	}
	f.files = append(f.files, &file{
		name: name, first: first, tag: tagOf(f.secret, first), h: h, size: size &^ (pageSize - 1),
	})
	return nil
}

// recover finds where the log ends.
func (f *Files) recover() error {
	id := &f.id.id
	f.next = max(id.first, id.floor)
	if len(f.files) == 0 {
		f.gap(id.first, f.next)
	} else {
		f.gap(id.first, f.files[0].first)
		if err := f.recoverNewest(f.files[len(f.files)-1]); err != nil {
			return err
		}
	}
	return nil
}

// gap notes that the file with the batches from first up to until is not there.
func (f *Files) gap(first, until storage.LSN) {
	if first >= until {
		return
	}
	d := &storage.Damage{File: f.path(logName(first)), First: first, Last: until - 1, Reason: "the file is missing"}
	f.gaps = append(f.gaps, d)
	f.damaged(d)
}

// damaged notes what Open saw.
func (f *Files) damaged(d *storage.Damage) {
	f.recovery.Damage = append(f.recovery.Damage, d)
	f.report(d)
}

// report tells the operator of damage, once.
func (f *Files) report(d *storage.Damage) {
	f.metrics.damage.Inc()
	f.cfg.Logger.Error("a range of the lane is damaged and refused: keep a copy of the file and check the disk",
		"file", d.File, "offset", d.Offset, "bytes", d.Length, "first", uint64(d.First), "last", uint64(d.Last), "reason", d.Reason)
}

// recoverNewest walks the headers of the newest file, cuts a torn tail off and makes the
// last whole batch durable anew.
func (f *Files) recoverNewest(file *file) error {
	w := newWalker(file.h, file.size, f.path(file.name), file.tag, file.first, 0, false)
	var last found
	for {
		b, d, err := w.step()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if d != nil {
			file.index.lose(d)
			f.damaged(d)
			continue
		}
		last = b
		file.index.add(b.off, b.length)
	}
	file.index.whole = true
	file.end, f.next = w.off, w.lsn
	if last.lsn != 0 {
		if err := f.settle(file, &last); err != nil {
			return err
		}
	}
	if floor := f.id.id.floor; f.next < floor {
		d := &storage.Damage{
			File: f.path(file.name), Offset: file.end, Length: max(file.size-file.end, 0), First: f.next, Last: floor - 1,
			Reason: "batches that were stored are missing at the end of the file",
		}
		file.index.lose(d)
		f.damaged(d)
		f.next, f.sealed = floor, true
	}
	return nil
}

// settle decides about the last batch of the lane: whole, it is written again and synced,
// for after a failed sync it may only look stored; bad, it is cut off as torn, unless it
// is known to have been durable.
func (f *Files) settle(file *file, last *found) error {
	raw := make([]byte, last.span())
	_, err := file.h.ReadAt(raw, last.off)
	if unreadable(err) && last.lsn < f.id.id.floor {
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	reason := check(raw, &last.head)
	switch {
	case reason == "":
		if !last.clean(raw) {
			f.stained(file, last)
			clear(raw[headSize+int(last.length):])
		}
		if _, err := file.h.WriteAt(raw, last.off); err != nil {
			return err
		}
		return file.h.Sync()
	case last.lsn < f.id.id.floor:
		return nil // damage in a whole chain: Replay and readers meet it
	}
	f.recovery.Torn = last.span()
	f.metrics.torn.Add(float64(last.span()))
	f.cfg.Logger.Info("a batch that a crash left unfinished is cut off: nobody was told that it was stored",
		"file", f.path(file.name), "offset", last.off, "bytes", last.span(), "lsn", uint64(last.lsn))
	if _, err := file.h.WriteAt(make([]byte, pageSize), last.off); err != nil {
		return err
	}
	if err := file.h.Sync(); err != nil {
		return err
	}
	file.end, f.next = last.off, last.lsn
	file.index.places = file.index.places[:len(file.index.places)-1]
	return nil
}
