package kinesis

import (
	"time"

	"penstock/api/kinesis/shape"
	"penstock/internal/fault"
	"penstock/records"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// getShardIterator is KDS GetShardIterator.
func getShardIterator(r *request, in *shape.GetShardIteratorInput) (*shape.GetShardIteratorOutput, error) {
	start := starting{in.ShardIteratorType, in.StartingSequenceNumber, in.Timestamp}
	reached := func() bool {
		id, bad := records.ParseShardID(in.ShardId)
		p, err := r.locate(in.StreamName, in.StreamARN, in.StreamId)
		if err != nil || bad != nil {
			return false
		}
		st, _, err := r.shard(p, id)
		return err == nil && st.Reached(id, in.Timestamp)
	}
	if err := start.check(r.s.c.Clock.Now(), reached); err != nil {
		return nil, err
	}
	p, err := r.locate(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	id, err := records.ParseShardID(in.ShardId)
	if err != nil {
		return nil, noSuchShard(in.ShardId, p.stream, p.account)
	}
	st, shard, err := r.shard(p, id)
	if err != nil {
		return nil, err
	}
	if err := r.paceShard(st, id, ""); err != nil && shard.Open() {
		return nil, err
	}
	position, err := start.position(r, st, shard)
	if err != nil {
		return nil, err
	}
	text, err := r.s.issue(st, id, position)
	return &shape.GetShardIteratorOutput{ShardIterator: text}, err
}

// shard finds a shard; a stream that is missing is told as a shard that is.
func (r *request) shard(p place, id records.ShardID) (*datastream.Stream, records.Shard, error) {
	st, err := r.admit(p)
	if err != nil {
		if e, ok := err.(*awsjson.Error); ok && e.Type == "ResourceNotFoundException" {
			err = shardNotFound(id.String(), p.stream, p.account)
		}
		return nil, records.Shard{}, err
	}
	shard, ok := datastream.Find(st.Shards(), id)
	if !ok {
		return nil, shard, shardNotFound(id.String(), p.stream, p.account)
	}
	return st, shard, nil
}

// starting is where a reader wants to begin, in the service's words.
type starting struct {
	kind     string
	sequence string
	at       time.Time
}

// check refuses what does not go together. reached is asked about a time that the clock has
// not come to: a record may have arrived then, because the clock was ahead, or the shard's
// parent had just ended.
func (s starting) check(now time.Time, reached func() bool) error {
	const must = "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified "
	switch numbered := s.kind == "AT_SEQUENCE_NUMBER" || s.kind == "AFTER_SEQUENCE_NUMBER"; {
	case numbered && s.sequence == "":
		return invalidArgument("%s%s and no StartingSequenceNumber.", must, s.kind)
	case !numbered && s.sequence != "":
		return invalidArgument("%s%s and also a StartingSequenceNumber.", must, s.kind)
	case s.kind != "AT_TIMESTAMP":
	case s.at.IsZero():
		return invalidArgument("Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.")
	case s.at.After(now) && !reached():
		return invalidArgument("The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: %d, currentTimestampInMillis: %d",
			s.at.UnixMilli(), now.UnixMilli())
	}
	return nil
}

// position is the place in a shard to begin.
func (s starting) position(r *request, st *datastream.Stream, shard records.Shard) (records.Position, error) {
	from, err := s.from(r.call.Operation, st, shard)
	if err != nil {
		return records.Position{}, err
	}
	p, err := st.At(r.ctx, shard.ID, from)
	if fault.Is(err, fault.Invalid) { // a number ahead of the newest record
		err = s.wrong(r.call.Operation, st, shard, "")
	}
	return p, wordRead(err, st, shard.ID)
}

// wrong words what a sequence number is refused for.
func (s starting) wrong(operation string, st *datastream.Stream, shard records.Shard, why string) error {
	return invalidArgument("StartingSequenceNumber %s used in %s on shard %s in stream %s under account %s is invalid%s.",
		s.sequence, operation, shard.ID, st.Name(), st.Account(), why)
}

// from is the place to begin in the words of records. operation is named in errors.
func (s starting) from(operation string, st *datastream.Stream, shard records.Shard) (records.From, error) {
	switch s.kind {
	case "LATEST":
		return records.From{Kind: records.Latest}, nil
	case "AT_TIMESTAMP":
		return records.From{Kind: records.AtTime, Time: s.at}, nil
	case "TRIM_HORIZON":
		return records.From{Kind: records.Horizon}, nil
	}
	if s.sequence == "0" {
		return records.From{}, awsjson.Internal() // as the service does
	}
	seq, err := records.ParseSeq(s.sequence)
	switch {
	case err != nil:
		return records.From{}, s.wrong(operation, st, shard, "")
	case seq.Shard() != shard.ID:
		return records.From{}, invalidArgument("Invalid StartingSequenceNumber. It encodes %s, while it was used in a call to a shard with %s", seq.Shard(), shard.ID)
	case seq.Version() != 2 || !seq.Created().Equal(shard.Start.Created()):
		return records.From{}, s.wrong(operation, st, shard, " because it did not come from this stream")
	}
	if s.kind == "AT_SEQUENCE_NUMBER" {
		return records.From{Kind: records.AtSeq, Seq: seq}, nil
	}
	return records.From{Kind: records.AfterSeq, Seq: seq}, nil
}
