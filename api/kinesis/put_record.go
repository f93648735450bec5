package kinesis

import (
	"fmt"

	"penstock/api/kinesis/shape"
	"penstock/internal/fault"
	"penstock/records"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// putRecord is KDS PutRecord.
func putRecord(r *request, in *shape.PutRecordInput) (*shape.PutRecordOutput, error) {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	if n, most := len(in.Data)+len(in.PartitionKey), st.Info().MaxRecord; n > most {
		return nil, tooBig("data", most)
	}
	if _, err := st.Log(); err != nil {
		return nil, streamNotFound(st.Name(), st.Account())
	}
	b := r.s.puts.get(1)
	defer r.s.puts.put(b)
	if b.in[0], err = input(in.Data, in.PartitionKey, in.ExplicitHashKey); err != nil {
		return nil, err
	}
	disorder := func() error {
		return invalidArgument("ExclusiveMinimumSequenceNumber %s used in PutRecord on stream %s under account %s is invalid.",
			in.SequenceNumberForOrdering, st.Name(), st.Account())
	}
	if in.SequenceNumberForOrdering != "" {
		// Numbers of a shard rise with time: any that is not of the future is passed, but one
		// of this shard that no record has got yet.
		seq, err := records.ParseSeq(in.SequenceNumberForOrdering)
		if err != nil || seq.Version() == 0 || seq.Time().After(r.s.c.Clock.Now()) {
			return nil, disorder()
		}
		b.in[0].After = seq
	}
	if err := st.Put(r.ctx, b.in, b.out); err != nil {
		if in.SequenceNumberForOrdering != "" && fault.Is(err, fault.Invalid) {
			return nil, disorder()
		}
		return nil, wordPut(err, st)
	}
	if put := &b.out[0]; put.Err != nil {
		if fault.Is(put.Err, fault.Throttled) {
			return nil, rateExceeded(put.Shard.String(), st.Name(), st.Account())
		}
		return nil, put.Err
	}
	out := &shape.PutRecordOutput{ShardId: b.out[0].Shard.String(), SequenceNumber: b.out[0].Seq.String()}
	if st.Info().Encrypted() {
		out.EncryptionType = "KMS"
	}
	return out, nil
}

// input makes a record of what a client sent.
func input(data []byte, key, hash string) (in records.Input, err error) {
	in.Data, in.Key = data, key
	if hash == "" {
		in.Hash = records.HashOf(key)
		return in, nil
	}
	if in.Hash, err = records.ParseHashKey(hash); err != nil {
		return in, invalidArgument("Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was %s", hash)
	}
	return in, nil
}

func tooBig(path string, most int) *awsjson.Error {
	return awsjson.Invalid(awsjson.BareViolation(path, fmt.Sprintf("Member must have length less than or equal to %d", most)))
}

// wordPut words what a whole call was refused for.
func wordPut(err error, st *datastream.Stream) error {
	if fault.Is(err, fault.NotFound) {
		return streamNotFound(st.Name(), st.Account())
	}
	return refused(err, st)
}
