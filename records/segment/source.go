package segment

import (
	"cmp"
	"context"
	"crypto/cipher"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"

	"penstock/internal/bytecache"
	"penstock/internal/fault"
	"penstock/storage"
)

// DefaultCache bounds what a Source keeps where nothing is asked for.
const DefaultCache = 64 << 20

// SourceConfig says where segments are read from.
type SourceConfig struct {
	Bucket storage.Bucket
	// Cache bounds the bytes of footers and decoded blocks that are kept, of all
	// segments together; 0: DefaultCache. What weighs more than half of it is not kept.
	Cache int64
	// Keys returns the AEAD that Config.KeyID named; nil: encrypted segments are
	// fault.Denied.
	Keys func(ctx context.Context, keyID string) (cipher.AEAD, error)
}

// Source opens the segments of a bucket and shares one cache between them. Its methods
// may be called at once. It starts no goroutine of its own and needs no closing.
type Source struct {
	c     SourceConfig
	cache *bytecache.Cache[place, part]
	zstd  *zstd.Decoder
	room  sync.Pool // of *[]byte: stored bytes that are not kept

	mu      sync.Mutex
	flights map[place]*flight
}

// place names a footer (block < 0) or a block.
type place struct {
	object string
	block  int
}

// part is what a place holds.
type part struct {
	foot  *footer
	block *Block
}

func (p part) weight() int64 {
	if p.foot != nil {
		return p.foot.weight()
	}
	return p.block.weight()
}

// flight is a part that is being read.
type flight struct {
	done chan struct{}
	part part
	err  error
}

// NewSource returns a Source.
func NewSource(c SourceConfig) *Source {
	c.Cache = cmp.Or(c.Cache, DefaultCache)
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.IgnoreChecksum(true),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxRows))
	if err != nil {
		panic(err) // only a wrong option fails
	}
	return &Source{
		c: c, cache: bytecache.New[place, part](c.Cache), zstd: d,
		room: sync.Pool{New: func() any { return new([]byte) }}, flights: map[place]*flight{},
	}
}

// get returns the part at p, from the cache, from a read of it that is under way, or from
// read.
func (s *Source) get(ctx context.Context, p place, read func() (part, error)) (part, error) {
	for {
		if v, ok := s.cache.Get(p); ok {
			return v, nil
		}
		s.mu.Lock()
		f := s.flights[p]
		if f == nil {
			f = &flight{done: make(chan struct{}), err: errors.ErrUnsupported}
			s.flights[p] = f
			s.mu.Unlock()
			return s.fly(p, f, read)
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return part{}, fault.Wrap(fault.Internal, "read segment", p.object, ctx.Err())
		case <-f.done:
		}
		// A reader that was called off is not this one's failure: read again.
		if !errors.Is(f.err, context.Canceled) && !errors.Is(f.err, context.DeadlineExceeded) {
			return f.part, f.err
		}
	}
}

// fly reads and tells those who wait.
func (s *Source) fly(p place, f *flight, read func() (part, error)) (part, error) {
	defer func() {
		s.mu.Lock()
		delete(s.flights, p)
		s.mu.Unlock()
		close(f.done)
	}()
	if f.part, f.err = read(); f.err == nil {
		s.cache.Put(p, f.part, f.part.weight())
	}
	return f.part, f.err
}

// Open returns a reader of the object key of size bytes, with one Get, rarely two, where
// the footer is not in the cache. A Reader is cheap: open one for each read rather than
// keeping it. fault.Invalid: the key is not a segment's; fault.NotFound: there is no such
// object; a Damage: its footer is not what was written.
func (s *Source) Open(ctx context.Context, key string, size int64) (*Reader, error) {
	name, err := ParseKey(key)
	if err != nil {
		return nil, err
	}
	p, err := s.get(ctx, place{key, -1}, func() (part, error) {
		f, err := s.readFooter(ctx, name, size)
		return part{foot: f}, err
	})
	if err != nil {
		return nil, err
	}
	return &Reader{s: s, key: key, size: size, foot: p.foot}, nil
}

// tailRead is how much of an object's end Open reads at first: the footer of 4,000 blocks.
const tailRead = 64 << 10

func (s *Source) readFooter(ctx context.Context, name Name, size int64) (*footer, error) {
	key := name.Key()
	if size < fileHeadLen+blockHeadLen+trailerLen {
		return nil, damaged(key, 0, "the object is too short")
	}
	off := max(0, size-tailRead)
	tail, err := s.read(ctx, key, off, make([]byte, size-off))
	if err != nil {
		return nil, err
	}
	end := size - trailerLen
	n, crc, err := parseTrailer(tail[end-off:])
	if err == nil && n > end {
		err = errFormat
	}
	if err != nil {
		return nil, damaged(key, end, err.Error())
	}
	at := end - n
	if at < off {
		tail = append(make([]byte, off-at, end-at), tail[:end-off]...)
		if _, err := s.read(ctx, key, at, tail[:off-at]); err != nil {
			return nil, err
		}
		off = at
	}
	f, err := parseFooter(tail[at-off:end-off], crc, at)
	if err != nil {
		return nil, damaged(key, at, err.Error())
	}
	if f.info(size).Name != name {
		return nil, damaged(key, at, "it is the segment of another key: "+f.info(size).Name.Key())
	}
	return f, nil
}

// read fills b from off and returns it.
func (s *Source) read(ctx context.Context, key string, off int64, b []byte) ([]byte, error) {
	r, err := s.c.Bucket.Get(ctx, key, off, int64(len(b)))
	if err != nil {
		return nil, fault.Wrap(fault.KindOf(err), "read segment", key, err)
	}
	defer r.Close()
	if n, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, damaged(key, off, "the object ends too early, at byte "+decimal(off+int64(n)))
		}
		return nil, fault.Wrap(fault.KindOf(err), "read segment", key, err)
	}
	return b, nil
}
