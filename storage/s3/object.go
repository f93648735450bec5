package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"

	"penstock/internal/fault"
	"penstock/storage"
)

// The operations, as errors name them.
const (
	opPut    = "put object"
	opGet    = "get object"
	opList   = "list objects"
	opDelete = "delete object"
)

// Put sends the object in one request. Where the server is not known to honour
// conditional writes it asks first, and two Puts of one key that overlap may then both
// succeed; the object is one of the two.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	if err := storage.CheckPut(ctx, opPut, key, size); err != nil {
		return err
	}
	conditional := b.conditional.Load()
	if !conditional {
		switch _, err := b.stat(ctx, opPut, key); {
		case err == nil:
			return fault.New(fault.InUse, opPut, key, "the key exists")
		case !fault.Is(err, fault.NotFound):
			return err
		}
	}
	return b.send(ctx, key, r, size, conditional)
}

// send writes the object, over an old one unless conditional.
func (b *Bucket) send(ctx context.Context, key string, r io.ReaderAt, size int64, conditional bool) error {
	opts := minio.PutObjectOptions{
		ContentType: "application/octet-stream",
		PartSize:    uint64(b.cfg.PartSize),
		// Without TLS minio-go signs each block's SHA-256; with it only this lets the
		// server notice damage.
		SendContentMd5: b.secure,
	}
	if conditional {
		opts.SetMatchETagExcept("*")
	}
	src := &source{r: r, size: size}
	_, err := b.client.Client.PutObject(ctx, b.cfg.Bucket, b.prefix+key, io.NewSectionReader(src, 0, size), size, opts)
	if serr := src.failure(); serr != nil {
		return storage.ShortSource(opPut, key, serr)
	}
	return b.classify(ctx, opPut, key, err)
}

// source remembers why it could not be read, so that its fault is not the server's.
type source struct {
	r    io.ReaderAt
	size int64

	mu  sync.Mutex
	err error
}

// ReadAt reads within the size that Put was told.
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	want := min(int64(len(p)), max(s.size-off, 0))
	n, err := s.r.ReadAt(p[:want], off)
	if int64(n) < want {
		if err == nil {
			err = io.ErrNoProgress
		}
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return n, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (s *source) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (b *Bucket) stat(ctx context.Context, op, key string) (minio.ObjectInfo, error) {
	info, err := b.client.StatObject(ctx, b.cfg.Bucket, b.prefix+key, minio.StatObjectOptions{})
	return info, b.classify(ctx, op, key, err)
}

// Get opens the object with a range request.
func (b *Bucket) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	if err := storage.CheckGet(ctx, opGet, key, off); err != nil {
		return nil, err
	}
	if n == 0 { // HTTP has no empty range
		_, err := b.stat(ctx, opGet, key)
		return empty(), err
	}
	var opts minio.GetObjectOptions
	end := int64(0) // minio-go: to the end
	if n > 0 {
		end = off + n - 1
	}
	if off > 0 || n > 0 {
		if err := opts.SetRange(off, end); err != nil {
			return nil, fault.Wrap(fault.Invalid, opGet, key, err)
		}
		if off == 0 && end == 0 {
			opts.Set("Range", "bytes=0-0") // minio-go takes 0, 0 for everything
		}
	}
	body, info, header, err := b.client.GetObject(ctx, b.cfg.Bucket, b.prefix+key, opts)
	var resp minio.ErrorResponse
	if errors.As(err, &resp) && resp.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return empty(), nil // at or past the end
	}
	if err != nil {
		return nil, b.classify(ctx, opGet, key, err)
	}
	want := info.Size
	if off > 0 && header.Get("Content-Range") == "" {
		return nil, errors.Join(fault.New(fault.Unavailable, opGet, key, "the server ignores ranges").
			WithHint("use a store that answers range requests"), body.Close())
	}
	if n > 0 {
		want = min(want, n)
	}
	return &reader{b: b, ctx: ctx, key: key, body: body, left: want}, nil
}

func empty() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// reader is an answer on its way.
type reader struct {
	b    *Bucket
	ctx  context.Context
	key  string
	body io.ReadCloser
	left int64
}

// Read reads on; an answer that ends early is an error.
func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.body.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF && r.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err == io.EOF {
		return n, io.EOF
	}
	return n, r.b.classify(r.ctx, opGet, r.key, err)
}

// Close ends the request; what was not read is not fetched.
func (r *reader) Close() error { return r.b.classify(r.ctx, opGet, r.key, r.body.Close()) }

// List asks for a page of 1,000 at a time.
func (b *Bucket) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		if err := storage.CheckList(ctx, opList, prefix); err != nil {
			yield(storage.Object{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		noOwner := false
		opts := minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true, FetchOwner: &noOwner}
		if after > prefix {
			opts.StartAfter = b.prefix + after
		}
		for info := range b.client.ListObjectsIter(ctx, b.cfg.Bucket, opts) {
			if info.Err != nil {
				yield(storage.Object{}, b.classify(ctx, opList, prefix, info.Err))
				return
			}
			key, ours := strings.CutPrefix(info.Key, b.prefix)
			if !ours || !strings.HasPrefix(key, prefix) || key <= after || storage.CheckKey("", key) != nil {
				continue // a stranger's object, or a server that ignores start-after
			}
			if !yield(storage.Object{Key: key, Size: info.Size, Modified: info.LastModified}, nil) {
				return
			}
		}
		if err := storage.CheckContext(ctx, opList, prefix); err != nil {
			yield(storage.Object{}, err)
		}
	}
}

// Delete sends up to 1,000 keys in a request.
func (b *Bucket) Delete(ctx context.Context, keys ...string) error {
	if err := storage.CheckDelete(ctx, opDelete, keys); err != nil {
		return err
	}
	if len(keys) <= 1 { // the bulk call is the one that simple servers lack
		for _, key := range keys {
			err := b.client.RemoveObject(ctx, b.cfg.Bucket, b.prefix+key, minio.RemoveObjectOptions{})
			if err := b.classify(ctx, opDelete, key, err); err != nil && !fault.Is(err, fault.NotFound) {
				return err
			}
		}
		return nil
	}
	results, err := b.client.RemoveObjectsWithIter(ctx, b.cfg.Bucket, func(yield func(minio.ObjectInfo) bool) {
		for _, key := range keys {
			if !yield(minio.ObjectInfo{Key: b.prefix + key}) {
				return
			}
		}
	}, minio.RemoveObjectsOptions{})
	if err != nil {
		return b.classify(ctx, opDelete, "", err)
	}
	var first error
	for res := range results {
		err := b.classify(ctx, opDelete, strings.TrimPrefix(res.ObjectName, b.prefix), res.Err)
		if err != nil && !fault.Is(err, fault.NotFound) && first == nil {
			first = err
		}
	}
	if first == nil {
		first = storage.CheckContext(ctx, opDelete, "")
	}
	return first
}
