package records

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"penstock/internal/fault"
	"penstock/records/segment"
)

// sealedSegment is a segment that holds records of a log. It never changes.
type sealedSegment struct {
	key            string
	name           segment.Name
	size           int64
	records, raw   int64
	oldest, newest int64       // arrivals, ms
	stuck          atomic.Bool // it cannot be merged
}

func newSealed(info *segment.Info) *sealedSegment {
	g := &sealedSegment{key: info.Name.Key(), name: info.Name, size: info.Size, records: info.Records, raw: info.Raw}
	for i := range info.Shards {
		r := &info.Shards[i]
		if i == 0 || r.FirstArrival < g.oldest {
			g.oldest = r.FirstArrival
		}
		g.newest = max(g.newest, r.LastArrival)
	}
	return g
}

// record writes the row of a segment, which was announced.
func (g *sealedSegment) record(tx *sql.Tx, info *segment.Info, state int) error {
	_, err := tx.Exec("UPDATE records_segments SET state = ?, size = ?, records = ?, raw = ?, oldest = ?, newest = ?, shards = ? WHERE key = ?",
		state, g.size, g.records, g.raw, g.oldest, g.newest, encodeRanges(info.Shards), g.key)
	return err
}

// encodeRanges makes the blob of what a segment holds of each shard.
func encodeRanges(all []segment.Range) []byte {
	b := []byte{blobVersion}
	for i := range all {
		r := &all[i]
		b = binary.AppendUvarint(b, uint64(r.ID))
		b = binary.AppendUvarint(b, r.First)
		b = binary.AppendUvarint(b, r.Last-r.First)
		b = binary.AppendUvarint(b, uint64(r.LastArrival))
	}
	return checked(b)
}

// readRanges calls yield for each shard of a blob.
func readRanges(blob []byte, yield func(id ShardID, first, last uint64, until int64)) error {
	b, ok := unchecked(blob)
	if !ok || len(b) < 1 || b[0] != blobVersion {
		return flaw("what a segment holds of its shards is damaged")
	}
	for b = b[1:]; len(b) > 0; {
		var v [4]uint64
		for i := range v {
			n := 0
			if v[i], n = binary.Uvarint(b); n <= 0 {
				return flaw("what a segment holds of its shards is cut short")
			}
			b = b[n:]
		}
		yield(ShardID(v[0]), v[1], v[1]+v[2], int64(v[3]))
	}
	return nil
}

// loadSegments reads which segments there are.
func (s *Store) loadSegments(ctx context.Context) error {
	rows, err := s.cfg.Meta.Read().QueryContext(ctx,
		"SELECT key, stream, size, records, raw, oldest, newest, shards FROM records_segments WHERE state = ? ORDER BY lane, last", segmentLive)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			g      sealedSegment
			stream string
			held   []byte
		)
		if err := rows.Scan(&g.key, &stream, &g.size, &g.records, &g.raw, &g.oldest, &g.newest, &held); err != nil {
			return err
		}
		l := s.logs[stream]
		if l == nil {
			continue
		}
		if g.name, err = segment.ParseKey(g.key); err != nil {
			return err
		}
		l.segs = append(l.segs, &g)
		err := readRanges(held, func(id ShardID, first, last uint64, until int64) {
			if sh, err := l.find("load", id); err == nil {
				sh.refs = append(sh.refs, ref{&g, first, last, until})
			}
		})
		if err != nil {
			return fault.Wrap(fault.Internal, "read segment's row", g.key, err)
		}
	}
	return rows.Err()
}

// about is what a segment says about the shard, so that the database can be made again.
func (sh *shard) about() segment.Shard {
	b := []byte{blobVersion}
	b = sh.def.append(b)
	sh.rmu.Lock()
	b = binary.LittleEndian.AppendUint64(b, uint64(sh.closed))
	sh.rmu.Unlock()
	return segment.Shard{ID: uint32(sh.id), Created: sh.created, About: b}
}

// makeSegment has fill write a segment, to its end, and stores it under the key that was
// announced; it stores nothing when fill wrote no record.
func (s *Store) makeSegment(ctx context.Context, tmp string, c segment.Config, announced string, fill func(*segment.Writer) (segment.Info, error)) (segment.Info, error) {
	out, err := s.newSpool(tmp)
	if err != nil {
		return segment.Info{}, err
	}
	defer out.close()
	buf := bufio.NewWriterSize(out, 1<<20)
	w, err := segment.NewWriter(buf, c)
	if err != nil {
		return segment.Info{}, err
	}
	info, err := fill(w)
	if err != nil || info.Records == 0 {
		return info, err
	}
	if err := buf.Flush(); err != nil {
		return info, err
	}
	if key := info.Name.Key(); key != announced { // what was damaged was the oldest of its day
		if err := s.cfg.Meta.Write(ctx, func(tx *sql.Tx) error { return announce(tx, info.Name) }); err != nil {
			return info, err
		}
	}
	return info, out.store(ctx, s.cfg.Bucket, info.Name.Key())
}

func msTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// readRef takes the records of a shard in a segment.
func (r *reading) readRef(ctx context.Context, s *ref, want Position) error {
	st := r.sh.log.store
	st.met.segment.Inc()
	rd, err := st.src.Open(ctx, s.seg.key, s.seg.size)
	if err != nil {
		return r.broken(err)
	}
	id := uint32(r.sh.id)
	block, ok := rd.Find(id, want.index)
	late, found := rd.FindTime(id, want.at)
	if !ok || !found {
		return nil
	}
	span, _ := rd.Range(id)
	for block = max(block, late); block < span.FirstBlock+span.Blocks && !r.full; block++ {
		b, err := rd.Block(ctx, block)
		if err != nil {
			return r.broken(err)
		}
		if err := r.readBlock(b, want, s.first); err != nil {
			return err
		}
	}
	return nil
}

// readBlock takes the records of a block; first is the oldest of the shard in its segment.
func (r *reading) readBlock(b *segment.Block, want Position, first uint64) error {
	i, late := b.Find(want.index), b.FindTime(want.at)
	if r.last == 0 && i >= late && want.index > first {
		r.last = want.index - 1 // the wanted one was here: a later one in its place tells of a loss
	}
	for i = max(i, late); i < b.Len() && !r.full; i++ {
		rec := b.At(i)
		if err := r.take(rec.Index, rec.Arrival, msTime(rec.Arrival), rec.Key, rec.Data, rec.Flags&segment.Sealed != 0, want); err != nil {
			return err
		}
	}
	return nil
}

// broken counts damage of a segment.
func (r *reading) broken(err error) error {
	var d *segment.Damage
	if errors.As(err, &d) {
		r.sh.log.store.met.damaged.Inc()
	}
	return err
}
