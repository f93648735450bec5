package records

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"penstock/internal/fault"
)

// Beside the segments of a stream the bucket holds its shards, so that Meta can be made
// again from it: an object that is written before the lane is sealed if the shards are not
// those of the object before, also of streams without records: the lane forgets how they
// began. Later changes are in the lane.

// mapLimit bounds what is read as one: MaxShards shards.
const mapLimit = 16 + MaxShards*(defSize+8)

func mapPrefix(stream string) string { return "map/" + stream + "/" }

func (w *batchOf) mapKey() string {
	return fmt.Sprintf("%s%04x-%016x.map", mapPrefix(w.log.id), w.name.Lane, w.name.Last)
}

// sumOf returns the checksum at the end of a blob.
func sumOf(blob []byte) uint32 { return binary.LittleEndian.Uint32(blob[len(blob)-4:]) }

// storeMap stores the shards of a log if the bucket has others. Under sealing.
func (o *owner) storeMap(ctx context.Context, w *batchOf) error {
	blob := w.log.shardMap().encode()
	w.sum = sumOf(blob)
	if w.sum == w.log.stored {
		return nil
	}
	b, key := o.store.cfg.Bucket, w.mapKey()
	err := b.Put(ctx, key, bytes.NewReader(blob), int64(len(blob)))
	if fault.Is(err, fault.InUse) { // a crash left it
		if err = b.Delete(ctx, key); err == nil {
			err = b.Put(ctx, key, bytes.NewReader(blob), int64(len(blob)))
		}
	}
	return err
}

// dropMaps deletes the maps of a stream, but keep.
func (s *Store) dropMaps(ctx context.Context, stream, keep string) error {
	var keys []string
	for o, err := range s.cfg.Bucket.List(ctx, mapPrefix(stream), "") {
		if err != nil {
			return err
		}
		if o.Key != keep {
			keys = append(keys, o.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return s.cfg.Bucket.Delete(ctx, keys...)
}

// maps yields the newest map of each stream in the bucket.
func (c *checking) maps(ctx context.Context, yield func(stream string, lane int, m *shardMap)) error {
	newest := map[string]string{}
	for o, err := range c.s.cfg.Bucket.List(ctx, "map/", "") {
		if err != nil {
			return err
		}
		if part := strings.Split(o.Key, "/"); len(part) == 3 && strings.HasSuffix(o.Key, ".map") {
			newest[part[1]] = o.Key // in order of their keys
		}
	}
	for stream, key := range newest {
		body, err := c.s.cfg.Bucket.Get(ctx, key, 0, -1)
		if err != nil {
			return err
		}
		blob, err := io.ReadAll(io.LimitReader(body, mapLimit))
		_ = body.Close()
		if err != nil {
			return err
		}
		m, err := readMap(blob)
		if err != nil {
			c.find(Finding{stream, key, 0, err.Error() + "; what segments say of the shards is taken", false})
			continue
		}
		var (
			lane int
			last uint64
		)
		if _, err := fmt.Sscanf(key[len(mapPrefix(stream)):], "%04x-%016x.map", &lane, &last); err != nil {
			c.find(Finding{stream, key, -1, "it is not a map's name; it is left alone", false})
			continue
		}
		yield(stream, lane, &m)
	}
	return nil
}
