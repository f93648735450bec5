// Package kpl is the aggregation format of the Kinesis Producer Library: many small
// records of a user inside one record of a data stream (spec: "Amazon Kinesis Producer
// Library, Aggregation Format"): four magic bytes, a protobuf message, its MD5.
//
// Servers store such records as they are; whoever reads for a person or a program
// takes them apart with Reader. Producers put them together with Builder. It knows no
// shards: which records may share an aggregate is the producer's business.
package kpl

import (
	"crypto/md5"
	"iter"

	"google.golang.org/protobuf/encoding/protowire"
)

// Magic is what an aggregate begins with.
const Magic = "\xf3\x89\x9a\xc2"

// Overhead is how much longer an aggregate is than its protobuf message, in bytes.
const Overhead = len(Magic) + md5.Size

// Limits of an aggregate that is read. A record beyond them is taken as a plain one:
// nothing is lost, it is only not taken apart.
const (
	SizeMax    = 11 << 20 // the largest record of a data stream is 10 MiB with its key
	KeysMax    = 1 << 16  // entries of each table; a table entry of two bytes costs 16 in memory
	RecordsMax = 1 << 20
)

// Fields of AggregatedRecord and Record.
const (
	fieldKeys    protowire.Number = 1
	fieldHashes  protowire.Number = 2
	fieldRecords protowire.Number = 3

	fieldKeyIndex  protowire.Number = 1
	fieldHashIndex protowire.Number = 2
	fieldData      protowire.Number = 3
)

// Record is one user's record.
type Record struct {
	Key  string // partition key
	Hash string // explicit hash key, decimal; empty: none
	Data []byte // of a Reader: a part of the aggregate, not to be modified
}

// Aggregated reports whether data begins as an aggregate does. It may yet be a plain
// record: only Reader.Reset checks the rest.
func Aggregated(data []byte) bool {
	return len(data) > Overhead && string(data[:len(Magic)]) == Magic
}

// Reader takes aggregates apart without copying their data. The zero value is ready;
// it is for one goroutine, and for one aggregate after another.
type Reader struct {
	message []byte
	keys    []string
	hashes  []string
	records int
}

// Reset points r at data and reports whether it is an aggregate. It checks all of it:
// the magic, the MD5, and that every record is whole and names a key that is there. A
// record that fails any of it is a plain record, as the Kinesis Client Library has it.
func (r *Reader) Reset(data []byte) bool {
	clear(r.keys) // so that no strings of the last aggregate stay behind
	clear(r.hashes)
	r.message, r.keys, r.hashes, r.records = nil, r.keys[:0], r.hashes[:0], 0
	if !Aggregated(data) || len(data) > SizeMax {
		return false
	}
	message := data[len(Magic) : len(data)-md5.Size]
	if md5.Sum(message) != [md5.Size]byte(data[len(data)-md5.Size:]) {
		return false
	}
	if !r.tables(message) || !r.check(message) {
		r.keys, r.hashes, r.records = r.keys[:0], r.hashes[:0], 0
		return false
	}
	r.message = message
	return true
}

// Len is the number of records of the aggregate.
func (r *Reader) Len() int { return r.records }

// All gives the records in the order in which the producer put them, with their place
// from 0: the sub-sequence number. Nothing is given when Reset said false.
func (r *Reader) All() iter.Seq2[int, Record] {
	return func(yield func(int, Record) bool) {
		i := 0
		for rest := r.message; len(rest) > 0; {
			field, body, n := next(rest)
			rest = rest[n:]
			if field != fieldRecords {
				continue
			}
			at, _ := parse(body)
			out := Record{Key: r.keys[at.key], Data: at.data}
			if at.hashed {
				out.Hash = r.hashes[at.hash]
			}
			if !yield(i, out) {
				return
			}
			i++
		}
	}
}

// tables reads the keys and hash keys, wherever in the message they stand.
func (r *Reader) tables(message []byte) bool {
	for rest := message; len(rest) > 0; {
		field, body, n := next(rest)
		if n < 0 {
			return false
		}
		rest = rest[n:]
		switch field {
		case fieldKeys:
			r.keys = append(r.keys, string(body))
		case fieldHashes:
			r.hashes = append(r.hashes, string(body))
		case fieldRecords:
			r.records++
		}
		if len(r.keys) > KeysMax || len(r.hashes) > KeysMax || r.records > RecordsMax {
			return false
		}
	}
	return true
}

// check looks at every record once, so that All cannot fail.
func (r *Reader) check(message []byte) bool {
	for rest := message; len(rest) > 0; {
		field, body, n := next(rest)
		rest = rest[n:]
		if field != fieldRecords {
			continue
		}
		at, ok := parse(body)
		if !ok || at.key >= uint64(len(r.keys)) || at.hashed && at.hash >= uint64(len(r.hashes)) {
			return false
		}
	}
	return true
}

// next reads a field of AggregatedRecord. body is that of the three known fields;
// others answer field 0 and are passed over. n < 0: damaged.
func next(b []byte) (field protowire.Number, body []byte, n int) {
	field, kind, head := protowire.ConsumeTag(b)
	if head < 0 {
		return 0, nil, head
	}
	if field >= fieldKeys && field <= fieldRecords {
		if kind != protowire.BytesType {
			return 0, nil, -1
		}
		body, n = protowire.ConsumeBytes(b[head:])
	} else {
		n = protowire.ConsumeFieldValue(field, kind, b[head:])
		field = 0
	}
	if n < 0 {
		return 0, nil, n
	}
	return field, body, head + n
}

// place is a Record as it stands in the message.
type place struct {
	key, hash uint64
	hashed    bool
	data      []byte
}

// parse reads a Record; its key index and its data must be there, its tags are passed
// over.
func parse(b []byte) (p place, ok bool) {
	keyed, whole := false, false
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return p, false
		}
		b = b[n:]
		switch {
		case field == fieldKeyIndex && kind == protowire.VarintType:
			p.key, n = protowire.ConsumeVarint(b)
			keyed = true
		case field == fieldHashIndex && kind == protowire.VarintType:
			p.hash, n = protowire.ConsumeVarint(b)
			p.hashed = true
		case field == fieldData && kind == protowire.BytesType:
			p.data, n = protowire.ConsumeBytes(b)
			whole = true
		case field <= fieldData:
			return p, false
		default:
			n = protowire.ConsumeFieldValue(field, kind, b)
		}
		if n < 0 {
			return p, false
		}
		b = b[n:]
	}
	return p, keyed && whole
}
