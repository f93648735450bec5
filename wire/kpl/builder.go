package kpl

import (
	"crypto/md5"

	"google.golang.org/protobuf/encoding/protowire"
)

// Builder puts an aggregate together. The zero value is an empty one; it is for one
// goroutine, and after Reset for the next aggregate with the memory of the last.
type Builder struct {
	keys, hashes  map[string]uint64 // place in their tables
	keyed, hashed []byte            // the tables, encoded
	records       []byte            // the records, encoded
	count         int
}

// Size is the number of bytes that Append will append; 0 for an empty aggregate.
func (b *Builder) Size() int {
	if b.count == 0 {
		return 0
	}
	return Overhead + len(b.keyed) + len(b.hashed) + len(b.records)
}

// SizeWith is what Size would be with r added.
func (b *Builder) SizeWith(r Record) int {
	n := Overhead + len(b.keyed) + len(b.hashed) + len(b.records)
	key, ok := b.keys[r.Key]
	if !ok {
		key, n = uint64(len(b.keys)), n+1+protowire.SizeBytes(len(r.Key))
	}
	var hash uint64
	if r.Hash != "" {
		if hash, ok = b.hashes[r.Hash]; !ok {
			hash, n = uint64(len(b.hashes)), n+1+protowire.SizeBytes(len(r.Hash))
		}
	}
	return n + 1 + protowire.SizeBytes(sizeOf(key, hash, r))
}

// Add adds r. The data is copied.
func (b *Builder) Add(r Record) {
	if b.keys == nil {
		b.keys, b.hashes = map[string]uint64{}, map[string]uint64{}
	}
	key, ok := b.keys[r.Key]
	if !ok {
		key = uint64(len(b.keys))
		b.keys[r.Key] = key
		b.keyed = protowire.AppendString(protowire.AppendTag(b.keyed, fieldKeys, protowire.BytesType), r.Key)
	}
	var hash uint64
	if r.Hash != "" {
		if hash, ok = b.hashes[r.Hash]; !ok {
			hash = uint64(len(b.hashes))
			b.hashes[r.Hash] = hash
			b.hashed = protowire.AppendString(protowire.AppendTag(b.hashed, fieldHashes, protowire.BytesType), r.Hash)
		}
	}
	out := protowire.AppendTag(b.records, fieldRecords, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(sizeOf(key, hash, r)))
	out = protowire.AppendVarint(protowire.AppendTag(out, fieldKeyIndex, protowire.VarintType), key)
	if r.Hash != "" {
		out = protowire.AppendVarint(protowire.AppendTag(out, fieldHashIndex, protowire.VarintType), hash)
	}
	b.records = protowire.AppendBytes(protowire.AppendTag(out, fieldData, protowire.BytesType), r.Data)
	b.count++
}

// Append appends the aggregate to dst: Size bytes. An empty aggregate is nothing.
func (b *Builder) Append(dst []byte) []byte {
	if b.count == 0 {
		return dst
	}
	dst = append(dst, Magic...)
	from := len(dst)
	dst = append(append(append(dst, b.keyed...), b.hashed...), b.records...)
	sum := md5.Sum(dst[from:])
	return append(dst, sum[:]...)
}

// Reset empties b and keeps its memory.
func (b *Builder) Reset() {
	clear(b.keys)
	clear(b.hashes)
	b.keyed, b.hashed, b.records = b.keyed[:0], b.hashed[:0], b.records[:0]
	b.count = 0
}

// sizeOf is the length of an encoded Record, without its tag and length.
func sizeOf(key, hash uint64, r Record) int {
	n := 1 + protowire.SizeVarint(key) + 1 + protowire.SizeBytes(len(r.Data))
	if r.Hash != "" {
		n += 1 + protowire.SizeVarint(hash)
	}
	return n
}
