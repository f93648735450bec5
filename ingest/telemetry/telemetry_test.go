package telemetry

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"penstock/internal/fault"
	"penstock/records"
)

// tell writes records as key=data, one a line; random keys as ?.
func tell(in []records.Input, random bool) string {
	var b strings.Builder
	for _, r := range in {
		key := r.Key
		if random {
			key = "?"
		}
		fmt.Fprintf(&b, "%s=%s\n", key, r.Data)
	}
	return b.String()
}

func TestBodiesBecomeRecords(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		body string
		want string
	}{
		"bytes":                        {Options{Key: "k"}, "any\x00thing\n", "k=any\x00thing\n\n"},
		"an empty record":              {Options{Key: "k"}, "", "k=\n"},
		"an object":                    {Options{Format: JSON}, " {\"a\": 1}\n", "?={\"a\": 1}\n"},
		"an array":                     {Options{Format: JSON}, `[{"a":"]"}, [1,2] ,"x,\"y" ,3, null,{}]`, "?={\"a\":\"]\"}\n?=[1,2]\n?=\"x,\\\"y\"\n?=3\n?=null\n?={}\n"},
		"one number":                   {Options{Format: JSON}, "21.5", "?=21.5\n"},
		"a key from a pointer":         {Options{Format: JSON, Pointer: "/s/id"}, `[{"t":1,"s":{"id":"a"}},{"s":{"x":[1],"id":7}},{"s":{"id":true}}]`, "a={\"t\":1,\"s\":{\"id\":\"a\"}}\n7={\"s\":{\"x\":[1],\"id\":7}}\ntrue={\"s\":{\"id\":true}}\n"},
		"a pointer with / and ~":       {Options{Format: JSON, Pointer: "/a~1b~0/1"}, `{"a/b~":["x","y\u00fc"]}`, "yü={\"a/b~\":[\"x\",\"y\\u00fc\"]}\n"},
		"lines of JSON":                {Options{Format: NDJSON, Pointer: "/k"}, "{\"k\":\"a\"}\r\n\n {\"k\":\"b\"} \n{\"k\":\"c\"}", "a={\"k\":\"a\"}\nb={\"k\":\"b\"}\nc={\"k\":\"c\"}\n"},
		"CSV":                          {Options{Format: CSV, Pointer: "/id"}, "\xef\xbb\xbfid,temp,ok,note\ns1,21.50,true,\"a \"\"b\"\"\"\ns2,007,no,\n", "s1={\"id\":\"s1\",\"temp\":21.50,\"ok\":true,\"note\":\"a \\\"b\\\"\"}\ns2={\"id\":\"s2\",\"temp\":\"007\",\"ok\":\"no\",\"note\":null}\n"},
		"CSV without a header":         {Options{Format: Rows, Key: "k"}, "a,b\n\n\"c\nd\",e,f\r\ng", "k=a,b\nk=\"c\nd\",e,f\nk=g\n"},
		"lines of text":                {Options{Format: Lines, Key: "k"}, "a b\r\n\n c\nlast", "k=a b\nk= c\nk=last\n"},
		"no line":                      {Options{Format: Lines, Key: "k"}, "\n\n", "invalid: there is no record in it"},
		"a pointer into lines":         {Options{Format: Lines, Pointer: "/id"}, "x", "invalid: a JSON pointer needs"},
		"a header alone has no record": {Options{Format: CSV}, "a,b\n", "invalid: there is no record in it"},
		"no record":                    {Options{Format: JSON}, "[ ]", "invalid: there is no record in it"},
		"no JSON":                      {Options{Format: JSON}, `{"a":}`, "invalid: it is not JSON: byte 6"},
		"two values":                   {Options{Format: JSON}, `{} {}`, "invalid: it is not JSON: byte 4"},
		"an empty body":                {Options{Format: JSON}, " ", "invalid: it is empty, not JSON"},
		"a bad line":                   {Options{Format: NDJSON}, "{}\n{\n", "invalid: line 2: it is not JSON"},
		"a row too short":              {Options{Format: CSV}, "a,b\n1\n", "invalid: record on line 2: wrong number of fields"},
		"two columns of one name":      {Options{Format: CSV}, "a,a\n1,2\n", "invalid: two columns are called \"a\""},
		"no key":                       {Options{Format: JSON, Pointer: "/id"}, `[{"id":1},{"no":2}]`, "invalid: record 1 has no key at /id: there is nothing"},
		"a key that is null":           {Options{Format: JSON, Pointer: "/id"}, `{"id":null}`, "invalid: record 0 has no key at /id: it is neither text nor a number"},
		"a key that is empty":          {Options{Format: JSON, Pointer: "/id"}, `{"id":""}`, "invalid: record 0 has no key at /id: read partition key"},
		"a pointer into bytes":         {Options{Pointer: "/id"}, "x", "invalid: a JSON pointer needs records of JSON"},
		"a pointer without a slash":    {Options{Format: JSON, Pointer: "id"}, "{}", "invalid: the JSON pointer \"id\""},
		"a key and a pointer":          {Options{Key: "k", Pointer: "/id"}, "{}", "invalid: a key and a pointer"},
		"a long key":                   {Options{Key: strings.Repeat("ü", 257)}, "x", "invalid: it must have 1 to 256 characters"},
		"too many":                     {Options{Format: JSON}, "[" + strings.Repeat("1,", RecordsMax) + "1]", "invalid: more than 10000 records"},
		"too many lines":               {Options{Format: NDJSON}, strings.Repeat("1\n", RecordsMax+1), "invalid: more than 10000 records"},
		"too many rows":                {Options{Format: CSV}, strings.Repeat("1\n", RecordsMax+2), "invalid: more than 10000 records"},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := Parse([]byte(c.body), c.o)
			if want, refused := strings.CutPrefix(c.want, "invalid: "); refused {
				if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := tell(in, c.o.Key == "" && c.o.Pointer == ""); got != c.want {
				t.Errorf("got\n%s, want\n%s", got, c.want)
			}
			for _, r := range in {
				if r.Hash != records.HashOf(r.Key) {
					t.Errorf("key %q is at %v", r.Key, r.Hash)
				}
			}
		})
	}
}

func TestCBOR(t *testing.T) {
	enc := func(v any) []byte {
		b, err := cbor.Marshal(v)
		check(t, err)
		return b
	}
	one, two := enc(map[string]any{"id": "a", "v": 1.5}), enc(map[string]any{"id": 7})
	for name, c := range map[string]struct {
		body []byte
		want [][]byte
		keys string
	}{
		"an item":                        {one, [][]byte{one}, "a"},
		"a sequence":                     {append(bytes.Clone(one), two...), [][]byte{one, two}, "a7"},
		"an array":                       {append(append([]byte{0x82}, one...), two...), [][]byte{one, two}, "a7"},
		"an array of no told length":     {append(append([]byte{0x9f}, append(bytes.Clone(one), two...)...), 0xff), [][]byte{one, two}, "a7"},
		"a map of no told length within": {append(append([]byte{0xbf, 0x62, 'i', 'd', 0x61, 'x', 0xff}, one...), two...), [][]byte{{0xbf, 0x62, 'i', 'd', 0x61, 'x', 0xff}, one, two}, "xa7"},
	} {
		in, err := Parse(c.body, Options{Format: CBOR, Pointer: "/id"})
		if err != nil || len(in) != len(c.want) {
			t.Errorf("%s: %d records, %v", name, len(in), err)
			continue
		}
		keys := ""
		for i, r := range in {
			if keys += r.Key; !bytes.Equal(r.Data, c.want[i]) {
				t.Errorf("%s: record %d is %x", name, i, r.Data)
			}
		}
		if keys != c.keys {
			t.Errorf("%s: keys %q", name, keys)
		}
	}
	for name, body := range map[string]string{"cut": "a2", "nothing": "", "a break alone": "ff", "too deep": strings.Repeat("81", 100) + "00", "an array of nothing": "80"} {
		b, err := hex.DecodeString(body)
		check(t, err)
		if _, err := Parse(b, Options{Format: CBOR}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, pointer := range []string{"/no", "/v/x", "/m"} {
		if _, err := Parse(enc(map[string]any{"v": 1, "m": map[string]int{}}), Options{Format: CBOR, Pointer: pointer}); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", pointer, err)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestContentTypes(t *testing.T) {
	for header, want := range map[string]Format{
		"": Bytes, "application/json": JSON, "Application/JSON; charset=UTF-8": JSON, "application/senml+json": JSON, "application/x-ndjson": NDJSON, "application/jsonl": NDJSON,
		"text/csv": CSV, "text/csv; header=absent": Rows, "text/csv; header=present": CSV, "application/cbor": CBOR, "application/cbor-seq": CBOR, "application/senml+cbor": CBOR,
		"text/plain": Bytes, "text/plain; records=lines": Lines, "application/octet-stream": Bytes, "image/png": Bytes, "application/x-www-form-urlencoded": Bytes,
	} {
		if got, err := FormatOf(header, []byte("x")); err != nil || got != want {
			t.Errorf("%q: %v %v", header, got, err)
		}
	}
	for body, want := range map[string]Format{` {"a":1}`: JSON, "[1]": JSON, "{": Bytes, "a=b": Bytes, "12": Bytes} {
		for _, header := range []string{"", "application/x-www-form-urlencoded"} {
			if got, err := FormatOf(header, []byte(body)); err != nil || got != want {
				t.Errorf("%q as %q: %v %v", body, header, got, err)
			}
		}
	}
	for _, header := range []string{"text/csv; charset=utf-16", "text/", ";;"} {
		if _, err := FormatOf(header, nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", header, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for i, body := range []string{"x", `[{"id":"a"},{"id":2}]`, "{\"id\":1}\n{\"id\":2}\n", "id,b\n1,\"2\"\n", "a,\"b\nc\"\n", "\x82\xa1\x62id\x01\xa1\x62id\x02"} {
		f.Add([]byte(body), uint8(i), "/id")
		f.Add([]byte(body), uint8(i), "")
	}
	f.Fuzz(func(t *testing.T, body []byte, format uint8, pointer string) {
		o := Options{Format: Format(format % 7), Pointer: pointer}
		in, err := Parse(body, o)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatalf("%v", err)
			}
			return
		}
		total := 0
		for _, r := range in {
			if checkKey(r.Key) != nil {
				t.Fatalf("key %q", r.Key)
			}
			if f := o.Format; (f == JSON || f == NDJSON || f == CSV) && !json.Valid(r.Data) {
				t.Fatalf("a record is no JSON: %q", r.Data)
			}
			if o.Format == CBOR && cbor.Wellformed(r.Data) != nil {
				t.Fatalf("a record is no CBOR: %x", r.Data)
			}
			total += len(r.Data)
		}
		if o.Format != CSV && total > len(body) {
			t.Fatalf("%d bytes became %d", len(body), total)
		}
		if o.Format == JSON { // as the standard library takes it apart
			var list []json.RawMessage
			if err := json.Unmarshal(body, &list); err == nil && list != nil {
				if len(list) != len(in) {
					t.Fatalf("%d records of %d", len(in), len(list))
				}
				for i := range list {
					if !bytes.Equal(list[i], in[i].Data) {
						t.Fatalf("record %d is %q, not %q", i, in[i].Data, list[i])
					}
				}
			}
		}
	})
}
