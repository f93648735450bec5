package disk

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"penstock/storage"
)

// List walks only the directories that can hold a key of the answer.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		if err := storage.CheckList(ctx, opList, prefix); err != nil {
			yield(storage.Object{}, err)
			return
		}
		w := &walk{ctx: ctx, b: b, prefix: prefix, after: after, yield: yield}
		rel := path.Dir(prefix + "x") // the directory that all keys of the answer are in
		if rel == "." {
			rel = ""
		} else {
			rel += "/"
		}
		w.dir(rel)
	}
}

type walk struct {
	ctx           context.Context
	b             *Bucket
	prefix, after string
	yield         func(storage.Object, error) bool
}

// dir yields what is below rel, which is "" or ends in a slash; false ends the walk.
func (w *walk) dir(rel string) bool {
	if err := storage.CheckContext(w.ctx, opList, rel); err != nil {
		w.yield(storage.Object{}, err)
		return false
	}
	entries, err := w.b.fs.ReadDir(path.Join(w.b.dir, rel))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		// A prefix "a/b/" where a/b is an object names nothing.
		if st, serr := w.b.fs.Stat(path.Join(w.b.dir, rel)); serr == nil && !st.IsDir() {
			return true
		}
		w.yield(storage.Object{}, classify(opList, rel, err))
		return false
	}
	// In key order a directory's slash counts: "a-b" sorts before "a/b".
	slices.SortFunc(entries, func(x, y fs.DirEntry) int { return strings.Compare(order(x), order(y)) })
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		key := rel + order(e)
		if e.IsDir() {
			if w.within(key) && !w.dir(key) {
				return false
			}
			continue
		}
		if !strings.HasPrefix(key, w.prefix) || key <= w.after || storage.CheckKey("", key) != nil {
			continue
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			w.yield(storage.Object{}, classify(opList, key, err))
			return false
		}
		if !st.Mode().IsRegular() {
			continue
		}
		if !w.yield(storage.Object{Key: key, Size: st.Size(), Modified: st.ModTime()}, nil) {
			return false
		}
	}
	return true
}

// within reports whether the directory rel can hold a key of the answer.
func (w *walk) within(rel string) bool {
	if !strings.HasPrefix(rel, w.prefix) && !strings.HasPrefix(w.prefix, rel) {
		return false
	}
	// All keys below rel sort before after, unless after is itself below or before it.
	return rel > w.after || strings.HasPrefix(w.after, rel)
}

func order(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}
