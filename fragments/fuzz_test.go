package fragments

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"penstock/media"
)

// chunkBytes is a sealed chunk of two small fragments.
func chunkBytes(t testing.TB, sealed bool) []byte {
	t.Helper()
	id := chunkID{1_700_000_000_000, 0xabcd}
	b := fileHeader{stream: "cam", salt: id.session, created: time.UnixMilli(id.ms)}.marshal()
	var entries []entry
	for i := range 2 {
		f := testFragment(time.UnixMilli(id.ms).Add(time.Duration(i)*120*time.Millisecond), 3, uint64(i))
		f.Number = numberOf(f.Start)
		meta := appendMeta(nil, f, media.MarshalTracks(f.Tracks), int64(len(b)))
		bufs, crc, n := gather(nil, f.Samples)
		rec := record{kind: recordFragment, metaLen: uint32(len(meta)), dataLen: uint32(n), dataCRC: crc}
		head := make([]byte, recordLen)
		rec.put(head, id.session, meta)
		f.Size, f.Head.Samples = n, len(f.Samples)
		entries = append(entries, entry{Head: f.Head, off: int64(len(b)), metaLen: rec.metaLen})
		b = append(append(append(b, head...), meta...), bytes.Join(bufs, nil)...)
	}
	if sealed {
		b = append(b, marshalFooter(id.session, entries)...)
	}
	return b
}

func FuzzScan(f *testing.F) {
	whole := chunkBytes(f, true)
	f.Add(whole)
	f.Add(chunkBytes(f, false))
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, how := range []depth{scanAll, scanTail} {
			sc, err := scan(bytes.NewReader(b), int64(len(b)), how)
			if err != nil {
				continue
			}
			last := Number(0)
			for _, e := range sc.entries {
				if e.off < 0 || e.off+e.recordSize() > int64(len(b)) || e.Number <= last {
					t.Fatalf("entry %+v of %d bytes", e, len(b))
				}
				last = e.Number
			}
		}
		if _, entries, err := readFooter(bytes.NewReader(b), int64(len(b))); err == nil {
			if again, err := unpackEntries(packEntries(nil, entries)); err != nil || len(again) != len(entries) {
				t.Fatal(err)
			}
		}
	})
}

func TestATornOrDamagedChunkKeepsItsOtherFragments(t *testing.T) {
	whole := chunkBytes(t, true)
	good, err := scan(bytes.NewReader(whole), int64(len(whole)), scanAll)
	if err != nil || len(good.entries) != 2 || !good.sealed {
		t.Fatal(good, err)
	}
	first, second := good.entries[0], good.entries[1]
	for n := range len(whole) {
		sc, err := scan(bytes.NewReader(whole[:n]), int64(n), scanAll)
		want := 0
		if int64(n) >= first.off+first.recordSize() {
			want = 1
		}
		if int64(n) >= second.off+second.recordSize() {
			want = 2
		}
		if n >= 40 && (err != nil || len(sc.entries) != want) {
			t.Fatalf("cut to %d bytes: %v, %v", n, sc, err)
		}
	}
	for i := first.off; i < first.off+first.recordSize(); i++ {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x10
		sc, err := scan(bytes.NewReader(bad), int64(len(bad)), scanAll)
		if err != nil || len(sc.entries) != 1 || sc.entries[0].Number != second.Number || sc.entries[0].Gap != CauseDamaged {
			t.Fatalf("byte %d changed: %+v, %v", i, sc, err)
		}
	}
}

func FuzzEntries(f *testing.F) {
	rows := synthesise(rand.New(rand.NewPCG(1, 1)), time.UnixMilli(1_700_000_000_000), 40, 20, 2*time.Second, 7)
	f.Add(rows[0].entries)
	f.Add(rows[1].entries)
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := unpackEntries(b)
		if err != nil {
			return
		}
		again, err := unpackEntries(packEntries(nil, entries))
		if err != nil || !reflect.DeepEqual(again, entries) {
			t.Fatalf("%v: %v is not %v", err, again, entries)
		}
	})
}

func FuzzSection(f *testing.F) {
	rows := synthesise(rand.New(rand.NewPCG(1, 1)), time.UnixMilli(1_700_000_000_000), 40, 20, 2*time.Second, 7)
	section, err := packSection(rows)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(section)
	f.Add(section[:len(section)-4])
	p, err := partOf(rows, 0, 10)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packParts([]part{p}))
	f.Add(packIndex("cam", [][]byte{section}, []part{p}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, section := range [][]byte{b, binary.LittleEndian.AppendUint32(bytes.Clone(b), crc32.Checksum(b, castagnoli()))} {
			if rows, err := unpackSection(section); err == nil {
				samePacked(t, rows)
			}
		}
		if parts, err := unpackParts(b); err == nil {
			if again, err := unpackParts(packParts(parts)); err != nil || !reflect.DeepEqual(again, parts) {
				t.Fatal(err)
			}
		}
		if _, parts, err := unpackIndex(b); err == nil {
			for _, p := range parts {
				_, _ = unpackSection(b[p.off : p.off+p.len])
			}
		}
	})
}

// samePacked checks that a section which can be read is the same after it was packed again.
func samePacked(t *testing.T, rows []chunkRow) {
	t.Helper()
	section, err := packSection(rows)
	if err != nil {
		return // an hour with a damaged chunk in it
	}
	again, err := unpackSection(section)
	if err != nil || len(again) != len(rows) {
		t.Fatalf("%d chunks are %d: %v", len(rows), len(again), err)
	}
	for i := range rows {
		want, err := rows[i].unpack(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := again[i].unpack(nil)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("chunk %d: %v is not %v", i, err, want)
		}
		a, b := rows[i], again[i]
		a.entries, a.by, b.entries, b.by = nil, nil, nil, nil
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("chunk %d: %+v is not %+v", i, b, a)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("v/cam/20231114/1700000000000-0000abcd.chk")
	f.Add("cam.1700000000000-0000abcd.open")
	f.Fuzz(func(t *testing.T, name string) {
		if stream, id, ok := parseKey(name); ok && id.key(stream) != name {
			t.Fatal(name)
		}
		if stream, id, ok := parseFileName(name); ok && stream+"."+id.String()+openSuffix != name {
			t.Fatal(name)
		}
	})
}
