package lane

import (
	"bytes"
	"cmp"
	"errors"
	"hash/crc32"
	"io"
	"syscall"

	"penstock/storage"
)

// The parts in which files are read.
const (
	readAhead = 1 << 20  // bodies too
	headAhead = 64 << 10 // headers only: small batches lie close to each other
)

// window reads a file in large pieces and shows any range of it.
type window struct {
	src  io.ReaderAt
	size int64 // bytes that may be looked at
	step int   // how much to read at a time
	base int64 // where buf begins
	buf  []byte
}

// at returns n bytes from off, fewer where the file ends, valid until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	n = int(max(0, min(int64(n), w.size-off)))
	if off >= w.base && off+int64(n) <= w.base+int64(len(w.buf)) {
		return w.buf[off-w.base:][:n], nil
	}
	var kept int
	if off >= w.base && off < w.base+int64(len(w.buf)) {
		kept = copy(w.buf, w.buf[off-w.base:])
	}
	want := int(min(int64(max(n, w.step)), w.size-off))
	if cap(w.buf) < want {
		grown := make([]byte, want)
		copy(grown, w.buf[:kept])
		w.buf = grown
	}
	w.base, w.buf = off, w.buf[:want]
	got, err := w.src.ReadAt(w.buf[kept:], off+int64(kept))
	if err != nil && !errors.Is(err, io.EOF) && n < want {
		// Only what is asked for has to be readable.
		kept, w.buf = 0, w.buf[:n]
		got, err = w.src.ReadAt(w.buf, off)
	}
	w.buf = w.buf[:kept+got]
	if err != nil && !errors.Is(err, io.EOF) {
		w.buf = w.buf[:0]
		return nil, err
	}
	return w.buf[:min(n, len(w.buf))], nil
}

// unreadable reports whether the disk says that it has lost what was asked for.
func unreadable(err error) bool { return errors.Is(err, syscall.EIO) }

// walker goes through the batches of one file.
type walker struct {
	win    window
	name   string // for Damage
	tag    uint64
	bodies bool        // read bodies and check them
	until  storage.LSN // the number behind the last batch; 0: not known

	off   int64       // where the next batch is due
	lsn   storage.LSN // its number
	epoch uint64      // of the one before
}

// found is a batch in a file.
type found struct {
	head
	off  int64
	body []byte // with walker.bodies; valid until the next step
	// stained says that the body is good and the zeros behind it are not.
	stained bool
}

func newWalker(src io.ReaderAt, size int64, name string, tag uint64, first, until storage.LSN, bodies bool) *walker {
	step := headAhead
	if bodies {
		step = readAhead
	}
	return &walker{
		win:  window{src: src, size: size &^ (pageSize - 1), step: step},
		name: name, tag: tag, lsn: first, until: until, bodies: bodies,
	}
}

// step returns the next batch, or a range that is damaged, or io.EOF where the log ends,
// which is at w.off.
func (w *walker) step() (found, *storage.Damage, error) {
	if w.until != 0 && w.lsn >= w.until {
		return found{}, nil, io.EOF
	}
	h, good, err := w.look(w.off)
	if err != nil && !unreadable(err) {
		return found{}, nil, err
	}
	if !good || h.lsn != w.lsn {
		return w.resync()
	}
	b := found{head: h, off: w.off}
	w.epoch = h.epoch
	w.off += h.span()
	w.lsn++
	if !w.bodies {
		return b, nil, nil
	}
	raw, err := w.win.at(b.off, int(h.span()))
	var reason string
	switch {
	case unreadable(err):
		reason = "the disk cannot read it"
	case err != nil:
		return found{}, nil, err
	default:
		reason = check(raw, &h)
	}
	if reason != "" {
		return found{}, &storage.Damage{
			File: w.name, Offset: b.off, Length: h.span(), First: h.lsn, Last: h.lsn, Reason: reason,
		}, nil
	}
	b.body = raw[headSize:][:h.length]
	b.stained = !h.clean(raw)
	return b, nil, nil
}

// look reads the header at off and reports whether it is a good one that could follow.
func (w *walker) look(off int64) (head, bool, error) {
	b, err := w.win.at(off, headSize)
	if err != nil {
		return head{}, false, err
	}
	h, ok := parseHead(b, w.tag)
	ok = ok && h.lsn >= w.lsn && h.epoch >= w.epoch && off+h.span() <= w.win.size &&
		(w.until == 0 || h.lsn < w.until)
	return h, ok, nil
}

// resync looks for the next good header. What lies between is damage; when there is
// none the log ends here, or in damage when it should not.
func (w *walker) resync() (found, *storage.Damage, error) {
	var unread error
	from := w.off
	for off := from; off < w.win.size; off += pageSize {
		h, good, err := w.look(off)
		if err != nil && !unreadable(err) {
			return found{}, nil, err
		}
		unread = cmp.Or(unread, err)
		// Each batch takes a page: more numbers than pages cannot be missing.
		if !good || h.lsn == w.lsn || (off > from && uint64(h.lsn-w.lsn) > uint64((off-from)/pageSize)) {
			continue
		}
		d := &storage.Damage{
			File: w.name, Offset: from, Length: off - from, First: w.lsn, Last: h.lsn - 1,
			Reason: "no batch where one is due",
		}
		w.off, w.lsn = off, h.lsn
		return found{}, d, nil
	}
	if w.until == 0 && unread != nil {
		return found{}, nil, unread // nobody can say where the log ends
	}
	if w.until == 0 {
		return found{}, nil, io.EOF
	}
	d := &storage.Damage{
		File: w.name, Offset: from, Length: max(w.win.size-from, 0), First: w.lsn, Last: w.until - 1,
		Reason: "no batch where one is due, to the end of the file",
	}
	w.off, w.lsn = w.win.size, w.until
	return found{}, d, nil
}

// check says what is wrong with the bytes of a batch whose header is good, or "".
func check(raw []byte, h *head) string {
	if int64(len(raw)) < h.span() {
		return "the file ends inside the batch"
	}
	if crc32.Checksum(raw[headSize:][:h.length], castagnoli()) != h.crc {
		return "the checksum of the body is wrong"
	}
	return ""
}

// clean reports whether zeros follow the body.
func (h *head) clean(raw []byte) bool {
	rest := raw[headSize+int(h.length):]
	return bytes.Count(rest, []byte{0}) == len(rest)
}
