package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"penstock/internal/fault"
	"penstock/internal/host"
)

// problem is where a chain breaks.
type problem struct {
	line int // from 1
	text string
	torn bool // what a power cut leaves: a line without its end, or a hole in the last batch
}

// Report is what Verify found.
type Report struct {
	Lines   uint64
	Newest  string // hash of the newest line, to be noted elsewhere
	Problem string // "audit-...jsonl line 12: ..."; empty: the chain holds
}

// Verify follows the chain through all files, to the line of the mark at least; the zero
// Mark asks for none. Of a log that is being written the mark must have been read before. The
// error is about reading only. A torn last line is no problem: Open cuts it off.
func Verify(ctx context.Context, fsys host.FS, dir string, mark Mark) (Report, error) {
	var r Report
	names, err := files(fsys, dir)
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && mark.Seq > 0) { // then all its lines are missing
		return r, fault.Wrap(fault.Unavailable, "verify audit log", dir, err)
	}
	prev, seq := strings.Repeat("0", 64), uint64(0)
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return r, err
		}
		f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			return r, fault.Wrap(fault.Unavailable, "verify audit log", name, err)
		}
		if n, _ := firstSeq(name); n != seq+1 {
			f.Close()
			r.Problem = path.Base(name) + ": " + missing(seq+1, n-1)
			return r, nil
		}
		noted := ""
		_, last, problem, err := scan(f, prev, func(l *Line) {
			r.Lines++
			if l.Seq == mark.Seq {
				noted = l.Hash
			}
		})
		f.Close()
		if err != nil {
			return r, fault.Wrap(fault.Unavailable, "verify audit log", name, err)
		}
		if problem != nil && !(problem.torn && i == len(names)-1) {
			r.Problem = fmt.Sprintf("%s line %d: %s", path.Base(name), problem.line, problem.text)
			return r, nil
		}
		if noted != "" && noted != mark.Hash {
			r.Problem = fmt.Sprintf("%s: line %d is not the one that was noted in the metadata store", path.Base(name), mark.Seq)
			return r, nil
		}
		if last != nil {
			prev, seq = last.Hash, last.Seq
			r.Newest = prev
		}
	}
	if seq < mark.Seq {
		r.Problem = "at the end " + missing(seq+1, mark.Seq)
	}
	return r, nil
}

// hashOf is the hash of the line with a number; "" when there is none that can be read.
func hashOf(fsys host.FS, names []string, seq uint64) (hash string, err error) {
	i := sort.Search(len(names), func(i int) bool { n, _ := firstSeq(names[i]); return n > seq })
	if i == 0 {
		return "", nil
	}
	f, err := fsys.OpenFile(names[i-1], os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	_, _, _, err = scan(f, "", func(l *Line) {
		if l.Seq == seq {
			hash = l.Hash
		}
	})
	return hash, err
}

// scan follows the chain through one file. prev "" trusts the first line's. end is the
// offset after the last good line. each, if not nil, is given every good line.
func scan(f host.File, prev string, each func(*Line)) (end int64, last *Line, bad *problem, err error) {
	size, err := f.Size()
	if err != nil {
		return 0, nil, nil, err
	}
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), lineMax)
	for n := 1; ; n++ {
		text, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			if len(text) > 0 {
				bad = &problem{n, "the line is torn", true}
			}
			return end, last, bad, nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return end, last, &problem{n, "the line is too long", hole(text, size-end)}, nil
		}
		if err != nil {
			return end, last, nil, err
		}
		line, why := check(text, prev, last)
		if why != "" {
			return end, last, &problem{n, why, hole(text, size-end)}, nil
		}
		prev, last = line.Hash, line
		end += int64(len(text))
		if each != nil {
			each(line)
		}
	}
}

// hole reports whether text, with so many bytes of the file left from it on, is what a
// power cut made of a batch that was being written: zeros near the end. Whoever makes
// some on purpose gains no more than by cutting the end off.
func hole(text []byte, left int64) bool {
	return bytes.IndexByte(text, 0) >= 0 && left <= batchMax+lineMax
}

// check verifies one line against its hash and the line before.
func check(text []byte, prev string, last *Line) (*Line, string) {
	var l Line
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, "it is no JSON"
	}
	again, hash, err := l.seal()
	switch {
	case err != nil || hash != l.Hash || !bytes.Equal(again, text):
		return nil, "it was changed: its hash does not fit"
	case prev != "" && l.Prev != prev:
		return nil, "the line before it was changed or is missing"
	case last != nil && l.Seq != last.Seq+1:
		return nil, fmt.Sprintf("line number %d follows %d", l.Seq, last.Seq)
	}
	return &l, ""
}
