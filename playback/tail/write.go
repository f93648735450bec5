package tail

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Show says how data are written.
type Show uint8

// The ways to write data: Auto writes JSON as "json", other text as "text", and bytes as
// "data" in base64; Base64 always the last.
const (
	Auto Show = iota
	Base64
)

// Append appends e as one line of JSON, without a line end, to dst: shard,
// sequence_number, sub (of an aggregate's record), time, key, size, and the data.
func (e Event) Append(dst []byte, as Show) []byte {
	dst = e.Shard.Append(append(dst, `{"shard":"`...))
	dst = e.Seq.Append(append(dst, `","sequence_number":"`...))
	dst = append(dst, '"')
	if e.Sub >= 0 {
		dst = strconv.AppendInt(append(dst, `,"sub":`...), int64(e.Sub), 10)
	}
	dst = e.Arrival.UTC().AppendFormat(append(dst, `,"time":"`...), "2006-01-02T15:04:05.000Z07:00")
	dst = quote(append(dst, `","key":`...), e.Key)
	dst = strconv.AppendInt(append(dst, `,"size":`...), int64(len(e.Data)), 10)
	switch {
	case as == Base64 || !utf8.Valid(e.Data):
		return encoded(dst, e.Data)
	case json.Valid(e.Data):
		return append(oneLine(append(dst, `,"json":`...), e.Data), '}')
	case !printable(e.Data):
		return encoded(dst, e.Data)
	}
	return append(quote(append(dst, `,"text":`...), string(e.Data)), '}')
}

func encoded(dst, data []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, `,"data":"`...), data), `"}`...)
}

// oneLine appends JSON; its line ends, which can only stand between values, are left out.
func oneLine(dst, data []byte) []byte {
	if bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 {
		return append(dst, data...)
	}
	var b bytes.Buffer
	if json.Compact(&b, data) != nil { // it was checked
		return append(dst, "null"...)
	}
	return append(dst, b.Bytes()...)
}

func printable(data []byte) bool {
	for _, c := range data {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return true
}

func quote(dst []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // a string is always written
		return append(dst, `""`...)
	}
	return append(dst, text...)
}

// ID names an event within its stream: shard, number, and place in an aggregate.
func (e Event) ID() string {
	id := e.Shard.String() + ":" + e.Seq.String()
	if e.Sub >= 0 {
		id += ":" + strconv.Itoa(e.Sub)
	}
	return id
}
