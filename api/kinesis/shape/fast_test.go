package shape

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"penstock/wire/awsjson"
)

func instant(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// hot names the inputs that are read in one pass.
func hot() []string { return []string{"GetRecords", "PutRecord", "PutRecords"} }

// typical are bodies as clients send them: the fast way has to take them.
func typical() map[string][]string {
	return map[string][]string{
		"PutRecord": {
			`{"Data":"aGk=","PartitionKey":"c1","StreamName":"cams"}`,
			`{"StreamName": "cams", "Data": "", "PartitionKey": "ü", "ExplicitHashKey": "0", "SequenceNumberForOrdering": "49646437577108476416916876405825929425585429676275269634"}`,
			`{"StreamARN":"arn:aws:kinesis:us-east-1:123456789012:stream/cams","Data":"/+8=","PartitionKey":"c1","StreamId":"abcdefghij0123456789-abc"}`,
		},
		"PutRecords": {
			`{"StreamARN":"arn:aws-cn:kinesis:cn-north-1:123456789012:stream/cams","Records":[{"Data":"aGk=","PartitionKey":"c1"},{"Data":"","PartitionKey":"c2","ExplicitHashKey":"340282366920938463463374607431768211455"}]}`,
			"{\n  \"Records\" : [ { \"PartitionKey\" : \"a b\" , \"Data\" : \"AAAA\" } ] , \"StreamName\" : \"s.t_r-e4m\"\n}\n",
			`{"Records":[` + strings.TrimSuffix(strings.Repeat(`{"Data":"AA==","PartitionKey":"k"},`, 500), ",") + `]}`,
		},
		"GetRecords": {
			`{"ShardIterator":"AAAAAAAAAAE="}`,
			`{"Limit":10000,"ShardIterator":"\"AAAA"}`[:15] + `"ShardIterator":"AAAA","StreamARN":"arn:aws:kinesis:us-east-1:123456789012:stream/cams"}`,
		},
	}
}

// odd are bodies that are no worse for the exact way, or that it has to refuse.
func odd() []string {
	return []string{
		``, `{`, `{}`, `[]`, `null`, `{"Data":"aGk=","PartitionKey":"c1","StreamName":"cams"}x`,
		`{"Data":"aGk=","Data":"aGl=","PartitionKey":"c1"}`, `{"Data":"aGl=","PartitionKey":"c1"}`, `{"Data":"aG\u006b=","PartitionKey":"\u0063"}`,
		`{"Data":"aGk=","PartitionKey":""}`, `{"Data":null,"PartitionKey":"a"}`, `{"Data":"aGk=","PartitionKey":"a","Other":[{"x":null}]}`,
		`{"Data":"a\nGk=","PartitionKey":"a"}`, "{\"Data\":\"AAAA\n\n\n\n\",\"PartitionKey\":\"a\"}", "{\"Data\":\"\",\"PartitionKey\":\"\xff\"}", "{\"Data\":\"\",\"PartitionKey\":\"a\tb\"}",
		`{"Records":[]}`, `{"Records":[{}]}`, `{"Records":[null]}`, `{"Records":[{"Data":"","PartitionKey":"a"},]}`, `{"Records":[{"Data":"","PartitionKey":"a"}],"Records":[{"Data":"AA==","PartitionKey":"b"}]}`,
		`{"Records":[` + strings.TrimSuffix(strings.Repeat(`{"Data":"AA==","PartitionKey":"k"},`, 501), ",") + `]}`,
		`{"ShardIterator":"a","Limit":1.5}`, `{"ShardIterator":"a","Limit":0}`, `{"ShardIterator":"a","Limit":1e3}`, `{"ShardIterator":"a","Limit":-1}`, `{"ShardIterator":"a","Limit":01}`, `{"ShardIterator":"a","Limit":10001}`,
		`{"ShardIterator":"` + strings.Repeat("é", 512) + `"}`, `{"ShardIterator":"` + strings.Repeat("é", 513) + `"}`,
		`{"Data":"","PartitionKey":"a","ExplicitHashKey":"01"}`, `{"Data":"","PartitionKey":"a","StreamARN":"arn:aws:kinesis:x y:123456789012:stream/a b"}`, `{"Data":"","PartitionKey":"a","StreamARN":"arn:aws:kinesis::123456789012:stream/a"}`,
		`{"Data" "","PartitionKey":"a"}`, `{"Data":"","PartitionKey":"a",}`, `{,"Data":"","PartitionKey":"a"}`, `{"Data":"" "PartitionKey":"a"}`, `{"Data":"","PartitionKey":"a" }`,
	}
}

// toCBOR turns a typical body into its twin, with blobs as byte strings.
func toCBOR(t testing.TB, body string, indefinite bool) []byte {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	mode, err := cbor.EncOptions{}.EncMode()
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	var write func(v any, key string)
	write = func(v any, key string) {
		switch v := v.(type) {
		case map[string]any:
			if indefinite {
				b = append(b, 0xbf)
			} else {
				b = awsjson.AppendCBORMap(b, len(v))
			}
			for k, e := range v {
				b = awsjson.AppendCBORString(b, k)
				write(e, k)
			}
			if indefinite {
				b = append(b, 0xff)
			}
		case []any:
			if indefinite {
				b = append(b, 0x9f)
			} else {
				b = awsjson.AppendCBORList(b, len(v))
			}
			for _, e := range v {
				write(e, "")
			}
			if indefinite {
				b = append(b, 0xff)
			}
		case json.Number:
			n, err := v.Int64()
			if err != nil {
				t.Fatal(err)
			}
			b = awsjson.AppendCBORInt(b, n)
		case string:
			if key == "Data" {
				raw, err := base64.StdEncoding.DecodeString(v)
				if err != nil {
					t.Fatal(err)
				}
				b = awsjson.AppendCBORBlob(b, raw)
				return
			}
			text, err := mode.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, text...)
		}
	}
	write(v, "")
	return b
}

// agree checks that both ways take the same, and report whether the fast one took it.
func agree(t testing.TB, name string, f awsjson.Format, body []byte) bool {
	t.Helper()
	op := operation(t, name)
	fast := op.New().(awsjson.FastInput)
	took := awsjson.DecodeFast(fast, f, body)
	if !took {
		return false
	}
	exact := op.New()
	if e := awsjson.Decode(exact, op.Input, f, body); e != nil {
		t.Fatalf("%s %q: one pass takes it, the exact way says %v", name, body, e)
	}
	if !reflect.DeepEqual(fast, exact) {
		t.Fatalf("%s %q\nin one pass %+v\nexactly     %+v", name, body, fast, exact)
	}
	fast.Reset()
	if again := awsjson.DecodeFast(fast, f, body); !again || !reflect.DeepEqual(fast, exact) {
		t.Fatalf("%s %q: used again, it is %+v", name, body, fast)
	}
	return true
}

func TestTheFastWayTakesWhatClientsSend(t *testing.T) {
	for name, bodies := range typical() {
		for _, body := range bodies {
			if !agree(t, name, awsjson.JSON, []byte(body)) {
				t.Errorf("%s is not taken in one pass: %s", name, body)
			}
			for _, indefinite := range []bool{false, true} {
				if b := toCBOR(t, body, indefinite); !agree(t, name, awsjson.CBOR, b) {
					t.Errorf("%s is not taken in one pass: %s", name, hex.EncodeToString(b))
				}
			}
		}
	}
}

func TestTheFastWayTakesNothingElse(t *testing.T) {
	for _, name := range hot() {
		for _, body := range odd() {
			agree(t, name, awsjson.JSON, []byte(body))
		}
	}
}

// What a client sends is also what encoding/json reads: a third opinion.
func TestAgainstEncodingJSON(t *testing.T) {
	for name, bodies := range typical() {
		for _, body := range bodies {
			got, want := operation(t, name).New(), operation(t, name).New()
			if !awsjson.DecodeFast(got.(awsjson.FastInput), awsjson.JSON, []byte(body)) {
				t.Fatalf("not taken: %s", body)
			}
			if err := json.Unmarshal([]byte(body), want); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s\nis  %+v\nnot %+v, %v", body, got, want, err)
			}
		}
	}
}

// FuzzFast compares one pass with the exact way; what the exact way takes, encoding/json
// has to take.
func FuzzFast(f *testing.F) {
	for i, name := range hot() {
		for _, body := range typical()[name] {
			if len(body) < 1000 {
				f.Add(uint8(i), false, []byte(body))
				f.Add(uint8(i), true, toCBOR(f, body, false))
				f.Add(uint8(i), true, toCBOR(f, body, true))
			}
		}
		for _, body := range odd() {
			if len(body) < 1000 {
				f.Add(uint8(i), false, []byte(body))
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, isCBOR bool, body []byte) {
		name, format := hot()[int(which)%len(hot())], awsjson.JSON
		if isCBOR {
			format = awsjson.CBOR
		}
		if agree(t, name, format, body) && !isCBOR {
			in := operation(t, name).New()
			if err := json.Unmarshal(body, in); err != nil {
				t.Fatalf("%q: encoding/json says %v", body, err)
			}
		}
	})
}

// batch is a PutRecords body of n records of size bytes.
func batch(n, size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, size)
	var b strings.Builder
	b.WriteString(`{"Records":[`)
	for i := range n {
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"Data":"%s","PartitionKey":"device-%06d"}`, base64.StdEncoding.EncodeToString(data), i)
	}
	b.WriteString(`],"StreamName":"cams"}`)
	return []byte(b.String())
}

func BenchmarkDecodePutRecords(b *testing.B) {
	body := batch(500, 1024)
	for _, c := range []struct {
		name   string
		format awsjson.Format
		body   []byte
	}{{"json", awsjson.JSON, body}, {"cbor", awsjson.CBOR, toCBOR(b, string(body), false)}} {
		b.Run(c.name, func(b *testing.B) {
			d, in := awsjson.NewDecoder(), new(PutRecordsInput)
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				if !d.Decode(in, c.format, c.body) {
					b.Fatal("not taken")
				}
				in.Reset()
			}
		})
		b.Run(c.name+"-exact", func(b *testing.B) {
			op := operation(b, "PutRecords")
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				if e := awsjson.Decode(new(PutRecordsInput), op.Input, c.format, c.body); e != nil {
					b.Fatal(e)
				}
			}
		})
	}
}

func BenchmarkEncodeGetRecords(b *testing.B) {
	data, seq := make([]byte, 1024), []byte("49646437577108476416916876405825929425585429676275269634")
	a := &GetRecordsAnswer{NextShardIterator: strings.Repeat("A", 204), Records: Records{N: 10000, View: func(i int, r *RecordView) {
		r.Seq, r.Data, r.Key, r.Arrival = append(r.Seq, seq...), data, "device-000001", 1700000005123
	}}}
	for name, write := range map[string]func([]byte) []byte{"json": a.AppendJSON, "cbor": a.AppendCBOR} {
		b.Run(name, func(b *testing.B) {
			buf := write(nil)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				buf = write(buf[:0])
			}
		})
	}
}
