package segment

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"penstock/internal/fault"
	"penstock/storage"
)

// MaxLevel is the highest level a key can name.
const MaxLevel = 9

// maxLane is the highest lane a key can name: four hexadecimal digits.
const maxLane = 1<<16 - 1

// Name is what a segment's key says.
type Name struct {
	Stream      string // the stream's id: letters, digits, - and _
	Day         int32  // yyyymmdd of the earliest arrival, UTC
	Level       uint8  // 0 as sealed, one more than its sources when merged
	Lane        uint32
	First, Last uint64 // LSNs of the lane
}

// DayOf returns the UTC day of ms since 1970 as Name.Day has it.
func DayOf(ms int64) int32 {
	y, m, d := time.UnixMilli(ms).UTC().Date()
	return int32(y*10000 + int(m)*100 + d)
}

// Key returns the object's key. In byte order keys of one day are in order of level, then
// lane, then LSN.
func (n Name) Key() string {
	return fmt.Sprintf("seg/%s/%08d/%d-%04x-%016x-%016x.seg", n.Stream, n.Day, n.Level, n.Lane, n.First, n.Last)
}

// keysOf returns what the keys of all segments of stream begin with.
func keysOf(stream string) string { return "seg/" + stream + "/" }

// flaw says what is wrong with n, or "".
func (n Name) flaw() string {
	switch {
	case !goodStream(n.Stream):
		return "the stream's id is not one"
	case n.Level > MaxLevel:
		return "the level is too high"
	case n.Lane > maxLane:
		return "the lane is too high"
	case n.First == 0 || n.First > n.Last:
		return "the LSNs are no range"
	}
	return ""
}

func goodStream(s string) bool {
	if s == "" || len(s) > MaxStream {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// ParseKey reads a key. One that Key would not have made is fault.Invalid.
func ParseKey(key string) (Name, error) {
	n, ok := parseKey(key)
	if !ok || n.flaw() != "" || n.Key() != key {
		return Name{}, fault.New(fault.Invalid, "read segment key", fmt.Sprintf("%.120q", key), "it is not a segment's")
	}
	return n, nil
}

func parseKey(key string) (n Name, ok bool) {
	part := strings.Split(strings.TrimSuffix(key, ".seg"), "/")
	if len(part) != 4 || part[0] != "seg" || len(part[2]) != 8 {
		return n, false
	}
	day, err := time.Parse("20060102", part[2])
	if err != nil {
		return n, false
	}
	field := strings.Split(part[3], "-")
	if len(field) != 4 {
		return n, false
	}
	var v [4]uint64
	for i, base := range []int{10, 16, 16, 16} {
		if v[i], err = strconv.ParseUint(field[i], base, 64); err != nil {
			return n, false
		}
	}
	if v[0] > MaxLevel || v[1] > maxLane {
		return n, false
	}
	return Name{part[1], DayOf(day.UnixMilli()), uint8(v[0]), uint32(v[1]), v[2], v[3]}, true
}

// Found is a segment that List met.
type Found struct {
	Name   Name
	Object storage.Object
}

// List yields the segments of stream in b, all streams' when it is empty, in order of
// their keys. An object whose key is not a segment's is yielded with an error that is
// fault.Invalid, and the listing goes on; after any other error it ends.
func List(ctx context.Context, b storage.Bucket, stream string) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		prefix := "seg/"
		if stream != "" {
			prefix = keysOf(stream)
		}
		for o, err := range b.List(ctx, prefix, "") {
			if err != nil {
				yield(Found{}, fault.Wrap(fault.KindOf(err), "list segments", stream, err))
				return
			}
			n, err := ParseKey(o.Key)
			if !yield(Found{n, o}, err) {
				return
			}
		}
	}
}
