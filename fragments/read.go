package fragments

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"penstock/internal/fault"
)

// place is where a fragment can be read.
type place struct {
	entry
	f     *Fragment // still in memory
	chunk *chunk    // held; its file is open here
	id    chunkID   // of a listed chunk
}

// Read returns a fragment with its media. fault.NotFound: no such fragment; fault.Expired:
// retention took it; fault.Unavailable: it is damaged, the error names object and offset.
func (l *Log) Read(ctx context.Context, n Number) (*Fragment, error) {
	p, err := l.locate(ctx, n)
	if err != nil {
		return nil, err
	}
	if p.f != nil {
		return p.f, nil
	}
	b, meta, err := l.record(ctx, p)
	if err != nil {
		return nil, err
	}
	f, err := l.parse(p, meta)
	if err != nil {
		return nil, err
	}
	data := b[len(b)-int(f.Size):]
	for i, size := range f.Sizes {
		f.Samples[i].Data, data = data[:size:size], data[size:]
	}
	f.Sizes = nil
	return f, nil
}

// ReadIndex returns a fragment whose samples have no Data; Sizes holds their sizes. Its
// errors are Read's.
func (l *Log) ReadIndex(ctx context.Context, n Number) (*Fragment, error) {
	p, err := l.locate(ctx, n)
	if err != nil {
		return nil, err
	}
	if p.f != nil {
		return p.f.index(), nil
	}
	b := make([]byte, recordLen+int(p.metaLen))
	if err := l.readAt(ctx, p, b, p.off); err != nil {
		return nil, err
	}
	meta, _, err := l.checkMeta(p, b)
	if err != nil {
		return nil, err
	}
	return l.parse(p, meta)
}

// index returns a copy of f without media, with Sizes.
func (f *Fragment) index() *Fragment {
	c := *f
	c.Samples, c.Sizes = append(f.Samples[:0:0], f.Samples...), make([]uint32, len(f.Samples))
	for i := range c.Samples {
		c.Sizes[i], c.Samples[i].Data = uint32(len(c.Samples[i].Data)), nil
	}
	return &c
}

// OpenData returns the sample bytes of a fragment, one sample after another in the order
// of Samples, checked against their CRC, and their length. Its errors are Read's.
func (l *Log) OpenData(ctx context.Context, n Number) (io.ReaderAt, int64, error) {
	p, err := l.locate(ctx, n)
	if err != nil {
		return nil, 0, err
	}
	if p.f != nil {
		data := make([]byte, 0, p.f.Size)
		for _, s := range p.f.Samples {
			data = append(data, s.Data...)
		}
		return bytes.NewReader(data), p.f.Size, nil
	}
	b, _, err := l.record(ctx, p)
	if err != nil {
		return nil, 0, err
	}
	return bytes.NewReader(b[len(b)-int(p.Size):]), p.Size, nil
}

// record reads a whole record and checks its CRCs; meta is a part of it.
func (l *Log) record(ctx context.Context, p place) (b, meta []byte, err error) {
	key := cacheKey{p.id.key(l.id), p.off}
	if p.chunk == nil && l.s.files == nil {
		if v, ok := l.s.cache.Get(key); ok {
			b = v.([]byte)
			return b, b[recordLen : recordLen+int(p.metaLen)], nil
		}
	}
	b = make([]byte, p.recordSize())
	if err := l.readAt(ctx, p, b, p.off); err != nil {
		return nil, nil, err
	}
	meta, rec, err := l.checkMeta(p, b)
	if err != nil {
		return nil, nil, err
	}
	if crc32.Checksum(b[recordLen+len(meta):], castagnoli()) != rec.dataCRC {
		return nil, nil, l.broken(p, "the CRC of the media is wrong")
	}
	if p.chunk == nil && l.s.files == nil {
		l.s.cache.Put(key, b, int64(len(b)))
	}
	return b, meta, nil
}

// checkMeta checks that b begins with the record that the index promised.
func (l *Log) checkMeta(p place, b []byte) ([]byte, record, error) {
	rec, ok := parseRecord(b)
	if !ok || rec.kind != recordFragment || rec.metaLen != p.metaLen || int64(rec.dataLen) != p.Size {
		return nil, rec, l.broken(p, "no record is where the index has one")
	}
	meta := b[recordLen : recordLen+int(rec.metaLen)]
	if metaCRC(p.id.session, b[:20], meta) != rec.metaCRC {
		return nil, rec, l.broken(p, "the CRC of the record's head is wrong")
	}
	return meta, rec, nil
}

// parse reads a fragment's head and table; what the index knows better counts.
func (l *Log) parse(p place, meta []byte) (*Fragment, error) {
	f, err := parseMeta(meta, uint32(p.Size))
	if err == nil && f.Number != p.Number {
		err = fmt.Errorf("it is fragment %d", f.Number)
	}
	if err != nil {
		return nil, l.broken(p, err.Error())
	}
	f.Gap, f.GapDetail, f.Persisted = p.Gap, p.GapDetail, p.Persisted
	return f, nil
}

// broken notes that a stored fragment cannot be read: from now on the timeline says so.
func (l *Log) broken(p place, why string) error {
	l.s.noteDamage(damaged{l.id, damage{p.Number, p.End.UnixMicro(), why}})
	return fault.New(fault.Unavailable, "read fragment "+p.Number.String(), l.id,
		fmt.Sprintf("%s at offset %d: %s", p.id.key(l.id), p.off, why)).
		WithHint("the disk returned something else than was written: check it; penstock verify looks at every chunk")
}

// readAt fills b from the chunk's file or object, and lets go of a held chunk.
func (l *Log) readAt(ctx context.Context, p place, b []byte, off int64) error {
	if p.chunk != nil {
		err := readFull(p.chunk.file, b, off)
		p.chunk.release()
		return l.readFault(p, err)
	}
	src, done, err := l.s.source(ctx, l.id, p.id)
	if err == nil {
		err = readFull(src, b, off)
		done()
	}
	return l.readFault(p, err)
}

// readFault says what an error means that was met while reading p.
func (l *Log) readFault(p place, err error) error {
	switch {
	case err == nil:
		return nil
	case p.chunk != nil:
		return fault.Wrap(fault.Internal, "read fragment "+p.Number.String(), l.id, err)
	case fault.Is(err, fault.NotFound), errors.Is(err, fs.ErrNotExist):
		if !l.look(0).head(&p.Head) {
			return fault.New(fault.Expired, "read fragment", l.id, "retention took fragment "+p.Number.String())
		}
		return l.broken(p, "the chunk is missing")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return l.broken(p, "the chunk is cut off")
	}
	return fmt.Errorf("read fragment %s of %s: %w", p.Number, l.id, err)
}

// source opens a listed chunk, wherever it is at the moment. The reader's errors are
// fault.NotFound or fs.ErrNotExist when it is nowhere.
func (s *Store) source(ctx context.Context, stream string, id chunkID) (io.ReaderAt, func(), error) {
	key, local := id.key(stream), s.fileName(stream, id)
	names := []string{local}
	if s.files != nil {
		at := s.files.Path(key)
		names = []string{at, local, at} // it may be moved between the first and the second
	}
	for _, name := range names {
		file, err := s.cfg.FS.OpenFile(name, os.O_RDONLY, 0)
		if err == nil {
			return file, func() { _ = file.Close() }, nil // it was only read
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
	}
	if s.files != nil {
		return nil, nil, fs.ErrNotExist
	}
	return &object{ctx, s, key}, func() {}, nil
}

// object reads a remote object piece by piece.
type object struct {
	ctx context.Context
	s   *Store
	key string
}

// ReadAt reads a range of the object.
func (o *object) ReadAt(b []byte, off int64) (int, error) {
	r, err := o.s.cfg.Bucket.Get(o.ctx, o.key, off, int64(len(b)))
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(r, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, errors.Join(err, r.Close())
}

// locate finds a fragment by its number.
func (l *Log) locate(ctx context.Context, n Number) (place, error) {
	if err := l.load(ctx); err != nil {
		return place{}, err
	}
	none := func(k fault.Kind, why string) (place, error) {
		return place{}, fault.New(k, "read fragment "+n.String(), l.id, why)
	}
	v := l.look(0)
	p, ok := l.inMemory(n)
	if !ok {
		var err error
		if p, ok, v, err = l.inRows(ctx, n); err != nil {
			return place{}, err
		}
	}
	switch {
	case ok && v.head(&p.Head):
		return p, nil
	case ok:
		if p.chunk != nil {
			p.chunk.release()
		}
		return none(fault.Expired, "retention took it")
	case int64(n) < v.horizon:
		return none(fault.Expired, "there is no fragment of this age any more")
	}
	return none(fault.NotFound, "there is no such fragment")
}

// inMemory finds what no row lists yet; a chunk in the answer is held.
func (l *Log) inMemory(n Number) (place, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.chunks {
		for i := range c.entries {
			if c.entries[i].Number == n {
				c.hold()
				return place{entry: c.entries[i], chunk: c, id: c.id}, true
			}
		}
	}
	for _, p := range l.unwritten() {
		if p.f.Number == n {
			return place{entry: entry{Head: p.f.Head}, f: p.f}, true
		}
	}
	return place{}, false
}

// unwritten returns what is not durable, in order; l.mu is held.
func (l *Log) unwritten() []*pending {
	var all []*pending
	for _, c := range l.chunks {
		all = append(all, c.flying...)
	}
	return append(append(all, l.writing...), l.queue...)
}

// inRows finds a fragment that a row lists, and says what was shown then.
func (l *Log) inRows(ctx context.Context, n Number) (place, bool, sight, error) {
	rows, v, err := l.rowsOf(ctx, n, n, false)
	if err != nil {
		return place{}, false, v, err
	}
	for _, r := range rows {
		if r.first > n || r.last <= int64(n) {
			continue
		}
		entries, err := r.unpack(nil)
		if err != nil {
			return place{}, false, v, readFault("read index", l.id, err)
		}
		for _, e := range entries {
			if e.Number == n {
				return place{entry: e, id: r.chunkID}, true, v, nil
			}
		}
	}
	return place{}, false, v, nil
}

// section reads the chunks of one hour, from the cache, a row or an index object.
func (s *Store) section(ctx context.Context, ix indexRow, p part) ([]chunkRow, error) {
	object := ix.key
	if object == "" {
		object = fmt.Sprintf("%s/%d", ix.stream, ix.first)
	}
	key := cacheKey{object, p.off}
	if v, ok := s.cache.Get(key); ok {
		// The name alone is not enough: an index may have been built again.
		if c := v.(*cachedSection); c.first == p.first && c.len == p.len {
			return c.rows, nil
		}
	}
	if p.len > maxSection {
		return nil, fault.New(fault.Internal, "read index", object, "a section is too long")
	}
	b, err := s.sectionBytes(ctx, ix, p)
	if err != nil {
		return nil, err
	}
	rows, err := unpackSection(b)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "read index", object, err)
	}
	s.cache.Put(key, &cachedSection{p.first, p.len, rows}, int64(len(b))+80*int64(len(rows)))
	return rows, nil
}

// window is the catalog's; errMoved: a trim has moved rows since the log was looked at.
func (l *Log) window(ctx context.Context, first Number, end int64, v sight) (window, error) {
	w, err := l.s.cat.window(ctx, l.id, first, end, v)
	l.mu.Lock()
	moved := l.trimmed > v.horizon
	l.mu.Unlock()
	if err == nil && moved {
		err = errMoved
	}
	return w, err
}

// errMoved says that an index row went while it was read: what it listed is in another row
// now, or expired.
var errMoved = errors.New("the index was packed or trimmed meanwhile")

// again calls read until no row that it reads moves.
func again(read func() error) error {
	for try := 0; ; try++ {
		err := read()
		if !errors.Is(err, errMoved) || try == 8 {
			return err
		}
	}
}

// cachedSection is an hour in the cache.
type cachedSection struct {
	first Number
	len   int64
	rows  []chunkRow
}

// sectionBytes reads a section as it is stored.
func (s *Store) sectionBytes(ctx context.Context, ix indexRow, p part) ([]byte, error) {
	if ix.level == levelHour {
		b, err := s.cat.body(ctx, ix.stream, ix.first)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, errMoved
		}
		return b, readFault("read index", ix.stream, err)
	}
	r, err := s.cfg.Bucket.Get(ctx, ix.key, p.off, p.len)
	if fault.Is(err, fault.NotFound) {
		if there, lookErr := s.cat.lists(ctx, ix); lookErr == nil && !there {
			err = errMoved
		}
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, p.len)
	_, err = io.ReadFull(r, b)
	return b, errors.Join(err, r.Close())
}

// newest returns the newest fragment that a row lists.
func (s *Store) newest(ctx context.Context, stream string) (entry, bool, error) {
	e, ok, err := s.cat.newest(ctx, stream)
	if err != nil || ok {
		return e, ok, err
	}
	ix, err := s.cat.queryIndex(ctx, s.cfg.Meta.Read(), "WHERE stream = ? ORDER BY first DESC LIMIT 1", stream)
	if err != nil || len(ix) == 0 || len(ix[0].parts) == 0 {
		if err == nil {
			return s.cat.newestKept(ctx, stream)
		}
		return entry{}, false, readFault("read index", stream, err)
	}
	p := ix[0].parts[len(ix[0].parts)-1]
	// Where the section cannot be read, the directory says enough to go on behind it.
	e = entry{Head: Head{Number: Number(p.last - 1), Start: Number(p.last - 1).Time(), End: Number(p.last).Time(), Persisted: true}}
	rows, err := s.section(ctx, ix[0], p)
	if err != nil || len(rows) == 0 {
		s.cfg.Logger.Warn("the newest index section cannot be read", "stream", stream, "object", ix[0].key, "err", err)
		return e, true, nil
	}
	entries, err := rows[len(rows)-1].unpack(nil)
	if err != nil || len(entries) == 0 {
		return e, true, nil
	}
	return entries[len(entries)-1], true, nil
}
