package kinesis

import (
	"fmt"
	"sync"

	"penstock/api/kinesis/shape"
	"penstock/internal/fault"
	"penstock/records"
	"penstock/wire/awsjson"
)

// putBytes bounds the data and keys of one request.
const putBytes = 10 << 20

// puts are the lists of one request's records, used again.
type puts struct{ pool sync.Pool }

type putLists struct {
	in  []records.Input
	out []records.Placed
}

func (p *puts) get(n int) *putLists {
	b, ok := p.pool.Get().(*putLists)
	if !ok {
		b = new(putLists)
	}
	if cap(b.in) < n {
		b.in, b.out = make([]records.Input, n), make([]records.Placed, n)
	}
	b.in, b.out = b.in[:n], b.out[:n]
	return b
}

func (p *puts) put(b *putLists) {
	clear(b.in) // what a client sent is not to be held on to
	clear(b.out)
	p.pool.Put(b)
}

// placed is the answer of PutRecords, written from where the results lie. Its lists are
// used again once it is written.
type placed struct {
	shape.PutRecordsAnswer
	release func()
}

// putRecords is KDS PutRecords. Records that a shard's limits refuse fail alone.
func putRecords(r *request, in *shape.PutRecordsInput) (*placed, error) {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	info, total := st.Info(), 0
	for i := range in.Records {
		n := len(in.Records[i].Data) + len(in.Records[i].PartitionKey)
		if n > info.MaxRecord {
			return nil, tooBig(fmt.Sprintf("records.%d.member.data", i+1), info.MaxRecord)
		}
		total += n
	}
	if total > putBytes {
		return nil, invalidArgument("Records size exceeds 10 MB limit")
	}
	if _, err := st.Log(); err != nil {
		return nil, streamNotFound(st.Name(), st.Account())
	}
	b := r.s.puts.get(len(in.Records))
	for i := range in.Records {
		e := &in.Records[i]
		if b.in[i], err = input(e.Data, e.PartitionKey, e.ExplicitHashKey); err != nil {
			r.s.puts.put(b)
			return nil, err
		}
	}
	if err := st.Put(r.ctx, b.in, b.out); err != nil {
		r.s.puts.put(b)
		return nil, wordPut(err, st)
	}
	out := &placed{release: func() { r.s.puts.put(b) }}
	out.N, out.Encrypted = len(b.out), info.Encrypted()
	for i := range b.out {
		if b.out[i].Err != nil {
			out.Failed++
		}
	}
	out.Result = func(i int, to *shape.PutRecordsResult) {
		switch p := &b.out[i]; {
		case p.Err == nil:
			to.Seq, to.Shard = p.Seq.Append(to.Seq), p.Shard.Append(to.Shard)
		case fault.Is(p.Err, fault.Throttled):
			e := rateExceeded(p.Shard.String(), st.Name(), st.Account())
			to.ErrorCode, to.ErrorMessage = e.Type, e.Message
		default:
			to.ErrorCode, to.ErrorMessage = "InternalFailure", "Internal Service Failure"
		}
	}
	return out, nil
}

// AppendJSON writes the answer, once.
func (p *placed) AppendJSON(dst []byte) []byte {
	dst = p.PutRecordsAnswer.AppendJSON(dst)
	p.release()
	return dst
}

// AppendCBOR writes the answer, once.
func (p *placed) AppendCBOR(dst []byte) []byte {
	dst = p.PutRecordsAnswer.AppendCBOR(dst)
	p.release()
	return dst
}

// Size is about the length of the answer.
func (p *placed) Size(awsjson.Format) int { return 64 + p.N*entrySize }

// entrySize is what one result takes: a sequence number, a shard, their names.
const entrySize = 120
