package records

import (
	"encoding/binary"
	"time"

	"penstock/internal/fault"
)

// Kind says how a From is meant.
type Kind uint8

// The ways to begin reading.
const (
	Horizon  Kind = iota // with the oldest record that is retained
	Latest               // behind the newest record there is now
	AtSeq                // with the record of this number, or the next there is
	AfterSeq             // behind the record of this number
	AtTime               // with the first record that arrived at this time or later
)

// From says where to begin reading. The zero value is the oldest record.
type From struct {
	Kind Kind
	Seq  Seq       // with AtSeq and AfterSeq
	Time time.Time // with AtTime; to the millisecond, later digits round up
}

// Position is a place between two records of a shard. It stays good over restarts,
// retention (it moves on to what is retained) and reshards. It is comparable with ==; the
// zero value is the oldest record.
type Position struct {
	index uint64 // the record with this index, or the next there is; 0: the oldest
	at    int64  // but none that arrived before this, ms
}

const (
	positionVersion = 1
	positionSize    = 17
)

// MarshalBinary returns 17 bytes.
func (p Position) MarshalBinary() ([]byte, error) {
	return p.AppendBinary(make([]byte, 0, positionSize))
}

// AppendBinary appends the bytes of MarshalBinary to b.
func (p Position) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, positionVersion)
	b = binary.BigEndian.AppendUint64(b, p.index)
	return binary.BigEndian.AppendUint64(b, uint64(p.at)), nil
}

// UnmarshalBinary reads what MarshalBinary made. fault.Invalid: it is something else.
func (p *Position) UnmarshalBinary(b []byte) error {
	if len(b) != positionSize || b[0] != positionVersion {
		return fault.New(fault.Invalid, "read position", "", "it is none of ours")
	}
	*p = Position{binary.BigEndian.Uint64(b[1:]), int64(binary.BigEndian.Uint64(b[9:]))}
	return nil
}
