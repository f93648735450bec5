package agent

import (
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// lookBytes is how much of a file's beginning, and of what comes before an offset, is
// remembered to know the file again. Log lines carry times, so that this much tells two
// files apart.
const lookBytes = 1 << 10

// mark is how far a file has been read, with enough to know the file again after it was
// renamed, copied and emptied, or replaced. It is what a checkpoint holds of a file.
type mark struct {
	Path    string `json:"path"` // where it was last seen
	fileID         // of the file
	Offset  int64  `json:"offset"` // everything before it is stored
	Head    int    `json:"head"`   // bytes of the file's beginning that HeadSum covers
	HeadSum uint64 `json:"head_sum"`
	BackSum uint64 `json:"back_sum"` // of the min(Offset, lookBytes) bytes before Offset
}

var table = crc64.MakeTable(crc64.ECMA)

func sum(b []byte) uint64 { return crc64.Checksum(b, table) }

// back is how many bytes before off are remembered.
func back(off int64) int { return int(min(off, lookBytes)) }

// errOther says that a file is not the one that a mark was made of.
var errOther = errors.New("the file is another, or was emptied")

// take makes a mark of f at off; head is the file's beginning as it was first read. An
// emptied or replaced file is errOther.
func take(f *os.File, path string, id fileID, off int64, head []byte) (mark, error) {
	m := mark{Path: path, fileID: id, Offset: off, Head: len(head), HeadSum: sum(head)}
	buf := make([]byte, lookBytes)
	now, err := readFull(f, buf[:len(head)], 0)
	if err != nil || sum(now) != m.HeadSum {
		return m, errors.Join(errOther, err)
	}
	before, err := readFull(f, buf[:back(off)], off-int64(back(off)))
	if err != nil {
		return m, errors.Join(errOther, err)
	}
	m.BackSum = sum(before)
	return m, nil
}

// fits reports whether f is the file that m was made of, as far as m can tell.
func (m mark) fits(f *os.File) bool {
	buf := make([]byte, lookBytes)
	if m.Head < 0 || m.Head > lookBytes || m.Offset < 0 {
		return false
	}
	head, err := readFull(f, buf[:m.Head], 0)
	if err != nil || sum(head) != m.HeadSum {
		return false
	}
	before, err := readFull(f, buf[:back(m.Offset)], m.Offset-int64(back(m.Offset)))
	return err == nil && sum(before) == m.BackSum
}

func readFull(f *os.File, b []byte, off int64) ([]byte, error) {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return b, nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

// packed are the ends of names of compressed files, which hold no lines.
var packed = []string{".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip", ".Z"}

func compressed(name string) bool {
	return slices.ContainsFunc(packed, func(end string) bool { return strings.HasSuffix(name, end) })
}

// find looks in the folder of m's path for a file that m fits: what m's file was
// renamed to, or copied to. skip says which not to take.
func (m mark) find(skip func(id fileID) bool) (*os.File, string, fileID, bool) {
	dir := filepath.Dir(m.Path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, "", fileID{}, false
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && !compressed(e.Name()) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	for _, same := range []bool{true, false} { // its own inode first
		for _, name := range names {
			f, info, err := open(name)
			if err != nil {
				continue
			}
			id := idOf(name, info)
			if (id == m.fileID) == same && !skip(id) && info.Size() >= m.Offset && m.fits(f) {
				return f, name, id, true
			}
			f.Close()
		}
	}
	return nil, "", fileID{}, false
}

// open opens a regular file for reading.
func open(name string) (*os.File, fs.FileInfo, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}
