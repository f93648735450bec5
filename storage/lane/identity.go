package lane

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"penstock/internal/fault"
	"penstock/internal/host"
)

// idFile is the open file lane and what it says.
type idFile struct {
	h  host.File
	id identity
}

// openIdentity reads the file lane. It is fs.ErrNotExist when there is none.
func openIdentity(fsys host.FS, name string) (idFile, bool, error) {
	h, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return idFile{}, false, err
	}
	id, whole, err := readIdentity(h, name)
	if err != nil {
		return idFile{}, false, errors.Join(err, h.Close())
	}
	return idFile{h: h, id: id}, whole, nil
}

// readIdentity returns the good record with the highest number; whole is false when one
// of the two is not good or older.
func readIdentity(r io.ReaderAt, name string) (best identity, whole bool, err error) {
	var (
		found  int
		number [2]uint64
		other  uint32
	)
	for i := range number {
		b := make([]byte, idSize)
		if _, err := r.ReadAt(b, int64(i)*pageSize); err != nil && !errors.Is(err, io.EOF) {
			return identity{}, false, err
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
		return best, number[0] == number[1], nil
	case other > 0:
		return identity{}, false, fault.New(fault.Invalid, "open lane", name, fmt.Sprintf("version %d is not known here", other)).
			WithHint("start the version of the server that wrote it")
	}
	return identity{}, false, fault.New(fault.Internal, "open lane", name, "both copies of the record, at offset 0 and 4096, are damaged").
		WithHint("put the file back from a backup: without its secret the batches beside it cannot be read")
}

// makeIdentity makes the directory and the file lane, durably.
func makeIdentity(cfg *Config) (idFile, error) {
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

// makeDir makes dir and its parents, durably.
func makeDir(fsys host.FS, dir string) error {
	var made []string
	for at := dir; ; {
		_, err := fsys.Stat(at)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		made = append(made, at)
		up := filepath.Dir(at)
		if up == at {
			break
		}
		at = up
	}
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, at := range made {
		if err := fsys.SyncDir(filepath.Dir(at)); err != nil {
			return err
		}
	}
	return nil
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
	id.floor = next
	if change != nil {
		change(&id)
	}
	page := id.page()
	for i := range int64(2) {
		if _, err := f.id.h.WriteAt(page, i*pageSize); err != nil {
			return err
		}
		if err := f.id.h.Sync(); err != nil {
			return err
		}
	}
	f.id.id = id
	return nil
}
