package agent

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// readBytes is how much of a file is read at once.
const readBytes = 256 << 10

// tail is one file that is read, from an offset to its end and on. All but its progress
// belongs to the flow's goroutine.
type tail struct {
	path  string
	id    fileID
	f     *os.File // nil: closed until it grows
	split splitter
	head  []byte // the file's beginning
	look  []byte // the last bytes before the end of what was read
	grew  time.Time
	size  int64     // when last looked at
	stamp time.Time // of its last change, when last looked at
	ended bool      // nothing more is read of it: emptied
	moved bool      // its name leads to another file now, or to none
	after *tail     // is read to its end first
	of    *tail     // it is a copy of that one, which is still read
	copy  *tail     // of an ended one: where its unread rest is read
	full  bool      // records are held that the producer had no room for

	saved mark // the last good checkpoint
	done  progress
}

// progress is what of a file is stored. It is told by the producer's goroutine.
type progress struct {
	mu    sync.Mutex
	first int // number of ends[0]
	ends  []end
	acked int64
}

type end struct {
	at     int64
	stored bool
}

// begin notes a record that ends at off and returns its number.
func (p *progress) begin(off int64) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = append(p.ends, end{at: off})
	return p.first + len(p.ends) - 1
}

// undo takes the last begin back.
func (p *progress) undo() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ends = p.ends[:len(p.ends)-1]
}

// stored notes that record n is safe.
func (p *progress) stored(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n < p.first {
		return
	}
	p.ends[n-p.first].stored = true
	for len(p.ends) > 0 && p.ends[0].stored {
		p.acked = p.ends[0].at
		p.ends, p.first = p.ends[1:], p.first+1
	}
}

// at is the offset before which everything is stored; from is what the splitter has
// given away, which holds when nothing is open.
func (p *progress) at(from int64) (off int64, idle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ends) == 0 {
		p.acked = max(p.acked, from)
	}
	return p.acked, len(p.ends) == 0
}

// rewind forgets what is not stored, and what is beyond limit, and returns where to
// read again.
func (p *progress) rewind(limit int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first, p.ends = p.first+len(p.ends), nil
	p.acked = min(p.acked, limit)
	return p.acked
}

// newTail begins to read f at off.
func newTail(f *os.File, path string, id fileID, off int64, split splitter, now time.Time) (*tail, error) {
	t := &tail{path: path, id: id, f: f, split: split, grew: now}
	t.done.acked = off
	if err := t.seek(off); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	m, err := take(f, path, id, off, t.head)
	t.saved = m
	return t, err
}

// seek makes off the place to read on from, and reads what is remembered before it.
func (t *tail) seek(off int64) error {
	t.split.from, t.split.hold, t.split.whole, t.split.seen = off, nil, 0, 0
	buf := make([]byte, back(off))
	look, err := readFull(t.f, buf, off-int64(len(buf)))
	if err != nil {
		return err
	}
	t.look = look
	if len(t.head) < lookBytes {
		head := make([]byte, lookBytes)
		n, err := t.f.ReadAt(head, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		t.head = head[:min(int64(n), max(off, int64(len(t.head))))]
	}
	return nil
}

// reach is the offset up to which the file has been read.
func (t *tail) reach() int64 { return t.split.from + int64(len(t.split.hold)) }

// read gives the records of what was added, at most readBytes of it, and reports whether
// there was anything. errOther: the file was emptied or replaced under its name.
func (t *tail) read(out emit, now time.Time) (bool, error) {
	if t.full { // more is read only when that is gone
		t.full = false
		if err := t.split.feed(nil, out); err != nil || t.full {
			return false, err
		}
	}
	info, err := t.f.Stat()
	if err != nil {
		return false, err
	}
	at := t.reach()
	changed := info.Size() != t.size || !info.ModTime().Equal(t.stamp)
	if info.Size() < at {
		return false, errOther
	}
	if !changed && info.Size() == at {
		return false, nil
	}
	// What comes before is read again with what is new: one read, so that an emptied file
	// that has grown past us is noticed, and not read from its middle.
	want := min(info.Size()-at, readBytes)
	buf := make([]byte, int64(len(t.look))+want)
	n, err := t.f.ReadAt(buf, at-int64(len(t.look)))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	buf = buf[:n]
	if n < len(t.look) || !bytes.Equal(buf[:len(t.look)], t.look) {
		return false, errOther
	}
	if at+int64(n-len(t.look)) == info.Size() { // there is no more
		t.size, t.stamp = info.Size(), info.ModTime()
	}
	fresh := buf[len(t.look):]
	if len(fresh) == 0 {
		return false, nil
	}
	t.grew = now
	if skip := int64(len(t.head)) - at; len(t.head) < lookBytes && skip < int64(len(fresh)) { // after a rewind some of it is known
		t.head = append(t.head, fresh[skip:min(int64(len(fresh)), lookBytes-at)]...)
	}
	t.look = bytes.Clone(buf[max(0, len(buf)-lookBytes):])
	return true, t.split.feed(fresh[:len(fresh):len(fresh)], out)
}

// checkpoint returns the mark of what is stored. A file that was emptied meanwhile keeps
// the mark it had.
func (t *tail) checkpoint() mark {
	off, _ := t.done.at(t.split.from)
	if t.f == nil || t.ended || off == t.saved.Offset && t.saved.Head == len(t.head) {
		t.saved.Path = t.path
		return t.saved
	}
	if m, err := take(t.f, t.path, t.id, off, t.head); err == nil {
		t.saved = m
	}
	return t.saved
}

func (t *tail) close() {
	if t.f != nil {
		t.f.Close()
		t.f = nil
	}
}
