// Package storage is the door to objects: a Bucket is a flat store of immutable
// objects under validated keys, on disk (storage/disk), in an S3-compatible store
// (storage/s3) or in memory (storage/mem).
//
// Retry and metrics wrap a Bucket (storage/retry, storage/metered), so no store holds
// a retry loop. The small transactional store of everything that is not an object is
// storage/meta. Every Bucket passes the suite in storage/storagetest.
package storage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"penstock/internal/fault"
)

// Object describes a stored object.
type Object struct {
	Key      string
	Size     int64     // bytes
	Modified time.Time // when it was stored, by the store's clock; its precision is the store's
}

// Bucket is a flat store of immutable objects. All methods may be called at once.
//
// Keys follow CheckKey; any other key is fault.Invalid. No key may be a directory of
// another ("a" beside "a/b"): a store that keeps objects as files refuses the second
// with fault.InUse.
type Bucket interface {
	// Put stores size bytes of r, whole and durable, or nothing; r that is shorter
	// or fails is fault.Invalid. fault.InUse: the key exists. An error of any other kind leaves
	// open whether the object was stored. r is not used after Put returned.
	Put(ctx context.Context, key string, r io.ReaderAt, size int64) error
	// Get reads n bytes from off, fewer where the object ends; n < 0 means to the end.
	// At or past the end the reader is empty. fault.NotFound: no such object;
	// fault.Invalid: off < 0. The caller closes the reader; ctx bounds the reading too.
	Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	// List yields the objects whose keys begin with prefix and sort after after, in
	// byte order of their keys. Objects stored or deleted meanwhile may or may not be
	// seen. After an error it ends.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]
	// Delete removes the objects durably; a missing key is no error. After an error
	// some may be gone and some not.
	Delete(ctx context.Context, keys ...string) error
}

// FileBucket is the power of a Bucket that keeps each object in a file of its own.
// Find it with Files, which looks through wrappers.
type FileBucket interface {
	Bucket
	// Path returns the file that holds key, whether it exists or not; the file is
	// never to be written. An invalid key gives "".
	Path(key string) string
	// Adopt makes the file at path, whose data its owner already synced, the object
	// key, by renaming it: nothing is copied. It returns when that is durable.
	// fault.InUse: the key exists; fault.NotFound: no file at path.
	Adopt(ctx context.Context, key, path string) error
}

// Wrapper is a Bucket around another, as storage/retry and storage/metered return.
type Wrapper interface {
	Bucket
	Unwrap() Bucket
}

// Files returns the FileBucket in b or in what b wraps.
func Files(b Bucket) (FileBucket, bool) {
	for {
		if f, ok := b.(FileBucket); ok {
			return f, true
		}
		w, ok := b.(Wrapper)
		if !ok {
			return nil, false
		}
		b = w.Unwrap()
	}
}

// sameBlock is how much Same holds of each side at a time.
const sameBlock = 64 << 10

// Same reports whether the object key holds exactly the size bytes of r. A caller who
// meets fault.InUse when it puts an object again after a crash or a lost answer learns
// with it whether the first attempt had worked. A missing object is not the same.
func Same(ctx context.Context, b Bucket, key string, r io.ReaderAt, size int64) (bool, error) {
	obj, err := b.Get(ctx, key, 0, -1)
	if fault.Is(err, fault.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer obj.Close()
	have, want := make([]byte, sameBlock), make([]byte, sameBlock)
	for off := int64(0); ; {
		n, err := io.ReadFull(obj, have)
		if off+int64(n) > size {
			return false, nil
		}
		m, rerr := io.ReadFull(io.NewSectionReader(r, off, int64(n)), want[:n])
		if rerr != nil && n > 0 {
			return false, fault.Wrap(fault.Internal, "compare object", key, rerr)
		}
		if !bytes.Equal(have[:n], want[:m]) {
			return false, nil
		}
		off += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && n < len(have):
			return off == size, nil
		case err != nil:
			return false, fault.Wrap(fault.Internal, "compare object", key, err)
		}
	}
}
