package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"penstock/internal/fault"
	"penstock/storage"
)

// Put writes a temporary file, syncs it, renames it to its place and syncs the
// directories.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	if err := storage.CheckPut(ctx, opPut, key, size); err != nil {
		return err
	}
	done, err := b.claim(opPut, key)
	if err != nil {
		return err
	}
	defer done()
	b.mu.Lock()
	b.seq++
	tmp := path.Join(b.tmp, fmt.Sprintf("%d%s", b.seq, tmpSuffix))
	b.mu.Unlock()
	if err := b.fill(ctx, tmp, key, r, size); err != nil {
		return errors.Join(err, b.discard(tmp))
	}
	if err := b.install(opPut, key, tmp); err != nil {
		// If the rename happened there is nothing left to discard.
		return errors.Join(err, b.discard(tmp))
	}
	return nil
}

// Adopt renames the file at name, which its owner synced, to the place of key.
func (b *Bucket) Adopt(ctx context.Context, key, name string) error {
	if err := storage.CheckPut(ctx, opAdopt, key, 0); err != nil {
		return err
	}
	done, err := b.claim(opAdopt, key)
	if err != nil {
		return err
	}
	defer done()
	st, err := b.fs.Stat(name)
	if err == nil && st.IsDir() {
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, opAdopt, key, "no file "+name)
	}
	if err != nil {
		return classify(opAdopt, key, err)
	}
	if err := b.install(opAdopt, key, name); err != nil {
		return err
	}
	// The rename is durable; so must be that the old name is gone.
	return classify(opAdopt, path.Dir(name), b.fs.SyncDir(path.Dir(name)))
}

// claim takes key for one caller and makes sure that it is free.
func (b *Bucket) claim(op, key string) (done func(), err error) {
	b.mu.Lock()
	if _, taken := b.busy[key]; taken {
		b.mu.Unlock()
		return nil, fault.New(fault.InUse, op, key, "the key is being stored")
	}
	b.busy[key] = struct{}{}
	b.mu.Unlock()
	done = func() {
		b.mu.Lock()
		delete(b.busy, key)
		b.mu.Unlock()
	}
	st, err := b.fs.Stat(b.Path(key))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return done, nil
	case err != nil:
		err = classify(op, key, err)
	case st.IsDir() && !b.hollow(b.Path(key)):
		err = fault.New(fault.InUse, op, key, "a key is a directory of another")
	case st.IsDir():
		return done, nil
	default:
		// One who hears this may take the object for stored. A process that was killed
		// after the rename left its name unsynced.
		if err = classify(op, key, b.syncParents(path.Dir(key))); err == nil {
			err = fault.New(fault.InUse, op, key, "the key exists")
		}
	}
	done()
	return nil, err
}

// fill writes and syncs the temporary file.
func (b *Bucket) fill(ctx context.Context, tmp, key string, r io.ReaderAt, size int64) error {
	f, err := b.fs.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return classify(opPut, key, err)
	}
	if size > 0 {
		err = classify(opPut, key, f.Allocate(size)) // a full disk is better met at once
	}
	buf := make([]byte, min(size, copyBlock))
	for off := int64(0); off < size && err == nil; {
		if err = storage.CheckContext(ctx, opPut, key); err != nil {
			break
		}
		p := buf[:min(size-off, int64(len(buf)))]
		n, rerr := r.ReadAt(p, off)
		if n < len(p) {
			err = storage.ShortSource(opPut, key, rerr)
			break
		}
		_, err = f.WriteAt(p, off)
		err = classify(opPut, key, err)
		off += int64(n)
	}
	if err == nil {
		err = classify(opPut, key, f.Sync())
	}
	return errors.Join(err, classify(opPut, key, f.Close()))
}

func (b *Bucket) discard(tmp string) error {
	if err := b.fs.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return classify("discard temporary file", tmp, err)
	}
	return nil
}

// install renames the synced file at name to the place of key, durably.
func (b *Bucket) install(op, key, name string) error {
	target := b.Path(key)
	rel := path.Dir(key)
	err := b.move(name, target, rel)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
		// A Delete took the directory away meanwhile (mkdir then may even say that it
		// exists): once more, with Deletes held off.
		b.forget(rel)
		b.place.RLock()
		err = b.move(name, target, rel)
		b.place.RUnlock()
	}
	if err != nil {
		return classify(op, key, err)
	}
	if err := b.syncParents(rel); err != nil {
		// Seen but perhaps not durable: take it back, or the next Put of the key would
		// hear that it exists.
		if back := b.fs.Rename(target, name); back != nil {
			err = errors.Join(err, back)
		}
		return classify(op, key, err)
	}
	return nil
}

// makeDirs makes the directory rel durable, before anything moves into it: what a
// rename took from a durable directory must not be lost with one that is not.
func (b *Bucket) makeDirs(rel string) error {
	b.mu.Lock()
	_, ok := b.known[rel]
	b.mu.Unlock()
	if ok {
		return nil
	}
	if err := b.fs.MkdirAll(path.Join(b.dir, rel), 0o750); err != nil {
		return err
	}
	return b.syncParents(rel)
}

// move renames name to target in the directory rel, over a hollow directory too.
func (b *Bucket) move(name, target, rel string) error {
	if err := b.makeDirs(rel); err != nil {
		return err
	}
	err := b.fs.Rename(name, target)
	if err != nil && b.hollow(target) {
		b.removeHollow(target)
		err = b.fs.Rename(name, target)
	}
	return err
}

// syncParents makes the entries of the directory rel durable, and rel's own in its
// parents unless this was done before.
func (b *Bucket) syncParents(rel string) error {
	b.mu.Lock()
	_, ok := b.known[rel]
	gen := b.gen
	b.mu.Unlock()
	if err := b.fs.SyncDir(path.Join(b.dir, rel)); err != nil {
		return err
	}
	if ok {
		return nil
	}
	for at := rel; at != "."; at = path.Dir(at) {
		if err := b.fs.SyncDir(path.Join(b.dir, path.Dir(at))); err != nil {
			return err
		}
	}
	b.remember(rel, gen)
	return nil
}

func (b *Bucket) forget(rel string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.known, rel)
}

// remember notes that rel is durable, unless a directory was removed since gen.
func (b *Bucket) remember(rel string, gen uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if gen != b.gen {
		return
	}
	if len(b.known) >= maxKnownDirs {
		clear(b.known)
	}
	b.known[rel] = struct{}{}
}

// hollow reports whether name is a directory with only such directories in it: what a
// Delete left when a crash came before its tidying.
func (b *Bucket) hollow(name string) bool {
	list, err := b.fs.ReadDir(name)
	if err != nil {
		return false
	}
	for _, e := range list {
		if !e.IsDir() || !b.hollow(path.Join(name, e.Name())) {
			return false
		}
	}
	return true
}

// removeHollow removes a hollow directory; what it cannot remove the rename meets again.
func (b *Bucket) removeHollow(name string) {
	list, err := b.fs.ReadDir(name)
	if err != nil {
		return
	}
	for _, e := range list {
		b.removeHollow(path.Join(name, e.Name()))
	}
	_ = b.fs.Remove(name)
}

// Delete removes the files, then the directories that they leave empty, and syncs each
// directory once.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	if err := storage.CheckDelete(ctx, opDelete, keys); err != nil {
		return err
	}
	touched := map[string]struct{}{}
	for _, key := range keys {
		if err := storage.CheckContext(ctx, opDelete, key); err != nil {
			return err
		}
		st, err := b.fs.Stat(b.Path(key))
		if err == nil && st.IsDir() {
			continue
		}
		if err == nil {
			err = b.fs.Remove(b.Path(key))
		}
		if err = classify(opDelete, key, err); fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		touched[path.Dir(key)] = struct{}{}
	}
	for rel := range touched {
		left := b.prune(rel)
		err := b.fs.SyncDir(path.Join(b.dir, left))
		for left != "." && errors.Is(err, fs.ErrNotExist) { // pruned by another Delete
			left = path.Dir(left)
			err = b.fs.SyncDir(path.Join(b.dir, left))
		}
		if err != nil {
			return classify(opDelete, left, err)
		}
	}
	return nil
}

// prune removes rel and its parents while they are empty and returns the first that
// stays.
func (b *Bucket) prune(rel string) string {
	b.place.Lock()
	defer b.place.Unlock()
	for ; rel != "."; rel = path.Dir(rel) {
		if b.fs.Remove(path.Join(b.dir, rel)) != nil {
			break
		}
		b.mu.Lock()
		b.gen++
		for dir := range b.known {
			if dir == rel || strings.HasPrefix(dir, rel+"/") {
				delete(b.known, dir)
			}
		}
		b.mu.Unlock()
	}
	return rel
}
