package agent

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// copying is how long a file that may become a copy of another is waited for.
const copying = 10 * time.Second

// found is a file that a pattern names.
type found struct {
	path string
	info fs.FileInfo
	id   fileID
}

// discover looks which files there are: new ones, renamed ones, ones that are gone.
func (f *flow) discover() {
	now := time.Now()
	files := f.glob()
	f.reunite(now)
	f.settle()
	known := map[fileID]*tail{}
	for _, t := range f.tails {
		t.moved = true
		if !t.ended {
			known[t.id] = t
		}
	}
	fresh := f.first
	for _, file := range files {
		t := known[file.id]
		if t != nil && f.reopen(t, file, now) {
			t.moved, t.path = false, file.path
			f.owner[file.path] = t
			continue
		}
		if t != nil { // another file has its number: all of it was stored
			t.ended = true
		}
		fresh = f.adopt(file, now) || fresh
	}
	f.forget()
	f.first = false // from here on, new files are read from their beginning
	if fresh {      // a file that is renamed before the next checkpoint must be in one
		f.mind(f.save())
	}
}

// glob lists the files, each once, oldest first.
func (f *flow) glob() []found {
	var out []found
	seen := map[fileID]bool{}
	for _, pattern := range f.Files {
		names, err := filepath.Glob(pattern)
		if err != nil {
			f.warn("look for "+pattern, err)
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil || !info.Mode().IsRegular() || compressed(name) {
				continue
			}
			if id := idOf(name, info); !seen[id] && len(out) < filesMax {
				seen[id] = true
				out = append(out, found{name, info, id})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b found) int { return a.info.ModTime().Compare(b.info.ModTime()) })
	return out
}

// reunite finds the files of marks again: under their inode, or copied to another.
func (f *flow) reunite(now time.Time) {
	orphans := f.orphan
	f.orphan = nil
	for _, m := range orphans {
		// Two marks may lead to one file: that of a file that was emptied, and that of its
		// copy. The lower one holds.
		file, path, id, ok := m.find(func(fileID) bool { return false })
		if !ok {
			if _, err := os.Stat(filepath.Dir(m.Path)); err != nil {
				f.orphan = append(f.orphan, m) // a disk that is not there yet
				f.warn("look for "+m.Path, err)
				continue
			}
			f.lost.Add(1)
			f.log.Warn("a file was removed or replaced while it was not read; lines at its end may be missing", "file", m.Path, "offset", m.Offset)
			continue
		}
		if i := slices.IndexFunc(f.tails, func(t *tail) bool { return t.id == id && !t.ended }); i >= 0 {
			file.Close()
			if t := f.tails[i]; m.Offset < t.split.from {
				f.seek(t, t.done.rewind(m.Offset))
			}
			continue
		}
		t, err := newTail(file, path, id, m.Offset, f.splitter(), now)
		if err != nil {
			f.orphan = append(f.orphan, m)
			f.warn("read "+path, err)
			continue
		}
		f.owner[m.Path] = t // what has its name now is read after it
		f.tails = append(f.tails, t)
	}
}

func (f *flow) splitter() splitter { return splitter{start: f.Start, max: recordMaxAgent} }

// adopt begins to read a file that is new. What had its name before is read first.
func (f *flow) adopt(file found, now time.Time) bool {
	h, info, err := open(file.path)
	if err != nil {
		f.warn("open "+file.path, err)
		return false
	}
	off := int64(0)
	if f.first && f.FromEnd {
		off = info.Size()
	}
	of, wait := f.copyOf(h, info, file, now)
	if wait || idOf(file.path, info) != file.id { // or renamed this very moment: next time
		h.Close()
		return false
	}
	delete(f.young, file.id)
	if of != nil {
		off = of.split.from
	}
	t, err := newTail(h, file.path, file.id, off, f.splitter(), now)
	if err != nil {
		f.warn("read "+file.path, err)
		return false
	}
	t.of, t.after = of, f.owner[file.path]
	f.owner[file.path] = t
	f.tails = append(f.tails, t)
	return true
}

// copyOf returns the file that h is a copy of, made to empty that one; wait: h may be
// about to become one. Such a copy has a name that begins as the original's does, and
// the original is still where it was.
func (f *flow) copyOf(h *os.File, info fs.FileInfo, file found, now time.Time) (of *tail, wait bool) {
	for _, t := range f.tails {
		if t.ended || t.of != nil || len(t.head) == 0 || !t.namesake(file.path) {
			continue
		}
		if there, err := os.Stat(t.path); err != nil || idOf(t.path, there) != t.id {
			continue
		}
		m := t.upTo()
		if info.Size() >= m.Offset {
			if m.fits(h) {
				return t, false
			}
			continue
		}
		head := t.head[:min(int64(len(t.head)), info.Size())]
		if same, err := readFull(h, make([]byte, len(head)), 0); err == nil && string(same) == string(head) {
			wait = true
		}
	}
	if since, ok := f.young[file.id]; wait && ok && now.Sub(since) > copying {
		return nil, false // another file that begins like one of ours
	} else if wait && !ok {
		f.young[file.id] = now
	}
	return nil, wait
}

// namesake reports whether name looks like that of a copy of t: app.log, app.log.1;
// app-20261121.log.
func (t *tail) namesake(name string) bool {
	base := filepath.Base(t.path)
	base = strings.TrimSuffix(base, filepath.Ext(base))
	return filepath.Dir(name) == filepath.Dir(t.path) && strings.HasPrefix(filepath.Base(name), base)
}

// upTo is a mark of where t was read up to, from memory alone.
func (t *tail) upTo() mark {
	return mark{Path: t.path, fileID: t.id, Offset: t.reach(), Head: len(t.head), HeadSum: sum(t.head), BackSum: sum(t.look)}
}

// settle looks after copies whose original is still read: they hold nothing new, until
// the original is emptied (see emptied), is gone, or they grow by themselves.
func (f *flow) settle() {
	for _, t := range f.tails {
		if t.of == nil || t.f == nil {
			continue
		}
		own, err := t.f.Stat()
		if err != nil {
			continue
		}
		size := own.Size()
		there, err := os.Stat(t.of.path)
		switch {
		case !slices.Contains(f.tails, t.of): // all of it is stored, and it is gone
			f.seek(t, min(size, t.of.split.from))
			t.of = nil
		case err != nil || idOf(t.of.path, there) != t.of.id || there.Size() < t.of.reach():
			// It was just renamed, or emptied: that is seen when it is read.
		case size > there.Size() && t.of.still():
			t.of = nil // read on from where it was the same
		}
	}
}

// still reports whether what was read of t is still in it.
func (t *tail) still() bool {
	h, _, err := open(t.path)
	if err != nil {
		return false
	}
	defer h.Close()
	return t.upTo().fits(h)
}

// seek moves t, which is not read yet.
func (f *flow) seek(t *tail, off int64) {
	if err := t.seek(off); err != nil {
		f.warn("read "+t.path, err)
	}
}

// reopen opens a file that was closed for being quiet, once it has changed. It reports
// false when the file is another, or was emptied.
func (f *flow) reopen(t *tail, file found, now time.Time) bool {
	if t.f != nil || file.info.Size() == t.size && file.info.ModTime().Equal(t.stamp) {
		return true
	}
	h, _, err := open(file.path)
	if err != nil {
		f.warn("open "+file.path, err)
		return true // not now
	}
	if file.info.Size() < t.reach() || !t.upTo().fits(h) {
		h.Close()
		return false
	}
	t.f, t.grew, t.size = h, now, -1
	return true
}

// emptied is for a file that was copied and emptied, or replaced in place: what of it was
// not read is in the copy, which is read first.
func (f *flow) emptied(t *tail) {
	now := time.Now()
	at := t.split.from // a line without its end is read again from the copy
	m := t.upTo()
	t.ended = true
	var copied *tail
	for _, c := range f.tails {
		if c.of == t {
			c.of, copied = nil, c
			f.seek(c, at)
		}
	}
	if copied == nil {
		h, path, id, ok := m.find(func(id fileID) bool {
			return slices.ContainsFunc(f.tails, func(t *tail) bool { return t.id == id })
		})
		if ok {
			if c, err := newTail(h, path, id, at, f.splitter(), now); err == nil {
				copied = c
				f.tails = append(f.tails, c)
			}
		}
	}
	if copied == nil {
		f.lost.Add(1)
		f.log.Warn("a file was emptied, and no copy of it was found; lines at its end may be missing", "file", t.path, "offset", m.Offset)
	}
	t.copy = copied
	h, info, err := open(t.path)
	if err != nil || idOf(t.path, info) != t.id {
		if err == nil {
			h.Close()
		}
		return // gone by now: discover sees what there is
	}
	fresh, err := newTail(h, t.path, t.id, 0, f.splitter(), now)
	if err != nil {
		f.warn("read "+t.path, err)
		return
	}
	fresh.after = copied
	f.owner[t.path] = fresh
	f.tails = append(f.tails, fresh)
}

// forget drops what is wholly stored and not there any more.
func (f *flow) forget() {
	f.tails = slices.DeleteFunc(f.tails, func(t *tail) bool {
		_, stored := t.done.at(t.split.from)
		gone := t.moved && t.f == nil && t.of == nil || t.ended
		if gone && stored {
			t.close()
			return true
		}
		return false
	})
	maps.DeleteFunc(f.owner, func(_ string, t *tail) bool { return !slices.Contains(f.tails, t) })
}
