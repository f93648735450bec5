package fragments

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"strings"

	"penstock/internal/fault"
	"penstock/storage"
)

// Finding is one thing that Verify or Reindex found.
type Finding struct {
	Stream string
	Object string // the key or file
	Offset int64  // in the object; -1: all of it
	Text   string // what is wrong, and what to do or what was done
	Fixed  bool
}

// Report sums up what Verify or Reindex looked at.
type Report struct {
	Streams   int
	Chunks    int
	Fragments int64
	Bytes     int64
	Damaged   int // chunks with at least one finding that was not repaired
}

// verifier is a Verify or a Reindex at work.
type verifier struct {
	s      *Store
	repair bool
	report func(Finding)
	sum    Report
	trash  map[string]bool
}

func newVerifier(ctx context.Context, cfg Config, repair bool, report func(Finding)) (*verifier, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if report == nil {
		report = func(Finding) {}
	}
	return &verifier{s: s, repair: repair, report: report, trash: map[string]bool{}}, nil
}

// Verify reads every chunk of a Store that is not running and compares it with the
// index, those that had no time to become objects too; report hears each finding. With repair, what is damaged or gone is hidden, with
// its reason on the timeline, and streams with chunks that the index does not know are
// indexed anew.
func Verify(ctx context.Context, cfg Config, repair bool, report func(Finding)) (Report, error) {
	v, err := newVerifier(ctx, cfg, repair, report)
	if err != nil {
		return Report{}, err
	}
	defer v.s.closeFiles()
	if err := v.readTrash(ctx); err != nil {
		return v.sum, err
	}
	streams, err := v.streams(ctx)
	if err != nil {
		return v.sum, err
	}
	for _, stream := range streams {
		if err := v.stream(ctx, stream); err != nil {
			return v.sum, fmt.Errorf("verify: %w", err)
		}
	}
	if err := v.open(ctx, streams); err != nil {
		return v.sum, fmt.Errorf("verify: %w", err)
	}
	return v.sum, nil
}

func (v *verifier) readTrash(ctx context.Context) error {
	rows, err := v.s.cfg.Meta.Read().QueryContext(ctx, "SELECT key FROM fragments_trash")
	if err != nil {
		return readFault("read trash", "", err)
	}
	defer rows.Close()
	for rows.Next() {
		var k string
		if err := rows.Scan(&k); err != nil {
			return readFault("read trash", "", err)
		}
		v.trash[k] = true
	}
	return readFault("read trash", "", rows.Err())
}

// streams lists the streams that the index or the bucket knows.
func (v *verifier) streams(ctx context.Context) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	add := func(stream string) {
		if !seen[stream] {
			seen[stream] = true
			out = append(out, stream)
		}
	}
	rows, err := v.s.cfg.Meta.Read().QueryContext(ctx,
		"SELECT stream FROM fragments_chunks UNION SELECT stream FROM fragments_index UNION SELECT stream FROM fragments_kept")
	if err != nil {
		return nil, readFault("list streams", "", err)
	}
	defer rows.Close()
	for rows.Next() {
		var stream string
		if err := rows.Scan(&stream); err != nil {
			return nil, readFault("list streams", "", err)
		}
		add(stream)
	}
	if err := rows.Err(); err != nil {
		return nil, readFault("list streams", "", err)
	}
	for after := ""; ; {
		found := false
		for o, err := range v.s.cfg.Bucket.List(ctx, "v/", after) {
			if err != nil {
				return nil, err
			}
			after, found = o.Key, true
			if stream, _, ok := parseKey(o.Key); ok {
				add(stream)
				after = "v/" + stream + "/z" // behind all its days
			}
			break
		}
		if !found {
			return out, nil
		}
	}
}

// stream compares a stream's index with its chunks, both in order of time.
func (v *verifier) stream(ctx context.Context, stream string) error {
	v.sum.Streams++
	next, stop := iter.Pull2(v.s.cfg.Bucket.List(ctx, "v/"+stream+"/", ""))
	defer stop()
	object, err, more := next()
	orphans := 0
	orphan := func() {
		if _, _, ok := parseKey(object.Key); ok && !v.trash[object.Key] {
			orphans++
			v.report(Finding{Stream: stream, Object: object.Key, Offset: -1, Fixed: v.repair,
				Text: "the index does not know this chunk; verify with repair, or reindex, takes it in"})
		}
	}
	err = errors.Join(err, v.rows(ctx, stream, func(r listed) error {
		key := r.key(stream)
		for more && object.Key < key {
			orphan()
			var err error
			if object, err, more = next(); err != nil {
				return err
			}
		}
		if more && object.Key == key {
			var err error
			if object, err, more = next(); err != nil {
				return err
			}
		}
		return v.chunk(ctx, r)
	}))
	for more && err == nil {
		orphan()
		object, err, more = next()
	}
	if err != nil {
		return err
	}
	if orphans == 0 {
		return nil
	}
	if v.repair {
		return v.reindex(ctx, stream)
	}
	v.sum.Damaged += orphans
	return nil
}

// rows calls fn for each chunk that the index lists, oldest first.
func (v *verifier) rows(ctx context.Context, stream string, fn func(listed) error) error {
	w, err := v.s.cat.window(ctx, stream, 0, math.MaxInt64, sight{})
	if err != nil {
		return err
	}
	w.kept.over = false // whether something holds them or not
	stored := func(r chunkRow) error { return fn(listed{r, stream, stateStored}) }
	for _, ix := range w.index {
		for _, p := range ix.parts {
			rows, err := v.s.section(ctx, ix, p)
			if err != nil {
				if ctx.Err() != nil {
					return err
				}
				v.sum.Damaged++
				v.report(Finding{Stream: stream, Object: ix.key, Offset: p.off,
					Text: fmt.Sprintf("an hour of the index cannot be read (%v): run penstock reindex", err)})
				continue
			}
			for _, r := range rows {
				if r.last <= ix.trimmed {
					continue
				}
				if err := errors.Join(w.kept.each(ctx, r.first, stored), stored(r)); err != nil {
					return err
				}
			}
		}
	}
	for _, r := range w.chunks {
		if err := w.kept.each(ctx, r.first, stored); err != nil {
			return err
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return w.kept.each(ctx, lastNumber, stored)
}

// chunk reads one chunk and compares it with its row.
func (v *verifier) chunk(ctx context.Context, r listed) error {
	v.sum.Chunks++
	want, err := r.unpack(nil)
	if err != nil {
		return readFault("verify", r.key(r.stream), err)
	}
	have := map[Number]entry{}
	why := "the chunk is missing"
	src, size, done, err := v.s.whole(ctx, r)
	if err == nil {
		var sc *scanned
		sc, err = scan(src, size, scanAll)
		done()
		if err == nil {
			why = "its record is damaged"
			for _, e := range sc.entries {
				have[e.Number] = e
			}
		} else if other := refuse("verify chunk", r.key(r.stream), err); other != nil {
			return other
		} else {
			why = err.Error()
		}
	} else if !errors.Is(err, fs.ErrNotExist) && !fault.Is(err, fault.NotFound) {
		return err
	}
	bad := 0
	for _, e := range want {
		if h, ok := have[e.Number]; ok && h.off == e.off && h.metaLen == e.metaLen && h.Size == e.Size {
			v.sum.Fragments++
			v.sum.Bytes += e.Size
			continue
		}
		bad++
		v.report(Finding{Stream: r.stream, Object: r.key(r.stream), Offset: e.off, Fixed: v.repair,
			Text: fmt.Sprintf("fragment %d cannot be read: %s; verify with repair hides it", e.Number, why)})
		if v.repair {
			if err := v.hide(ctx, r.stream, e, why); err != nil {
				return err
			}
		}
	}
	if bad > 0 && !v.repair {
		v.sum.Damaged++
	}
	return nil
}

func (v *verifier) hide(ctx context.Context, stream string, e entry, why string) error {
	return v.s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		return insertDamage(tx, damaged{stream, damage{e.Number, e.End.UnixMicro(), why}})
	})
}

// whole opens a chunk for reading all of it; a remote one is fetched into memory.
func (s *Store) whole(ctx context.Context, r listed) (io.ReaderAt, int64, func(), error) {
	src, done, err := s.source(ctx, r.stream, r.chunkID)
	if err != nil {
		return nil, 0, nil, err
	}
	if _, remote := src.(*object); !remote {
		return src, r.size, done, nil
	}
	body, err := s.cfg.Bucket.Get(ctx, r.key(r.stream), 0, -1)
	if err != nil {
		return nil, 0, nil, err
	}
	b, err := io.ReadAll(io.LimitReader(body, maxIndex))
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, 0, nil, err
	}
	return bytes.NewReader(b), int64(len(b)), func() {}, nil
}

// Reindex throws the index away and rebuilds it from the chunks alone: from their
// footers, and where one has none from its records. The Store must not be running. Local
// chunks that had no time to become objects are taken up by the next Open.
func Reindex(ctx context.Context, cfg Config, report func(Finding)) (Report, error) {
	v, err := newVerifier(ctx, cfg, true, report)
	if err != nil {
		return Report{}, err
	}
	defer v.s.closeFiles()
	if err := v.s.emptyTrash(ctx); err != nil {
		return v.sum, fmt.Errorf("reindex: %w", err)
	}
	streams, err := v.streams(ctx)
	if err != nil {
		return v.sum, fmt.Errorf("reindex: %w", err)
	}
	for _, stream := range streams {
		v.sum.Streams++
		if err := v.reindex(ctx, stream); err != nil {
			return v.sum, fmt.Errorf("reindex: %w", err)
		}
	}
	return v.sum, nil
}

// reindexBatch is how many chunks one transaction of a reindex lists.
const reindexBatch = 256

// readable refuses a stream whose newest chunk has a version that is not ours, before its
// index is thrown away.
func (v *verifier) readable(ctx context.Context, stream string) error {
	var newest storage.Object
	var id chunkID
	for o, err := range v.s.cfg.Bucket.List(ctx, "v/"+stream+"/", "") {
		if err != nil {
			return err
		}
		if _, at, ok := parseKey(o.Key); ok {
			newest, id = o, at
		}
	}
	if newest.Key == "" {
		return nil
	}
	src, done, err := v.s.source(ctx, stream, id)
	if err != nil {
		return nil // the rebuild reports it
	}
	defer done()
	_, _, err = readFooter(src, newest.Size)
	return refuse("reindex chunk", newest.Key, err)
}

// reindex builds a stream's rows anew; hours, days and months are packed from them, and
// what is kept is told from what goes, when the Store runs. Local chunks keep their rows.
func (v *verifier) reindex(ctx context.Context, stream string) error {
	if err := v.readable(ctx, stream); err != nil {
		return err
	}
	if err := v.s.emptyTrash(ctx); err != nil {
		return err
	}
	var objects []string
	for o, err := range v.s.cfg.Bucket.List(ctx, "ix/"+stream, "") {
		if err != nil {
			return err
		}
		if strings.HasPrefix(o.Key, "ix/"+stream+"/") {
			objects = append(objects, o.Key)
		}
	}
	err := v.s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for _, q := range []string{"DELETE FROM fragments_chunks WHERE stream = ? AND state = 1",
			"DELETE FROM fragments_index WHERE stream = ?", "DELETE FROM fragments_kept WHERE stream = ?", "DELETE FROM fragments_damage WHERE stream = ?"} {
			if _, err := tx.Exec(q, stream); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := v.s.cfg.Bucket.Delete(ctx, objects...); err != nil {
		return err
	}
	var batch []chunkRow
	last := Number(0)
	for o, err := range v.s.cfg.Bucket.List(ctx, "v/"+stream+"/", "") {
		if err != nil {
			return err
		}
		_, id, ok := parseKey(o.Key)
		if !ok {
			v.report(Finding{Stream: stream, Object: o.Key, Offset: -1, Text: "this is not a chunk's name; it is left alone"})
			continue
		}
		entries := v.read(ctx, stream, id, o)
		for len(entries) > 0 && entries[0].Number <= last {
			entries = entries[1:] // written twice after a failed write
		}
		if len(entries) == 0 {
			continue
		}
		last = entries[len(entries)-1].Number
		batch = append(batch, row(id, o.Size, entries))
		v.sum.Chunks++
		v.sum.Fragments += int64(len(entries))
		v.sum.Bytes += o.Size
		if len(batch) >= reindexBatch {
			if err := v.list(ctx, stream, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return v.list(ctx, stream, batch)
}

func (v *verifier) list(ctx context.Context, stream string, rows []chunkRow) error {
	return v.s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error {
		for _, r := range rows {
			if err := insertChunk(tx, stream, r, stateStored); err != nil {
				return err
			}
		}
		return nil
	})
}

// read returns the entries of a chunk, by its footer or else by its records.
func (v *verifier) read(ctx context.Context, stream string, id chunkID, o storage.Object) []entry {
	bad := func(off int64, text string) {
		v.report(Finding{Stream: stream, Object: o.Key, Offset: off, Text: text})
	}
	src, done, err := v.s.source(ctx, stream, id)
	if err != nil {
		v.sum.Damaged++
		bad(-1, fmt.Sprintf("it cannot be opened: %v; it is left out", err))
		return nil
	}
	h, entries, err := readFooter(src, o.Size)
	done()
	if err == nil && h.stream == stream && h.salt == id.session {
		return entries
	}
	src, size, done, err := v.s.whole(ctx, listed{chunkRow{chunkID: id, size: o.Size}, stream, stateStored})
	if err != nil {
		v.sum.Damaged++
		bad(-1, fmt.Sprintf("it cannot be read: %v; it is left out", err))
		return nil
	}
	defer done()
	sc, err := scan(src, size, scanAll)
	if err == nil && (sc.header.stream != stream || sc.header.salt != id.session) {
		err = errors.New("it is another chunk under this name")
	}
	if err != nil {
		v.sum.Damaged++
		bad(-1, fmt.Sprintf("%v; it is left out", err))
		return nil
	}
	for _, f := range sc.flaws {
		bad(f.off, fmt.Sprintf("%d bytes are not a record (%s); they are left out", f.len, f.why))
	}
	return sc.entries[:min(len(sc.entries), maxEntries)]
}
