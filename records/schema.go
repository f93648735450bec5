package records

import (
	"encoding/binary"
	"hash/crc32"

	"penstock/storage/meta"
)

// schema is what this package keeps in Meta: what is where, never a row for a shard or a
// record.
func schema() meta.Schema {
	return meta.Schema{Name: "records", Versions: []string{`
CREATE TABLE records_owner (
	one   INTEGER PRIMARY KEY CHECK (one = 1),
	epoch INTEGER NOT NULL -- of the last start
);
CREATE TABLE records_lanes (
	lane   INTEGER PRIMARY KEY,
	sealed INTEGER NOT NULL -- the first LSN that is not in segments
) WITHOUT ROWID;
CREATE TABLE records_streams (
	stream    TEXT PRIMARY KEY,
	lane      INTEGER NOT NULL,
	born      INTEGER NOT NULL, -- the LSN it begins with: the lane may hold an older one of its name
	created   INTEGER NOT NULL, -- second
	encrypted INTEGER NOT NULL DEFAULT 0,
	floor     INTEGER NOT NULL DEFAULT 0, -- ms: nothing that arrived before it is shown any more
	stored    INTEGER NOT NULL DEFAULT 0, -- checksum of the map in the bucket
	map       BLOB NOT NULL,    -- its shards
	state     BLOB NOT NULL     -- how far each is sealed
) WITHOUT ROWID;
CREATE TABLE records_segments (
	key     TEXT PRIMARY KEY,
	stream  TEXT    NOT NULL,
	lane    INTEGER NOT NULL,
	level   INTEGER NOT NULL,
	first   INTEGER NOT NULL, -- LSN
	last    INTEGER NOT NULL, -- LSN
	state   INTEGER NOT NULL, -- 0: about to be written, 1: holds records, 2: to be deleted
	size    INTEGER NOT NULL,
	records INTEGER NOT NULL,
	raw     INTEGER NOT NULL, -- bytes of the records before compression
	oldest  INTEGER NOT NULL, -- arrival, ms
	newest  INTEGER NOT NULL, -- arrival, ms
	shards  BLOB    NOT NULL  -- what it holds of each
) WITHOUT ROWID;
CREATE INDEX records_segments_state ON records_segments (state) WHERE state <> 1;
`, `
ALTER TABLE records_owner ADD COLUMN expired INTEGER NOT NULL DEFAULT 0; -- ms: the time that records went by when they last expired; 0: nobody knows
`}}
}

// The states of a segment's row.
const (
	segmentIntended = 0
	segmentLive     = 1
	segmentDeleted  = 2
)

// checked appends the checksum that every blob in Meta ends with: SQLite has none of its own.
func checked(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unchecked returns a blob without its checksum; false: it does not match.
func unchecked(b []byte) ([]byte, bool) {
	if len(b) < 4 {
		return nil, false
	}
	body := b[:len(b)-4]
	return body, crc32.Checksum(body, castagnoli) == binary.LittleEndian.Uint32(b[len(b)-4:])
}

const blobVersion = 1

// shardMap is the blob of a stream's shards.
type shardMap struct {
	next   ShardID // the ID of the next shard
	shards []mapped
}

type mapped struct {
	def
	closed int64 // ms; 0: open
}

func (m *shardMap) encode() []byte {
	b := make([]byte, 0, 16+len(m.shards)*(defSize+8))
	b = append(b, blobVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.next))
	for i := range m.shards {
		b = m.shards[i].append(b)
		b = binary.LittleEndian.AppendUint64(b, uint64(m.shards[i].closed))
	}
	return checked(b)
}

func readMap(blob []byte) (m shardMap, err error) {
	b, ok := unchecked(blob)
	switch {
	case !ok:
		return m, flaw("the checksum of a map of shards does not match")
	case len(b) < 5 || b[0] != blobVersion || (len(b)-5)%(defSize+8) != 0:
		return m, flaw("a map of shards is none")
	}
	m.next = ShardID(binary.LittleEndian.Uint32(b[1:]))
	m.shards = make([]mapped, 0, (len(b)-5)/(defSize+8))
	for b = b[5:]; len(b) > 0; b = b[defSize+8:] {
		m.shards = append(m.shards, mapped{readDef(b), int64(binary.LittleEndian.Uint64(b[defSize:]))})
	}
	return m, nil
}

// reached is how far a shard is sealed.
type reached struct {
	id    ShardID
	index uint64 // of the newest sealed record; 0: none
	at    int64  // its arrival, ms
	least uint64 // no record gets an index below it
}

const reachedSize = 4 + 8 + 8 + 8

func encodeState(all []reached) []byte {
	b := make([]byte, 0, 8+len(all)*reachedSize)
	b = append(b, blobVersion)
	for _, r := range all {
		b = binary.LittleEndian.AppendUint32(b, uint32(r.id))
		b = binary.LittleEndian.AppendUint64(b, r.index)
		b = binary.LittleEndian.AppendUint64(b, uint64(r.at))
		b = binary.LittleEndian.AppendUint64(b, r.least)
	}
	return checked(b)
}

func readState(blob []byte) ([]reached, error) {
	b, ok := unchecked(blob)
	if !ok || len(b) < 1 || b[0] != blobVersion || (len(b)-1)%reachedSize != 0 {
		return nil, flaw("the state of a stream's shards is damaged")
	}
	all := make([]reached, 0, (len(b)-1)/reachedSize)
	for b = b[1:]; len(b) > 0; b = b[reachedSize:] {
		all = append(all, reached{ShardID(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint64(b[4:]),
			int64(binary.LittleEndian.Uint64(b[12:])), binary.LittleEndian.Uint64(b[20:])})
	}
	return all, nil
}
