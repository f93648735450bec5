package segment

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"sort"

	"penstock/internal/varint"
)

// footer is what a segment says of itself.
type footer struct {
	head   fileHead
	shards []Range
	blocks []block
	end    int64 // where the blocks end
}

// appendFooter appends the footer and the trailer. shards say which blocks are whose.
func appendFooter(b []byte, head *fileHead, shards []Range, blocks []block) []byte {
	start := len(b)
	b = append(b, head.raw...)
	b = varint.AppendUint(b, len(shards))
	var prior Shard
	arrival := int64(0)
	for i := range shards {
		s := &shards[i]
		b = varint.AppendUint(b, s.ID-prior.ID)
		b = varint.AppendInt(b, s.Created-prior.Created)
		b = append(varint.AppendUint(b, len(s.About)), s.About...)
		b = varint.AppendUint(b, s.Blocks)
		next := uint64(0)
		for k := range blocks[s.FirstBlock : s.FirstBlock+s.Blocks] {
			bl := &blocks[s.FirstBlock+k]
			b = varint.AppendUint(b, bl.first-next)
			b = varint.AppendUint(b, bl.last-bl.first)
			b = varint.AppendInt(b, bl.firstArrival-arrival)
			b = varint.AppendUint(b, bl.lastArrival-bl.firstArrival)
			b = varint.AppendUint(b, bl.records)
			b = varint.AppendUint(b, bl.rows)
			b = varint.AppendUint(b, bl.stored)
			next, arrival = bl.last+1, bl.lastArrival
		}
		prior = s.Shard
	}
	return appendTrailer(b, b[start:])
}

func appendTrailer(b, foot []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(foot)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(foot, castagnoli))
	b = binary.LittleEndian.AppendUint32(b, version)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	return append(b, endMagic...)
}

// parseTrailer returns the footer's length and CRC.
func parseTrailer(b []byte) (n int64, crc uint32, err error) {
	if len(b) != trailerLen || string(b[16:]) != endMagic {
		return 0, 0, errors.New("the object does not end as a segment does")
	}
	if crc32.Checksum(b[:12], castagnoli) != binary.LittleEndian.Uint32(b[12:]) {
		return 0, 0, errors.New("the checksum of its last bytes is wrong")
	}
	if binary.LittleEndian.Uint32(b[8:]) != version {
		return 0, 0, errVersion
	}
	n = int64(binary.LittleEndian.Uint32(b))
	if n > MaxFooter {
		return 0, 0, errFormat
	}
	return n, binary.LittleEndian.Uint32(b[4:]), nil
}

// parseFooter reads a footer that begins at off in its object. What it returns does not
// refer to b.
func parseFooter(b []byte, crc uint32, off int64) (*footer, error) {
	if crc32.Checksum(b, castagnoli) != crc {
		return nil, errors.New("the checksum of the footer is wrong")
	}
	head, err := parseFileHead(b)
	if err != nil {
		return nil, err
	}
	f := &footer{head: head, end: int64(len(head.raw))}
	c := &varint.Cursor{B: b[len(head.raw):]}
	n := c.Count(4 + 7) // a shard and its block
	f.shards = make([]Range, 0, n)
	var prior Shard
	arrival := int64(0)
	for range n {
		s := Range{Shard: Shard{ID: prior.ID + c.Uint32(), Created: prior.Created + c.Int()}, FirstBlock: len(f.blocks)}
		s.About = []byte(c.Text(MaxAbout))
		s.Blocks = c.Count(7)
		if c.Fail || s.Blocks == 0 || len(f.shards) > 0 && s.ID <= prior.ID {
			return nil, errFormat
		}
		f.blocks = slices.Grow(f.blocks, s.Blocks)
		next := uint64(0)
		for range s.Blocks {
			bl := block{shard: s.ID, created: s.Created, first: next + c.Uint(), off: f.end, number: uint32(len(f.blocks))}
			bl.last = bl.first + c.Uint()
			bl.firstArrival = arrival + c.Int()
			bl.lastArrival = bl.firstArrival + c.Int63()
			bl.records, bl.rows, bl.stored = c.Uint32(), c.Uint32(), c.Uint32()
			if c.Fail || bl.flaw() || bl.first < next || next > 0 && bl.firstArrival < arrival {
				return nil, errFormat
			}
			f.end += bl.size()
			f.blocks = append(f.blocks, bl)
			s.add(&bl)
			next, arrival = bl.last+1, bl.lastArrival
		}
		f.shards = append(f.shards, s)
		prior = s.Shard
	}
	if c.Err() != nil || len(f.shards) == 0 || f.end != off {
		return nil, errFormat
	}
	return f, nil
}

// add counts the next block of the shard.
func (s *Range) add(b *block) {
	if s.Records == 0 {
		s.First, s.FirstArrival = b.first, b.firstArrival
	}
	s.Last, s.LastArrival = b.last, b.lastArrival
	s.Records += int64(b.records)
	s.Raw += int64(b.rows)
}

// info sums up a segment of size bytes.
func (f *footer) info(size int64) Info {
	in := Info{Name: f.head.name, KeyID: f.head.keyID, Size: size, Blocks: len(f.blocks), Shards: f.shards}
	first := f.shards[0].FirstArrival
	for i := range f.shards {
		in.Records += f.shards[i].Records
		in.Raw += f.shards[i].Raw
		first = min(first, f.shards[i].FirstArrival)
	}
	in.Name.Day = DayOf(first)
	return in
}

// rangeOf returns the shard's place in f.shards, or -1.
func (f *footer) rangeOf(shard uint32) int {
	i, ok := slices.BinarySearchFunc(f.shards, shard, func(r Range, id uint32) int {
		switch {
		case r.ID < id:
			return -1
		case r.ID > id:
			return 1
		}
		return 0
	})
	if !ok {
		return -1
	}
	return i
}

// find returns the first block of shard that has reached what is looked for.
func (f *footer) find(shard uint32, reached func(*block) bool) (int, bool) {
	i := f.rangeOf(shard)
	if i < 0 {
		return 0, false
	}
	s := &f.shards[i]
	k := sort.Search(s.Blocks, func(k int) bool { return reached(&f.blocks[s.FirstBlock+k]) })
	return s.FirstBlock + k, k < s.Blocks
}

// weight is what the footer takes in memory, nearly.
func (f *footer) weight() int64 {
	n := int64(len(f.blocks))*64 + int64(len(f.shards))*120 + 512
	for i := range f.shards {
		n += int64(len(f.shards[i].About))
	}
	return n
}
