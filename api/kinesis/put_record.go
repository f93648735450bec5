package kinesis

import (
	"fmt"

	"penstock/api/kinesis/shape"
	"penstock/internal/fault"
	"penstock/records"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// put is the answer of PutRecord: a shape.PutRecordOutput that is written from where the
// result lies.
type put struct {
	seq       records.Seq
	shard     records.ShardID
	encrypted bool
}

// putRecord is KDS PutRecord.
func putRecord(r *request, in *shape.PutRecordInput) (*put, error) {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	if n, most := len(in.Data)+len(in.PartitionKey), st.Info().MaxRecord; n > most {
		return nil, tooBig("data", most)
	}
	log, err := st.Log()
	if err != nil {
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
		// of this shard that no record has got yet. What a record got is no future, though the
		// clock is behind it: a shard begins in the second after its parent's end.
		seq, err := records.ParseSeq(in.SequenceNumberForOrdering)
		if err != nil || seq.Version() == 0 || seq.Time().After(r.s.c.Clock.Now()) && !log.Given(seq) {
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
	got := &b.out[0]
	if got.Err != nil {
		if fault.Is(got.Err, fault.Throttled) {
			return nil, rateExceeded(got.Shard.String(), st.Name(), st.Account())
		}
		return nil, got.Err
	}
	return &put{got.Seq, got.Shard, st.Info().Encrypted()}, nil
}

// AppendJSON writes the answer.
func (p *put) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if p.encrypted {
		dst = append(dst, `"EncryptionType":"KMS",`...)
	}
	dst = p.seq.Append(append(dst, `"SequenceNumber":"`...))
	dst = p.shard.Append(append(dst, `","ShardId":"`...))
	return append(dst, `"}`...)
}

// AppendCBOR writes the answer.
func (p *put) AppendCBOR(dst []byte) []byte {
	members := 2
	if p.encrypted {
		members++
	}
	dst = awsjson.AppendCBORMap(dst, members)
	if p.encrypted {
		dst = awsjson.AppendCBORString(awsjson.AppendCBORString(dst, "EncryptionType"), "KMS")
	}
	var room [128]byte // longer than either
	dst = shape.AppendText(awsjson.AppendCBORString(dst, "SequenceNumber"), p.seq.Append(room[:0]))
	return shape.AppendText(awsjson.AppendCBORString(dst, "ShardId"), p.shard.Append(room[:0]))
}

// Size is about the length of the answer.
func (p *put) Size(awsjson.Format) int { return entrySize + 64 }

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
