package lane

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"penstock/internal/fault"
	"penstock/internal/host"
)

// idFile is the open file lane and what it says.
type idFile struct {
	h     host.File
	id    identity
	worse int64 // the record that is bad, or older: it is written first
}

// openIdentity reads the file lane. It is fs.ErrNotExist when there is none.
func openIdentity(fsys host.FS, name string) (idFile, bool, error) {
	h, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return idFile{}, false, err
	}
	id, worse, whole, err := readIdentity(h, name)
	if err != nil {
		return idFile{}, false, errors.Join(err, h.Close())
	}
	return idFile{h: h, id: id, worse: worse}, whole, nil
}

// readIdentity returns the good record with the highest number, and which is the worse
// one; whole is false when that is not good or older.
func readIdentity(r io.ReaderAt, name string) (best identity, worse int64, whole bool, err error) {
	var (
		found  int
		number [2]uint64
		other  uint32
	)
	for i := range number {
		b := make([]byte, idSize)
		if _, err := r.ReadAt(b, int64(i)*pageSize); err != nil && !errors.Is(err, io.EOF) && !unreadable(err) {
			return identity{}, 0, false, err
		}
		id, version, ok := parseIdentity(b)
		other = max(other, version)
		if !ok {
			continue
		}
		found++
		number[i] = id.number
		if found == 1 || id.number > best.number {
			best = id
		}
	}
	switch {
	case found > 0:
		if number[1] < number[0] {
			worse = 1
		}
		return best, worse, number[0] == number[1], nil
	case other > 0:
		return identity{}, 0, false, fault.New(fault.Invalid, "open lane", name, fmt.Sprintf("version %d is not known here", other)).
			WithHint("start the version of the server that wrote it")
	}
	return identity{}, 0, false, fault.New(fault.Internal, "open lane", name, "both copies of the record, at offset 0 and 4096, are damaged").
		WithHint("put the file back from a backup: without its secret the batches beside it cannot be read")
}

// makeIdentity makes the file lane, durably with its directory.
func makeIdentity(cfg *Config) (idFile, error) {
	if err := syncParents(cfg.FS, cfg.Dir); err != nil {
		return idFile{}, err
	}
	var id identity
	id.number, id.first, id.floor = 1, 1, 1
	if _, err := io.ReadFull(cfg.Rand, id.secret[:]); err != nil {
		return idFile{}, err
	}
	name := filepath.Join(cfg.Dir, idName)
	h, err := cfg.FS.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return idFile{}, err
	}
	page := id.page()
	if _, err = h.WritevAt([][]byte{page, page}, 0); err == nil {
		err = h.Sync()
	}
	if err == nil {
		err = cfg.FS.Rename(name+".tmp", name)
	}
	if err == nil {
		err = cfg.FS.SyncDir(cfg.Dir)
	}
	if err != nil {
		return idFile{}, errors.Join(err, h.Close())
	}
	return idFile{h: h, id: id}, nil
}

// syncParents makes the directories on the way to dir durable. A process that was killed
// may have made them and not come so far, so it does not matter who made them. One that
// this user may not open, or that cannot be written, is not one that the server made.
func syncParents(fsys host.FS, dir string) error {
	for at := dir; ; {
		up := filepath.Dir(at)
		if up == at {
			return nil
		}
		err := fsys.SyncDir(up)
		switch {
		case err == nil, errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EINVAL):
		default:
			return err
		}
		at = up
	}
}

// writeIdentity changes the file lane and notes how far the lane is durable.
func (f *Files) writeIdentity(change func(*identity)) error {
	f.identity.Lock()
	defer f.identity.Unlock()
	f.mu.RLock()
	broken, next := f.broken, f.next
	f.mu.RUnlock()
	if broken != nil || f.id.h == nil {
		return broken
	}
	id := f.id.id
	id.number++
	id.floor = max(id.floor, next)
	if change != nil {
		change(&id)
	}
	page := id.page()
	for _, i := range [2]int64{f.id.worse, 1 - f.id.worse} {
		if _, err := f.id.h.WriteAt(page, i*pageSize); err != nil {
			return err
		}
		if err := f.id.h.Sync(); err != nil {
			return err
		}
	}
	f.id.id, f.id.worse = id, 0
	return nil
}
