package segment

import (
	"context"
	"crypto/cipher"
	"errors"
	"iter"

	"penstock/storage"
)

// SourceConfig says where segments are read from.
type SourceConfig struct {
	Bucket storage.Bucket
	// Cache bounds the bytes of footers and decoded blocks that are kept, of all
	// segments together; 0: 64 MiB.
	Cache int64
	// Keys returns the AEAD that Config.KeyID named; nil: encrypted segments are
	// fault.Denied.
	Keys func(ctx context.Context, keyID string) (cipher.AEAD, error)
}

// Source opens the segments of a bucket and shares one cache between them. Its methods
// may be called at once. It starts no goroutine and needs no closing.
type Source struct{}

// NewSource returns a Source.
func NewSource(c SourceConfig) *Source { return &Source{} }

// Open returns a reader of the object key of size bytes, with one Get where the footer is
// not in the cache. A Reader is cheap: open one for each read rather than keeping it.
// fault.NotFound: there is no such object; a Damage: its footer is not what was written.
func (s *Source) Open(ctx context.Context, key string, size int64) (*Reader, error) {
	return nil, errors.ErrUnsupported
}

// Reader reads one segment. Its methods may be called at once.
type Reader struct{}

// Info returns what the segment holds.
func (r *Reader) Info() Info { return Info{} }

// Range returns what the segment holds of shard; false: nothing.
func (r *Reader) Range(shard uint32) (Range, bool) { return Range{}, false }

// Find returns the block that holds the first record of shard whose index is at least
// index; false: there is none.
func (r *Reader) Find(shard uint32, index uint64) (block int, ok bool) { return 0, false }

// FindTime returns the block that holds the first record of shard that arrived at ms
// since 1970 or later; false: there is none.
func (r *Reader) FindTime(shard uint32, ms int64) (block int, ok bool) { return 0, false }

// Block returns block i, checked and decoded, from the cache or with one Get. A Damage
// concerns this block only.
func (r *Reader) Block(ctx context.Context, i int) (*Block, error) { return nil, errors.ErrUnsupported }

// Blocks yields the blocks from, from+1, ... before to, decoding up to ahead more at the
// same time as the one that is looked at. After an error it goes on with the next block.
func (r *Reader) Blocks(ctx context.Context, from, to, ahead int) iter.Seq2[*Block, error] {
	return func(func(*Block, error) bool) {}
}

// Block is some consecutive records of one shard. It is immutable.
type Block struct{}

// Shard returns whose records they are.
func (b *Block) Shard() uint32 { return 0 }

// Len returns how many records there are.
func (b *Block) Len() int { return 0 }

// At returns record i, as views of the block.
func (b *Block) At(i int) Record { return Record{} }

// Find returns the place of the first record whose index is at least index; Len if none.
func (b *Block) Find(index uint64) int { return 0 }

// FindTime returns the place of the first record that arrived at ms or later; Len if none.
func (b *Block) FindTime(ms int64) int { return 0 }
