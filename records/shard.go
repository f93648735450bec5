package records

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"penstock/internal/fault"
)

// ShardID is the index of a shard in its stream, given in the order of creation and never
// again.
type ShardID uint32

// NoShard is no shard: the parent of one that was there from the beginning.
const NoShard = ^ShardID(0)

// Append appends "shardId-" and 12 digits to dst.
func (id ShardID) Append(dst []byte) []byte {
	dst = append(dst, "shardId-"...)
	if id >= 1<<31 { // what a forged sequence number may name, printed as AWS does
		return fmt.Appendf(dst, "-%011d", uint32(id))
	}
	var b [12]byte
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + id%10)
		id /= 10
	}
	return append(dst, b[:]...)
}

// String returns the id as clients know it: shardId-000000000005.
func (id ShardID) String() string { return string(id.Append(make([]byte, 0, 20))) }

// ParseShardID reads what a client calls a shard: digits, or anything up to the first "-"
// and digits behind it (spec 6.3). fault.NotFound: it cannot be one.
func ParseShardID(s string) (ShardID, error) {
	digits := s
	if i := strings.IndexByte(s, '-'); i >= 0 {
		digits = s[i+1:]
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			digits = ""
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return 0, fault.New(fault.NotFound, "find shard", clip(s), "there is no such shard")
	}
	return ShardID(n), nil
}

// Shard is one ordered run of records, as it was at some instant.
type Shard struct {
	ID       ShardID
	Parent   ShardID   // it was split from, or the first it was merged from; NoShard: none
	Adjacent ShardID   // the second it was merged from; NoShard: none
	From, To HashKey   // its part of the hash space, both inclusive
	Start    Seq       // less than the number of any of its records
	End      Seq       // greater than the number of any of its records; zero: it is open
	Opened   time.Time // to the second
	Closed   time.Time // to the millisecond; zero: it is open
}

// Open reports whether records can be put into it.
func (s Shard) Open() bool { return s.End.IsZero() }
