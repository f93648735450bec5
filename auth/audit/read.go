package audit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
)

// Limits of Reader.
const (
	// PageMost is the most entries of a page, and PageUsual what a Query without a Limit gets.
	PageMost, PageUsual = 1000, 100
	// lookMost is about how many bytes of logs one call looks at; the rest is for the next page.
	lookMost = 8 << 20
	// stepSize is how much of a file is read at a time, from its end.
	stepSize = 64 << 10
	// partMax bounds each text of a Query.
	partMax = 256
	// setBack is how far the clock may have been set back for lines to be found by their
	// time all the same: lines lie in the order in which they were written.
	setBack = time.Hour
)

// Query says which lines a Reader shows. What is zero narrows nothing. Principal, Action and
// Object are parts of what the line says, in any case.
type Query struct {
	Start, End                time.Time
	Principal, Action, Object string
	Decision                  string // allow, deny or fail
	// Account alone, and where Strangers is set lines of no account as well; "": all.
	Account   string
	Strangers bool
	Limit     int    // PageUsual, at most PageMost
	Next      string // of the page before
}

// Entry is a line and the log that it is of.
type Entry struct {
	Line
	Log string
}

// Page is some lines, newest first. Next is for the page after it, and empty after the
// last. A page may hold fewer than were asked for, or none, and have a next all the same:
// one call looks at no more than 8 MiB.
type Page struct {
	Entries []Entry
	Next    string
}

// Source is a log for a Reader. Its name has neither dots nor tildes.
type Source struct{ Name, Dir string }

// Reader shows logs by time, those that are being written too. It checks no hashes; lines
// that cannot be read are left out, and shown by Verify. Its method may be called at once.
type Reader struct {
	FS      host.FS
	Sources []Source // of one time, the first's come first
}

// Read returns a page.
func (r *Reader) Read(ctx context.Context, q Query) (Page, error) {
	q.Limit = min(cmp.Or(q.Limit, PageUsual), PageMost)
	for _, part := range []*string{&q.Principal, &q.Action, &q.Object} {
		if len(*part) > partMax {
			return Page{}, fault.New(fault.Invalid, "read audit log", "", fmt.Sprintf("a filter is longer than %d bytes", partMax))
		}
		*part = strings.ToLower(*part)
	}
	switch q.Decision {
	case "", "allow", "deny", "fail":
	default:
		return Page{}, fault.New(fault.Invalid, "read audit log", "decision", "want allow, deny or fail")
	}
	cursors, err := r.open(q)
	defer func() {
		for _, c := range cursors {
			c.close()
		}
	}()
	if err != nil {
		return Page{}, err
	}
	return collect(ctx, cursors, q)
}

// collect takes the newest line of all cursors until the page is full.
func collect(ctx context.Context, cursors []*cursor, q Query) (p Page, err error) {
	for looked := int64(0); len(p.Entries) < q.Limit && looked < lookMost; {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		var newest *cursor
		searching := false
		for _, c := range cursors {
			n, err := c.peek(q.Start)
			if looked += n; err != nil {
				return p, fault.Wrap(fault.Unavailable, "read audit log", c.name, err)
			}
			searching = searching || c.line == nil && len(c.files) > 0
			if c.line != nil && (newest == nil || c.line.Time.After(newest.line.Time)) {
				newest = c
			}
		}
		if searching {
			continue
		}
		if newest == nil {
			return p, nil
		}
		if q.fits(newest.line) {
			p.Entries = append(p.Entries, Entry{*newest.line, newest.name})
		}
		newest.take()
	}
	var next []string
	for _, c := range cursors {
		if at := c.at(); at != "" {
			next = append(next, at)
		}
	}
	p.Next = strings.Join(next, "~")
	return p, nil
}

func (q *Query) fits(l *Line) bool {
	has := func(text, part string) bool { return part == "" || strings.Contains(strings.ToLower(text), part) }
	return (q.Account == "" || l.Account == q.Account || q.Strangers && l.Account == "") &&
		(q.Start.IsZero() || !l.Time.Before(q.Start)) && (q.End.IsZero() || l.Time.Before(q.End)) &&
		(q.Decision == "" || l.Decision == q.Decision) &&
		has(l.Principal, q.Principal) && has(l.Action, q.Action) && has(l.Object, q.Object)
}

// open begins where q says, in each log.
func (r *Reader) open(q Query) (list []*cursor, err error) {
	from, err := r.positions(q.Next)
	if err != nil {
		return nil, err
	}
	for _, s := range r.Sources {
		c := &cursor{fsys: r.FS, name: s.Name, end: -1}
		list = append(list, c)
		c.files, err = files(r.FS, s.Dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no command has written there yet
		}
		if err == nil {
			err = c.seek(q, from)
		}
		if err != nil {
			return list, fault.Wrap(fault.Unavailable, "read audit log", s.Dir, err)
		}
	}
	return list, nil
}

// position is a place in a log: what comes before end of the file that begins with a line
// of this number, and the files before it.
type position struct {
	first uint64
	end   int64
}

// positions reads the Next of a page. A log that it does not name is at its end.
func (r *Reader) positions(next string) (map[string]position, error) {
	if next == "" {
		return nil, nil
	}
	list := map[string]position{}
	for _, text := range strings.SplitN(next, "~", len(r.Sources)+1) {
		var p position
		name, rest, _ := strings.Cut(text, ".")
		first, end, _ := strings.Cut(rest, ".")
		n, err1 := strconv.ParseUint(first, 10, 64)
		m, err2 := strconv.ParseInt(end, 10, 64)
		if p.first, p.end = n, m; err1 != nil || err2 != nil || m < 0 {
			return nil, fault.New(fault.Invalid, "read audit log", "next", "it is of no page")
		}
		list[name] = p
	}
	return list, nil
}

// cursor goes through one log from its newest line to its oldest.
type cursor struct {
	fsys  host.FS
	name  string
	files []string // what is left, oldest first; the last is looked at
	file  host.File
	end   int64 // of what is left of file; -1: all of it
	buf   []byte
	base  int64 // where buf lies in file

	line  *Line // the newest that is left, once peek has found it
	begin int64 // of it
}

// seek goes to where a page begins.
func (c *cursor) seek(q Query, from map[string]position) error {
	if from != nil {
		at, ok := from[c.name]
		n := sort.Search(len(c.files), func(i int) bool { first, _ := firstSeq(c.files[i]); return first > at.first })
		if !ok {
			n = 0
		}
		if c.files = c.files[:n]; n > 0 {
			if first, _ := firstSeq(c.files[n-1]); first == at.first {
				c.end = at.end
			}
		}
		return nil
	}
	if q.End.IsZero() {
		return nil
	}
	return c.seekTime(q.End.Add(setBack))
}

// seekTime leaves out most of what was written after t.
func (c *cursor) seekTime(t time.Time) error {
	var failed error
	n := sort.Search(len(c.files), func(i int) bool {
		f, err := c.fsys.OpenFile(c.files[i], os.O_RDONLY, 0)
		if err != nil {
			failed = errors.Join(failed, err)
			return false
		}
		defer f.Close()
		later, err := after(f, 0, t)
		failed = errors.Join(failed, err)
		return later
	})
	if c.files = c.files[:n]; failed != nil || n == 0 {
		return failed
	}
	if err := c.opened(); err != nil {
		return err
	}
	steps := int(c.end / stepSize)
	later := sort.Search(steps, func(i int) bool {
		yes, err := after(c.file, int64(i+1)*stepSize, t)
		failed = errors.Join(failed, err)
		return yes
	})
	if later < steps {
		c.end = min(c.end, int64(later+1)*stepSize+lineMax) // within the lines after t: what is torn is left out
	}
	return failed
}

// after reports whether the first whole line from off on is of a time after t. Where there
// is none it is not.
func after(f host.File, off int64, t time.Time) (bool, error) {
	buf := make([]byte, 2*lineMax)
	n, err := f.ReadAt(buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	text := buf[:n]
	if off > 0 {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	var l Line
	return json.Unmarshal(text, &l) == nil && l.Time.After(t), nil
}

// opened opens the newest file that is left.
func (c *cursor) opened() (err error) {
	if c.file != nil {
		return nil
	}
	if c.file, err = c.fsys.OpenFile(c.files[len(c.files)-1], os.O_RDONLY, 0); err != nil {
		return err
	}
	size, err := c.file.Size()
	if c.end < 0 || c.end > size {
		c.end = size
	}
	return err
}

func (c *cursor) close() {
	if c.file != nil {
		_ = c.file.Close() // it was read alone
	}
	c.file, c.buf = nil, nil
}

// older goes to the file before.
func (c *cursor) older() {
	c.close()
	c.files, c.end = c.files[:len(c.files)-1], -1
}

// peek finds the newest line that is left and reports how many bytes it went through: a
// step's worth at most, where none of them is a line. It looks at nothing from an hour before
// start on.
func (c *cursor) peek(start time.Time) (looked int64, err error) {
	for c.line == nil && len(c.files) > 0 && looked < stepSize {
		if err := c.opened(); err != nil {
			return looked, err
		}
		if c.end == 0 {
			c.older()
			continue
		}
		text, err := c.last()
		if err != nil {
			return looked, err
		}
		looked += int64(len(text))
		var l Line
		switch {
		case json.Unmarshal(text, &l) != nil || l.Hash == "":
			c.end = c.begin // torn, or damaged
		case !start.IsZero() && l.Time.Before(start.Add(-setBack)):
			c.close()
			c.files = nil
		default:
			c.line = &l
		}
	}
	return looked, nil
}

// last returns what follows the last line feed but one before end.
func (c *cursor) last() ([]byte, error) {
	for fresh := false; ; fresh = true {
		if c.buf != nil && c.end > c.base {
			text := c.buf[:c.end-c.base]
			i := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
			if c.begin = c.base + int64(i); i > 0 || c.base == 0 || fresh {
				return text[i:], nil
			}
		}
		c.base = max(0, c.end-stepSize)
		if c.buf == nil {
			c.buf = make([]byte, stepSize)
		}
		c.buf = c.buf[:c.end-c.base]
		if n, err := c.file.ReadAt(c.buf, c.base); err != nil && n < len(c.buf) {
			return nil, err
		}
	}
}

// take goes on to the line before.
func (c *cursor) take() { c.line, c.end = nil, c.begin }

// at is the position of what is left; "" when nothing is.
func (c *cursor) at() string {
	if len(c.files) == 0 {
		return ""
	}
	first, _ := firstSeq(c.files[len(c.files)-1])
	if c.end < 0 {
		return c.name + "." + strconv.FormatUint(first, 10) + "." + strconv.FormatInt(1<<62, 10) // all of it
	}
	return c.name + "." + strconv.FormatUint(first, 10) + "." + strconv.FormatInt(c.end, 10)
}
