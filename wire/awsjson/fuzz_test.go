package awsjson

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// generic returns a node as encoding/json and fxamacker/cbor decode into an any.
func generic(n *node) any {
	switch n.kind {
	case nodeBool:
		return n.truth
	case nodeNumber, nodeTime:
		return n.float
	case nodeString:
		return n.text
	case nodeBytes:
		return append([]byte{}, n.bytes...)
	case nodeList:
		l := make([]any, len(n.list))
		for i := range n.list {
			l[i] = generic(&n.list[i])
		}
		return l
	case nodeMap:
		m := make(map[string]any, len(n.keys))
		for i, k := range n.keys {
			m[k] = generic(&n.list[i])
		}
		return m
	}
	return nil
}

func depth(data []byte, open string) int {
	return bytes.Count(data, []byte(open[:1])) + bytes.Count(data, []byte(open[1:]))
}

// FuzzJSON compares with encoding/json: what is taken, and what it means.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,-2.5e3,true,false,null,"x\u00e9\ud83d\ude00"]}`, ` [ ] `, `"\ud800"`, "\"\xff\"", `01`, `{"a":1,"a":2}`, `1e999`, `-`, `{"a" : "\/"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if depth(data, "[{") > depthMax {
			return
		}
		n, ok := parseJSON(data)
		if valid, _ := validJSON(data); valid != ok {
			t.Fatalf("checked alone: %v, decoded: %v", valid, ok)
		}
		if std := json.Valid(data); std != ok {
			t.Fatalf("encoding/json says %v, we say %v", std, ok)
		}
		if !ok {
			return
		}
		var want any
		if err := json.Unmarshal(data, &want); err != nil {
			if strings.Contains(err.Error(), "cannot unmarshal number") {
				return // out of range: it clamps here
			}
			t.Fatal(err)
		}
		if got := generic(&n); !reflect.DeepEqual(got, want) {
			t.Fatalf("is %#v, encoding/json has %#v", got, want)
		}
	})
}

// same compares as DeepEqual does, but a NaN is itself.
func same(a, b any) bool { return fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b) }

// plainCBOR turns what fxamacker/cbor makes into what generic makes; ok is false for what
// we do not tell apart.
func plainCBOR(v any) (out any, ok bool) {
	switch v := v.(type) {
	case uint64:
		return float64(v), true
	case int64:
		return float64(v), true
	case float64, string, bool, nil, []byte:
		return v, true
	case cbor.Tag:
		return plainCBOR(v.Content)
	case []any:
		l := make([]any, len(v))
		for i := range v {
			if l[i], ok = plainCBOR(v[i]); !ok {
				return nil, false
			}
		}
		return l, true
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			name, isText := k.(string)
			if !isText {
				return nil, false
			}
			if m[name], ok = plainCBOR(e); !ok {
				return nil, false
			}
		}
		return m, true
	}
	return nil, false
}

// FuzzCBOR compares with fxamacker/cbor.
func FuzzCBOR(f *testing.F) {
	for _, s := range []string{"a0", "bf6161f94200ff", "a161615f416141 62ff", "a1616281c1fb41d579c3e89bbe77", "9fff", "a1616b1bffffffffffffffff", "a1616b3bffffffffffffffff",
		"a16161f97e00", "a16161f6", "7f6161ff", "a1616130", "c0c1a0", "ff", "bf6161ff"} {
		var b []byte
		if _, err := fmt.Sscanf(strings.ReplaceAll(s, " ", ""), "%x", &b); err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	mode, err := cbor.DecOptions{DupMapKey: cbor.DupMapKeyQuiet, MaxNestedLevels: 256, BigIntDec: cbor.BigIntDecodeValue,
		UnrecognizedTagToAny: cbor.UnrecognizedTagContentToAny, TimeTagToAny: cbor.TimeTagToRFC3339}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, ok := parseCBOR(data)
		if valid, _ := validCBOR(data); valid != ok {
			t.Fatalf("checked alone: %v, decoded: %v", valid, ok)
		}
		wellformed := mode.Wellformed(data) == nil
		if ok && !wellformed {
			t.Fatalf("taken, but not well-formed: %v", mode.Wellformed(data))
		}
		for _, b := range data {
			if b>>5 == cborTag || b == 0xf7 { // tags have types there that they have not here
				return
			}
		}
		var value any
		if err := mode.Unmarshal(data, &value); err != nil {
			if ok && !strings.Contains(err.Error(), "cbor: ") {
				t.Fatalf("taken, but %v", err)
			}
			return
		}
		want, simple := plainCBOR(value)
		if !simple || hasSimple(data) {
			return
		}
		if !ok {
			t.Fatalf("not taken, but it is %#v", want)
		}
		if got := generic(&n); !same(got, want) {
			t.Fatalf("is %#v, fxamacker/cbor has %#v", got, want)
		}
	})
}

// hasSimple reports whether data may hold a simple value other than those of JSON, or an
// integer below -2^63, which is a big one there.
func hasSimple(data []byte) bool {
	for _, b := range data {
		if b>>5 == cborSimple && b != 0xff && (b&31 < 20 || b&31 == 24) || b == 0x3b {
			return true
		}
	}
	return false
}

// FuzzDecode feeds the exact way: nothing panics, and what is taken is written and read
// again as the same, in both formats.
func FuzzDecode(f *testing.F) {
	f.Add(false, []byte(`{"Blob":"aGk=","Count":3,"Flag":true,"When":1441215410.867,"Names":["a"],"Tags":{"a":"1"},"Many":[{"Word":"RED"}],"Long":-5,"Ratio":1.5}`))
	f.Add(false, []byte(`{"Names":["A",""],"Count":0,"Secret":"12345"}`))
	f.Add(true, []byte("\xbf\x65Count\xf9\x42\x00\x64When\xc1\xfb\x41\xd5\x79\xc3\xe8\x9b\xbe\x77\xff"))
	s := toyModel().Operations[0].Input
	f.Fuzz(func(t *testing.T, isCBOR bool, data []byte) {
		format := JSON
		if isCBOR {
			format = CBOR
		}
		var in toyInput
		if e := Decode(&in, s, format, data); e != nil {
			if e.Type != "SerializationException" && e.Type != "ValidationException" {
				t.Fatal(e)
			}
			return
		}
		if in.Ratio != nil && (math.IsNaN(*in.Ratio) || math.IsInf(*in.Ratio, 0)) {
			return // JSON has no word for it
		}
		for _, again := range []Format{JSON, CBOR} {
			text := AppendValue(nil, again, s, &in)
			var out toyInput
			if e := Decode(&out, s, again, text); e != nil {
				t.Fatalf("%s: %v", text, e)
			}
			// Answers tell milliseconds.
			in.When, out.When = in.When.Round(1e6), out.When.Round(1e6)
			if d := in.When.Sub(out.When).Abs(); d > 1e6 {
				t.Fatalf("%v became %v", in.When, out.When)
			}
			out.When = in.When
			if !reflect.DeepEqual(in, out) {
				t.Fatalf("%#v became %#v over %q", in, out, text)
			}
		}
	})
}
