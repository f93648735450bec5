// Package segment is the sealed form of data records: an immutable object that holds one
// stream's records, of many shards, out of a range of a lane.
//
// A segment is blocks of consecutive records of one shard, compressed, checked by CRC32C
// and encrypted when asked to, and a footer that says where each block is, which indexes
// and which arrival times it holds. It can be read without the database. What a stream, a
// shard or a sequence number means, when segments are made and when they are deleted is
// package records'. The bytes are docs/format/segment.md.
package segment

import (
	"fmt"

	"penstock/internal/fault"
)

// Limits. A length beyond them is damage, whatever checksum stands beside it, so that no
// stored byte makes a reader allocate more.
const (
	// MaxData bounds one record's data: 10 MiB is the most the service model allows.
	MaxData = 10 << 20
	// MaxKey bounds a partition key in bytes: 256 characters of at most 4.
	MaxKey = 1 << 10
	// MinBlock and MaxBlock bound Config.BlockSize; a block ends with the record that
	// reaches its size, so its rows may be MaxData larger.
	MinBlock = 4 << 10
	MaxBlock = 1 << 20
	// MaxAbout bounds Shard.About: a hash range and a lineage fit many times.
	MaxAbout = 512
	// MaxFooter bounds the footer: 2 million blocks, or 60,000 shards with all that may be
	// said about them.
	MaxFooter = 32 << 20
	// MaxStream bounds the stream's id in bytes.
	MaxStream = 64
	// MaxKeyID bounds the name of an encryption key in bytes.
	MaxKeyID = 200
)

// DefaultBlock is the block size where none is asked for: measured, smaller ones compress
// worse and larger ones make a lone record dearer.
const DefaultBlock = 256 << 10

// Flags say what a record is; a segment keeps them and does not ask. 6 bits are stored.
type Flags uint8

// Sealed marks a record that was put while its stream was encrypted.
const Sealed Flags = 1

// maxFlags is what fits beside the two bits that the row's head needs.
const maxFlags Flags = 1<<6 - 1

// Record is one record of a shard. Key and Data of a record that was read are views of
// its block's memory: they stay valid and are never to be modified.
type Record struct {
	Index   uint64 // the index in the sequence number; strictly increasing in a shard
	Arrival int64  // ms since 1970; never decreasing in a shard; its second is the sequence number's
	Key     string // the partition key
	Data    []byte
	Flags   Flags
}

// Shard is what a segment says about a shard beside its records.
type Shard struct {
	ID      uint32
	Created int64  // second since 1970 that its sequence numbers begin with
	About   []byte // package records': hash range, lineage; at most MaxAbout
}

// Range is what a segment holds of one shard.
type Range struct {
	Shard
	First, Last               uint64 // indexes of the first and the last record
	FirstArrival, LastArrival int64  // ms since 1970
	Records                   int64
	Raw                       int64 // bytes of the rows, uncompressed
	FirstBlock, Blocks        int   // its blocks
}

// Info is what a segment holds.
type Info struct {
	Name    Name   // Day is that of the earliest arrival
	KeyID   string // names the key of an encrypted segment; empty: it is not encrypted
	Size    int64  // of the object, in bytes
	Records int64
	Raw     int64   // bytes of all rows, uncompressed
	Blocks  int     // stored blocks
	Shards  []Range // by Shard.ID, each with at least one record; not to be modified
}

// Damage is the cause of an error about bytes that are not what was written. Find it with
// errors.As.
type Damage struct {
	Object string
	Offset int64 // where the damaged block, header or footer begins
	Why    string
}

// Error says where and what.
func (d *Damage) Error() string {
	return fmt.Sprintf("damaged at byte %d of %s: %s", d.Offset, d.Object, d.Why)
}

// damaged returns the fault of a reader that met damage.
func damaged(object string, off int64, why string) error {
	return (&fault.Error{Kind: fault.Internal, Op: "read segment", Err: &Damage{object, off, why}}).
		WithHint("Restore the object from a copy; what else it holds can still be read. penstock verify lists all that is damaged.")
}
