package kpl

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/awslabs/kinesis-aggregation/go/v2/deaggregator"
	"google.golang.org/protobuf/encoding/protowire"
)

// vector is two records, pk1:hello and pk2:world, as a Kinesis Producer Library wrote them.
const vector = "f3899ac20a03706b310a03706b321a0908001a0568656c6c6f1a0908011a05776f726c6487c22af1ed18e292eb55b018413a3cff"

func aggregate(records ...Record) []byte {
	var b Builder
	for _, r := range records {
		b.Add(r)
	}
	return b.Append(nil)
}

// seal wraps a message as an aggregate with a right MD5.
func seal(message []byte) []byte {
	sum := md5.Sum(message)
	return slices.Concat([]byte(Magic), message, sum[:])
}

func all(r *Reader) []Record {
	var out []Record
	for i, rec := range r.All() {
		if i != len(out) {
			panic("sub-sequence number out of step")
		}
		out = append(out, rec)
	}
	return out
}

func equal(a, b Record) bool {
	return a.Key == b.Key && a.Hash == b.Hash && bytes.Equal(a.Data, b.Data)
}

func TestVectorOfTheProducerLibrary(t *testing.T) {
	want := []Record{{Key: "pk1", Data: []byte("hello")}, {Key: "pk2", Data: []byte("world")}}
	if got := hex.EncodeToString(aggregate(want...)); got != vector {
		t.Errorf("wrote\n%s, want\n%s", got, vector)
	}
	data, err := hex.DecodeString(vector)
	if err != nil {
		t.Fatal(err)
	}
	var r Reader
	if !r.Reset(data) || r.Len() != 2 || !slices.EqualFunc(all(&r), want, equal) {
		t.Errorf("read %v", all(&r))
	}
}

func TestWhatIsNotAnAggregateIsPlain(t *testing.T) {
	good := aggregate(Record{Key: "k", Data: []byte("x")})
	edit := func(f func(b []byte)) []byte { b := bytes.Clone(good); f(b); return b }
	record := func(fields ...byte) []byte {
		return seal(append([]byte("\x0a\x01k\x1a"), append([]byte{byte(len(fields))}, fields...)...))
	}
	for name, data := range map[string][]byte{
		"empty":                    nil,
		"magic only":               []byte(Magic),
		"no message":               seal(nil),
		"other magic":              edit(func(b []byte) { b[0]++ }),
		"other MD5":                edit(func(b []byte) { b[len(b)-1]++ }),
		"damaged":                  edit(func(b []byte) { b[6]++ }),
		"cut":                      good[:len(good)-1],
		"longer":                   append(bytes.Clone(good), 0),
		"no protobuf":              seal([]byte{0xff}),
		"key of the wrong type":    seal([]byte{0x08, 1}),
		"cut record":               seal([]byte("\x0a\x01k\x1a\x09\x08\x00")),
		"key index past the table": record(0x08, 1, 0x1a, 0),
		"hash past the table":      record(0x08, 0, 0x10, 0, 0x1a, 0),
		"no key index":             record(0x1a, 1, 'x'),
		"no data":                  record(0x08, 0),
		"data of the wrong type":   record(0x08, 0, 0x18, 1),
		"field zero":               record(0x00, 0),
		"too many keys":            seal(bytes.Repeat([]byte("\x0a\x00"), KeysMax+1)),
		"too long":                 seal(protowire.AppendBytes([]byte{0x22}, make([]byte, SizeMax))),
	} {
		t.Run(name, func(t *testing.T) {
			var r Reader
			if r.Reset(data) || r.Len() != 0 {
				t.Error("taken for an aggregate")
			}
			for range r.All() {
				t.Fatal("gave a record")
			}
		})
	}
}

func TestUnknownFieldsTagsAndAnyOrderAreRead(t *testing.T) {
	// A record before its tables, with a tag and a field of the future; the table last.
	rec := []byte{0x1a, 1, 'x', 0x08, 1, 0x22, 3, 0x0a, 1, 't', 0x28, 7}
	message := append([]byte{0x1a, byte(len(rec))}, rec...)
	message = append(message, 0x2a, 1, 'f')
	message = append(message, "\x0a\x01a\x0a\x01b"...)
	var r Reader
	if !r.Reset(seal(message)) {
		t.Fatal("refused")
	}
	if got, want := all(&r), []Record{{Key: "b", Data: []byte("x")}}; !slices.EqualFunc(got, want, equal) {
		t.Errorf("read %v", got)
	}
}

func TestSizesAreTold(t *testing.T) {
	var b Builder
	if b.Size() != 0 || len(b.Append(nil)) != 0 {
		t.Error("an empty aggregate has a size")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		r := Record{Key: strings.Repeat("k", 1+rnd.IntN(300)), Data: make([]byte, rnd.IntN(400))}
		if i%3 == 0 {
			r.Hash = strconv.Itoa(rnd.IntN(200))
		}
		want := b.SizeWith(r)
		b.Add(r)
		if b.Size() != want {
			t.Fatalf("record %d: foretold %d bytes, has %d", i, want, b.Size())
		}
	}
	if got := len(b.Append(nil)); got != b.Size() {
		t.Errorf("wrote %d bytes of %d", got, b.Size())
	}
	b.Reset()
	b.Add(Record{Key: "pk1", Data: []byte("hello")})
	b.Add(Record{Key: "pk2", Data: []byte("world")})
	if hex.EncodeToString(b.Append(nil)) != vector {
		t.Error("after Reset something of the aggregate before is left")
	}
}

// TestAmazonsOwnReaderAgrees has their library take apart what we put together.
func TestAmazonsOwnReaderAgrees(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var want []Record
		for range 1 + rnd.IntN(50) {
			r := Record{Key: fmt.Sprint("key-", rnd.IntN(9)), Data: make([]byte, rnd.IntN(300))}
			for i := range r.Data {
				r.Data[i] = byte(rnd.Uint32())
			}
			if rnd.IntN(2) == 0 {
				r.Hash = strconv.Itoa(rnd.IntN(5))
			}
			want = append(want, r)
		}
		data := aggregate(want...)
		theirs, err := deaggregator.DeaggregateRecords([]types.Record{{Data: data}})
		if err != nil || len(theirs) != len(want) {
			t.Fatalf("their reader: %d records of %d, %v", len(theirs), len(want), err)
		}
		for i, r := range theirs {
			if *r.PartitionKey != want[i].Key || !bytes.Equal(r.Data, want[i].Data) {
				t.Fatalf("their reader: record %d is %q %q", i, *r.PartitionKey, r.Data)
			}
		}
		var r Reader
		if !r.Reset(data) || !slices.EqualFunc(all(&r), want, equal) {
			t.Fatal("our reader differs")
		}
	}
}

func TestReadingDoesNotAllocatePerRecord(t *testing.T) {
	var b Builder
	for i := range 1000 {
		b.Add(Record{Key: "k" + strconv.Itoa(i%3), Data: make([]byte, 40)})
	}
	data := b.Append(nil)
	var r Reader
	if n := testing.AllocsPerRun(20, func() {
		r.Reset(data)
		for range r.All() {
		}
	}); n > 10 {
		t.Errorf("%v allocations for 1000 records with 3 keys", n)
	}
}

func FuzzReset(f *testing.F) {
	data, _ := hex.DecodeString(vector)
	f.Add(data[4:len(data)-16], true)
	f.Add(data, false)
	f.Add([]byte{0x1a, 4, 8, 0, 0x1a, 0, 0x0a, 0}, true)
	f.Add([]byte{0x0b, 0x0c}, true)
	f.Fuzz(func(t *testing.T, data []byte, wrap bool) {
		if wrap { // else the MD5 keeps the fuzzer out
			data = seal(data)
		}
		var r Reader
		ok := r.Reset(data)
		got := all(&r)
		if len(got) != r.Len() && ok || !ok && len(got) > 0 {
			t.Fatalf("%d records of %d, aggregate: %v", len(got), r.Len(), ok)
		}
		if len(got) == 0 {
			return
		}
		var again Reader
		if !again.Reset(aggregate(got...)) || !slices.EqualFunc(all(&again), got, func(a, b Record) bool {
			return a.Key == b.Key && (a.Hash == b.Hash) && bytes.Equal(a.Data, b.Data)
		}) {
			t.Fatal("written and read again it differs")
		}
	})
}

func BenchmarkReader(b *testing.B) {
	var w Builder
	for i := range 100 {
		w.Add(Record{Key: "k" + strconv.Itoa(i%3), Data: make([]byte, 500)})
	}
	data := w.Append(nil)
	var r Reader
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		r.Reset(data)
		for range r.All() {
		}
	}
}
