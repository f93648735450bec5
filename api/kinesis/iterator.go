package kinesis

import (
	"strings"
	"time"

	"penstock/records"
	"penstock/streams/datastream"
)

// iterator is what a shard iterator carries. It names the stream twice: by id, to know it
// again, and by name, for words and for auth.
type iterator struct {
	issued   time.Time // to the millisecond
	id       string    // datastream.Info.ID
	where    place
	shard    records.ShardID
	position records.Position
}

const (
	purposeIterator = "shard iterator v1"
	iteratorMin     = 152 // bytes of the service's iterators for names up to 13 characters
	iteratorMax     = 512 // characters of a text that can be one
)

// iteratorSize is how long the service's iterators are (spec 8.6).
func iteratorSize(stream string) int { return iteratorMin + 16*((len(stream)+2)/16) }

// issue makes an iterator.
func (s *Server) issue(st *datastream.Stream, shard records.ShardID, p records.Position) (string, error) {
	f := fields{make([]byte, 0, 256)}
	f.number(s.c.Clock.Now().UnixMilli())
	f.number(int64(shard))
	position, err := p.MarshalBinary()
	if err != nil {
		return "", err
	}
	for _, t := range []string{string(position), st.ID(), st.Account(), st.Region(), st.Name()} {
		f.text(t)
	}
	return s.sealer.seal(purposeIterator, f.b, iteratorSize(st.Name()))
}

// iterator reads what issue made. Quotes around it are taken off: people paste them.
func (s *Server) iterator(text string) (it iterator, err error) {
	invalid := invalidArgument("Invalid ShardIterator.")
	plain, err := s.sealer.open(purposeIterator, strings.Trim(text, `"`))
	if err != nil {
		return it, invalid
	}
	f := fields{plain}
	it.issued = time.UnixMilli(f.takeNumber()).UTC()
	it.shard = records.ShardID(f.takeNumber())
	if it.position.UnmarshalBinary([]byte(f.takeText())) != nil {
		return it, invalid
	}
	it.id, it.where.account, it.where.region, it.where.stream = f.takeText(), f.takeText(), f.takeText(), f.takeText()
	if it.where.stream == "" {
		return it, invalid
	}
	return it, nil
}

// javaDate is how the service writes times into messages.
const javaDate = "Mon Jan 02 15:04:05 MST 2006"

// fresh refuses an iterator that was issued too long ago.
func (s *Server) fresh(it iterator) error {
	now := s.c.Clock.Now().UTC()
	life := s.c.IteratorLife
	if now.Sub(it.issued) <= life {
		return nil
	}
	return expiredIterator("Iterator expired. The iterator was created at time %s while right now it is %s which is further in the future than the tolerated delay of %d milliseconds.",
		it.issued.Format(javaDate), now.Format(javaDate), life.Milliseconds())
}
