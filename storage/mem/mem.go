// Package mem keeps objects in memory: a storage.Bucket for tests and demonstrations.
//
// It passes the same suite as the others, but what it calls durable ends with the process.
package mem

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
)

// Config of a Bucket. The zero value is fit for use.
type Config struct {
	Clock host.Clock // stamps objects; nil: host.System
}

// Bucket is a storage.Bucket in memory. Its methods may be called at once.
type Bucket struct {
	clock host.Clock

	mu      sync.RWMutex
	keys    []string // sorted
	objects map[string]object
}

type object struct {
	storage.Object
	data []byte
}

var _ storage.Bucket = (*Bucket)(nil)

// New returns an empty Bucket.
func New(cfg Config) *Bucket {
	cfg.Clock = cmp.Or[host.Clock](cfg.Clock, host.System{})
	return &Bucket{clock: cfg.Clock, objects: map[string]object{}}
}

// Put stores a copy of the bytes.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	const op = "put object"
	if err := storage.CheckPut(ctx, op, key, size); err != nil {
		return err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), data); err != nil && size > 0 {
		return storage.ShortSource(op, key, err)
	}
	if err := ctx.Err(); err != nil {
		return fault.Wrap(fault.Unavailable, op, key, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at, taken := slices.BinarySearch(b.keys, key)
	if taken {
		return fault.New(fault.InUse, op, key, "the key exists")
	}
	if b.directory(key) {
		return fault.New(fault.InUse, op, key, "a key is a directory of another")
	}
	b.keys = slices.Insert(b.keys, at, key)
	b.objects[key] = object{storage.Object{Key: key, Size: size, Modified: b.clock.Now()}, data}
	return nil
}

// directory reports whether key would be a directory of another or lie under one.
func (b *Bucket) directory(key string) bool {
	at, _ := slices.BinarySearch(b.keys, key+"/")
	if at < len(b.keys) && strings.HasPrefix(b.keys[at], key+"/") {
		return true
	}
	for i := range len(key) {
		if _, taken := b.objects[key[:i]]; taken && key[i] == '/' {
			return true
		}
	}
	return false
}

// Get reads from the stored bytes without copying them first.
func (b *Bucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	const op = "get object"
	if err := storage.CheckGet(ctx, op, key, off); err != nil {
		return nil, err
	}
	b.mu.RLock()
	o, ok := b.objects[key]
	b.mu.RUnlock()
	if !ok {
		return nil, fault.New(fault.NotFound, op, key, "no such object")
	}
	off = min(off, o.Size)
	if n < 0 || n > o.Size-off {
		n = o.Size - off
	}
	return io.NopCloser(bytes.NewReader(o.data[off : off+n])), nil
}

// List sees each object that was there before it began, unless deleted meanwhile.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		if err := storage.CheckList(ctx, "list objects", prefix); err != nil {
			yield(storage.Object{}, err)
			return
		}
		from, strict := max(prefix, after), after >= prefix
		for {
			o, ok := b.next(from, strict && from != "")
			if !ok || !strings.HasPrefix(o.Key, prefix) {
				return
			}
			if err := ctx.Err(); err != nil {
				yield(storage.Object{}, fault.Wrap(fault.Unavailable, "list objects", prefix, err))
				return
			}
			if !yield(o, nil) {
				return
			}
			from, strict = o.Key, true
		}
	}
}

// next returns the first object at from or, when strict, past it.
func (b *Bucket) next(from string, strict bool) (storage.Object, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	at, found := slices.BinarySearch(b.keys, from)
	if found && strict {
		at++
	}
	if at == len(b.keys) {
		return storage.Object{}, false
	}
	return b.objects[b.keys[at]].Object, true
}

// Delete forgets the objects.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	if err := storage.CheckDelete(ctx, "delete objects", keys); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, key := range keys {
		if at, found := slices.BinarySearch(b.keys, key); found {
			b.keys = slices.Delete(b.keys, at, at+1)
			delete(b.objects, key)
		}
	}
	return nil
}
