package segment

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"penstock/storage"
	"penstock/storage/mem"
)

// FuzzSegment gives any bytes for an object, with its checksums made right, to all that
// reads one.
func FuzzSegment(f *testing.F) {
	for _, c := range somehow(f) {
		b, _ := write(f, c, someShards(2, 30))
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	key := Name{Stream: "s1", Day: 20260921, Lane: 3, First: 10, Last: 99}.Key()
	find := keys(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = mend(b)
		ctx, bucket := context.Background(), mem.New(mem.Config{})
		must(t, bucket.Put(ctx, key, bytes.NewReader(b), int64(len(b))))
		s := NewSource(SourceConfig{Bucket: bucket, Keys: find})
		o := storage.Object{Key: key, Size: int64(len(b))}
		rep, err := s.Verify(ctx, o)
		must(t, err)
		r, err := s.Open(ctx, key, o.Size)
		if err != nil {
			if len(rep.Damage) == 0 {
				t.Fatalf("verify found nothing, open %v", err)
			}
			return
		}
		got, err := readAll(ctx, r, 1)
		if (err == nil) != (len(rep.Damage) == 0 || rep.Blocks == r.Info().Blocks) {
			t.Fatalf("verify %+v, read %v", rep, err)
		}
		for id, records := range got {
			for i := 1; i < len(records); i++ {
				if records[i].Index <= records[i-1].Index || records[i].Arrival < records[i-1].Arrival {
					t.Fatalf("shard %d: record %d is out of order", id, i)
				}
			}
		}
	})
}

// mend makes the checksums of b right, as far as it has what they stand in.
func mend(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < fileHeadLen+trailerLen {
		return b
	}
	trailer := b[len(b)-trailerLen:]
	n := int(binary.LittleEndian.Uint32(trailer))
	at := len(b) - trailerLen - n
	for _, off := range []int{0, at} {
		if off < 0 || off+fileHeadLen > len(b) {
			continue
		}
		if k := (fileHeadLen + int(b[off+11]) + int(b[off+12]) + 7) &^ 7; off+k <= len(b) {
			binary.LittleEndian.PutUint32(b[off+36:], fileHeadCRC(b[off:off+k]))
		}
	}
	salt := binary.LittleEndian.Uint32(b[36:])
	for off := 0; off < len(b); {
		i := bytes.Index(b[off:], []byte(blockMagic))
		if i < 0 || off+i+blockHeadLen > len(b) {
			break
		}
		head := b[off+i:]
		if k := blockHeadLen + int(binary.LittleEndian.Uint32(head[48:])); k <= len(head) {
			binary.LittleEndian.PutUint32(head[52:], crc32.Checksum(head[blockHeadLen:k], castagnoli))
		}
		binary.LittleEndian.PutUint32(head[56:], blockHeadCRC(head, salt))
		off += i + len(blockMagic)
	}
	if at >= 0 {
		binary.LittleEndian.PutUint32(trailer[4:], crc32.Checksum(b[at:len(b)-trailerLen], castagnoli))
	}
	binary.LittleEndian.PutUint32(trailer[12:], crc32.Checksum(trailer[:12], castagnoli))
	return b
}

func FuzzFooter(f *testing.F) {
	b, info := write(f, Config{Name: testName(), BlockSize: MinBlock}, someShards(2, 3000))
	n := int(binary.LittleEndian.Uint32(b[len(b)-trailerLen:]))
	at := len(b) - trailerLen - n
	f.Add(b[at:at+n], int64(at))
	f.Fuzz(func(t *testing.T, b []byte, at int64) {
		foot, err := parseFooter(b, crc32.Checksum(b, castagnoli), at)
		if err != nil {
			return
		}
		again := appendFooter(nil, &foot.head, foot.shards, foot.blocks)
		same, err := parseFooter(again[:len(again)-trailerLen], crc32.Checksum(again[:len(again)-trailerLen], castagnoli), at)
		must(t, err)
		if same.info(1).Records != foot.info(1).Records || len(same.blocks) != len(foot.blocks) || len(again) > len(b)+trailerLen {
			t.Fatalf("%+v was written as %+v", foot, same)
		}
		foot.find(0, func(b *block) bool { return b.last >= 7 })
	})
	_ = info
}

func FuzzBlock(f *testing.F) {
	rows := []byte{0, 1, 1, 'k', 'd', 1, 200, 1, 0, 0}
	f.Add(rows, uint32(2), uint64(5), int64(0))
	f.Add([]byte{4, 0, 0, 2, 3, 0, 0}, uint32(2), uint64(0), int64(-5))
	f.Fuzz(func(t *testing.T, rows []byte, records uint32, first uint64, arrival int64) {
		want := block{records: records, first: first, last: first + uint64(records) - 1,
			firstArrival: arrival, lastArrival: arrival, rows: uint32(len(rows)), stored: uint32(len(rows))}
		if want.flaw() {
			return
		}
		b, err := parseRows(rows, &want)
		if err != nil {
			return
		}
		size := 0
		for i := range b.Len() {
			r := b.At(i)
			size += len(r.Key) + len(r.Data) + minRow
			if k := b.Find(r.Index); k != i {
				t.Fatalf("record %d is found at %d", i, k)
			}
		}
		if size > len(rows) || b.At(0).Index != first || b.At(0).Arrival != arrival {
			t.Fatalf("%d bytes out of %d", size, len(rows))
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add(testName().Key())
	f.Add("seg/s/20260931/0-0000-0000000000000001-0000000000000001.seg")
	f.Add("seg/../20260930/0-0000-0000000000000001-0000000000000001.seg")
	f.Fuzz(func(t *testing.T, key string) {
		n, err := ParseKey(key)
		if err != nil {
			return
		}
		if n.Key() != key || storage.CheckKey("test", key) != nil {
			t.Fatalf("%q is %+v", key, n)
		}
	})
}
