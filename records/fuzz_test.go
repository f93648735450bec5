package records

import (
	"bytes"
	"hash/crc32"
	"testing"
	"time"

	"penstock/internal/fault"
)

// FuzzEntry reads bytes as a lane's entry: no panic, no long allocation, and what is
// accepted is written the same again.
func FuzzEntry(f *testing.F) {
	rows := append(appendRow(nil, "key", 4), "data"...)
	for _, h := range []header{
		{kind: kindRecords, shard: 7, count: 1, first: 9, arrival: 1700000000123, id: []byte("stream"), payload: crc32.Checksum(rows, castagnoli)},
		{kind: kindCreate, count: 3, id: []byte("s")},
	} {
		h.size = h.len() + len(rows)
		f.Add(append(h.append(nil), rows...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		if again := h.append(nil); !bytes.Equal(again, b[:len(again)]) {
			t.Fatalf("%x became %x", b[:len(again)], again)
		}
		p, err := h.payloadOf(b)
		if err != nil {
			return
		}
		for n := 0; len(p) > 0; n++ {
			key, data, rest, err := nextRow(p)
			if err != nil {
				break
			}
			if len(key)+len(data)+len(rest) >= len(p) {
				t.Fatalf("%d bytes became %d", len(p), len(key)+len(data)+len(rest))
			}
			p = rest
		}
	})
}

// FuzzRows reads bytes as an entry's rows; what is accepted is written the same again,
// but for lengths that were written longer than they need.
func FuzzRows(f *testing.F) {
	f.Add(append(appendRow(nil, "key", 4), "data"...))
	f.Add(appendRow(nil, "", 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, data, rest, err := nextRow(b)
		if err != nil {
			return
		}
		again := append(append(appendRow(nil, key, len(data)), data...), rest...)
		if k, d, r, err := nextRow(again); err != nil || k != key || !bytes.Equal(d, data) || !bytes.Equal(r, rest) {
			t.Fatalf("%x became %q %q %v", b, k, d, err)
		}
	})
}

// FuzzChange reads bytes as a change of shards, a map and a state.
func FuzzChange(f *testing.F) {
	d := def{3, 1, NoShard, HashKey{1, 2}, HashKey{3, 4}, 1700000000}
	f.Add((&change{at: 5, closed: []ShardID{1}, opened: []def{d}}).append(nil))
	f.Add((&shardMap{next: 4, shards: []mapped{{d, 77}}}).encode())
	f.Add(encodeState([]reached{{1, 2, 3, 4}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := readChange(b); err == nil && !bytes.Equal(c.append(nil), b) {
			t.Fatalf("%x became %x", b, c.append(nil))
		}
		if m, err := readMap(b); err == nil && !bytes.Equal(m.encode(), b) {
			t.Fatalf("%x became %x", b, m.encode())
		}
		if s, err := readState(b); err == nil && !bytes.Equal(encodeState(s), b) {
			t.Fatalf("%x became %x", b, encodeState(s))
		}
		_ = readRanges(b, func(ShardID, uint64, uint64, int64) {})
	})
}

// FuzzPosition decodes what a client may send back.
func FuzzPosition(f *testing.F) {
	for _, p := range []Position{{}, {5, 0}, {9, time.Now().UnixMilli()}} {
		b, err := p.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Position
		if err := p.UnmarshalBinary(b); err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		again, err := p.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
	})
}

// FuzzNumbers reads sequence numbers, hash keys and shard names.
func FuzzNumbers(f *testing.F) {
	for _, s := range []string{"49646437577108476416916876405825929425585429676275269634", "0", "1", "shardId-000000000005", "340282366920938463463374607431768211455", "21267647932558653966460912964485513216"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if q, err := ParseSeq(s); err == nil {
			if back, err := ParseSeq(q.String()); err != nil || back != q {
				t.Fatalf("%q became %q, %v", s, q, err)
			}
			_, _, _, _ = q.Shard(), q.Index(), q.Time(), q.Created()
		}
		if h, err := ParseHashKey(s); err == nil {
			if back, err := ParseHashKey(h.String()); err != nil || back != h {
				t.Fatalf("%q became %q, %v", s, h, err)
			}
		}
		if id, err := ParseShardID(s); err == nil && id >= 1<<31 {
			t.Fatalf("%q became %d", s, id)
		}
	})
}
