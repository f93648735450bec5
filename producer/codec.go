package producer

import (
	"encoding/base64"
	"encoding/json"
	"math"

	"github.com/fxamacker/cbor/v2"
)

// codec writes requests and reads answers, as JSON or as CBOR. Requests are written by
// hand: they are the hot path.
type codec struct {
	mime       string
	decode     func([]byte, any) error
	putRecords func(stream, arn string, records []put) []byte
	listShards func(stream, arn, next string) []byte
}

func (w *wire) codec() codec {
	if w.c.CBOR {
		return codec{"application/x-amz-cbor-1.1", cbor.Unmarshal, cborPutRecords, cborListShards}
	}
	return codec{"application/x-amz-json-1.1", json.Unmarshal, jsonPutRecords, jsonListShards}
}

// quote appends s as a JSON string.
func quote(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			text, err := json.Marshal(s)
			if err != nil { // a string is always written
				return append(b, `""`...)
			}
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

func jsonHead(stream, arn string, room int) []byte {
	b := make([]byte, 0, room)
	if stream != "" {
		b = quote(append(b, `{"StreamName":`...), stream)
	}
	if arn != "" {
		sep := byte(',')
		if stream == "" {
			sep = '{'
		}
		b = quote(append(append(b, sep), `"StreamARN":`...), arn)
	}
	return b
}

func jsonPutRecords(stream, arn string, records []put) []byte {
	room := 256 + len(stream) + len(arn)
	for _, r := range records {
		room += 80 + len(r.key) + len(r.hash) + base64.StdEncoding.EncodedLen(len(r.data))
	}
	b := append(jsonHead(stream, arn, room), `,"Records":[`...)
	for i, r := range records {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(base64.StdEncoding.AppendEncode(append(b, `{"Data":"`...), r.data), `","PartitionKey":`...)
		b = quote(b, r.key)
		if r.hash != "" {
			b = quote(append(b, `,"ExplicitHashKey":`...), r.hash)
		}
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

func jsonListShards(stream, arn, next string) []byte {
	if next != "" {
		return append(quote([]byte(`{"NextToken":`), next), '}')
	}
	return append(jsonHead(stream, arn, 256), `,"MaxResults":1000,"ShardFilter":{"Type":"AT_LATEST"}}`...)
}

// Major types of CBOR (RFC 8949 §3.1).
const (
	cborBytes = 2 << 5
	cborText  = 3 << 5
	cborArray = 4 << 5
	cborMap   = 5 << 5
)

func cborHead(b []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return append(b, major|25, byte(n>>8), byte(n))
	}
	return append(b, major|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func cborString(b []byte, s string) []byte { return append(cborHead(b, cborText, len(s)), s...) }

// cborStream begins a map of the stream's names and more members.
func cborStream(stream, arn string, more, room int) []byte {
	n := more
	for _, s := range []string{stream, arn} {
		if s != "" {
			n++
		}
	}
	b := cborHead(make([]byte, 0, room), cborMap, n)
	if stream != "" {
		b = cborString(cborString(b, "StreamName"), stream)
	}
	if arn != "" {
		b = cborString(cborString(b, "StreamARN"), arn)
	}
	return b
}

func cborPutRecords(stream, arn string, records []put) []byte {
	room := 256 + len(stream) + len(arn)
	for _, r := range records {
		room += 64 + len(r.key) + len(r.hash) + len(r.data)
	}
	b := cborHead(cborString(cborStream(stream, arn, 1, room), "Records"), cborArray, len(records))
	for _, r := range records {
		n := 2
		if r.hash != "" {
			n = 3
		}
		b = cborString(cborHead(b, cborMap, n), "Data")
		b = append(cborHead(b, cborBytes, len(r.data)), r.data...)
		b = cborString(cborString(b, "PartitionKey"), r.key)
		if r.hash != "" {
			b = cborString(cborString(b, "ExplicitHashKey"), r.hash)
		}
	}
	return b
}

func cborListShards(stream, arn, next string) []byte {
	if next != "" {
		return cborString(cborString(cborHead(nil, cborMap, 1), "NextToken"), next)
	}
	b := cborStream(stream, arn, 2, 256)
	b = cborHead(cborString(b, "MaxResults"), 0, 1000)
	b = cborHead(cborString(b, "ShardFilter"), cborMap, 1)
	return cborString(cborString(b, "Type"), "AT_LATEST")
}
