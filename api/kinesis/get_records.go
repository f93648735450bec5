package kinesis

import (
	"sync"

	"penstock/api/kinesis/shape"
	"penstock/internal/fault"
	"penstock/records"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// The most that one answer of GetRecords holds.
const (
	getLimit = 10_000
	getBytes = 10 << 20
)

// gotten is the answer of GetRecords, written from where the records lie. Its page is used
// again once it is written.
type gotten struct {
	shape.GetRecordsAnswer
	release func()
	size    func(awsjson.Format) int
}

// pages are used again: one of ten thousand records is about a megabyte.
type pages struct{ pool sync.Pool }

func (p *pages) get() *records.Page {
	if page, ok := p.pool.Get().(*records.Page); ok {
		return page
	}
	return new(records.Page)
}

func (p *pages) put(page *records.Page) {
	clear(page.Records) // the records' memory is not to be held on to
	p.pool.Put(page)
}

// view writes the i-th record of a page.
func view(page *records.Page) func(int, *shape.RecordView) {
	return func(i int, v *shape.RecordView) {
		rec := &page.Records[i]
		v.Seq = rec.Seq.Append(v.Seq)
		v.Arrival, v.Data, v.Key, v.Encrypted = rec.Arrival.UnixMilli(), rec.Data, rec.Key, rec.Sealed
	}
}

// getRecords is KDS GetRecords.
func getRecords(r *request, in *shape.GetRecordsInput) (*gotten, error) {
	it, err := r.s.iterator(in.ShardIterator)
	if err != nil {
		return nil, err
	}
	if in.StreamARN != "" && in.StreamARN != it.where.arn() {
		return nil, invalidArgument("The StreamARN %s does not match the stream of the ShardIterator.", in.StreamARN)
	}
	if err := r.s.fresh(it); err != nil {
		return nil, err
	}
	st, _, err := r.shard(it.where, it.shard)
	if err != nil {
		return nil, err
	}
	if st.ID() != it.id {
		it.position = records.Position{} // of a stream of this name that was deleted
	}
	limit := getLimit
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	page := r.s.pages.get()
	if err := st.ReadShared(r.ctx, it.shard, it.position, limit, getBytes, page); err != nil {
		r.s.pages.put(page)
		return nil, wordRead(err, st, it.shard)
	}
	out := &gotten{}
	out.N, out.View = len(page.Records), view(page)
	out.MillisBehindLatest = page.Behind.Milliseconds()
	out.release = func() { r.s.pages.put(page) }
	out.size = func(f awsjson.Format) int { return pageSize(page, f) }
	// The end is told by itself: an answer with records always has an iterator (recorded on AWS).
	if page.Ended && len(page.Records) == 0 {
		out.ChildShards = children(page.Children)
		return out, nil
	}
	out.NextShardIterator, err = r.s.issue(st, it.shard, page.Next)
	return out, err
}

// wordRead words what a read was refused for.
func wordRead(err error, st *datastream.Stream, shard records.ShardID) error {
	switch fault.KindOf(err) {
	case fault.Throttled:
		return rateExceeded(shard.String(), st.Name(), st.Account())
	case fault.NotFound:
		return shardNotFound(shard.String(), st.Name(), st.Account())
	}
	return err
}

// children puts the shards that go on after the end of one into the model's form.
func children(list []records.Shard) []shape.ChildShard {
	out := make([]shape.ChildShard, 0, len(list))
	for _, s := range list {
		c := shape.ChildShard{ShardId: s.ID.String(), HashKeyRange: hashRange(s), ParentShards: []string{s.Parent.String()}}
		if s.Adjacent != records.NoShard {
			c.ParentShards = append(c.ParentShards, s.Adjacent.String())
		}
		out = append(out, c)
	}
	return out
}

// Size is about the length of the answer.
func (g *gotten) Size(f awsjson.Format) int { return g.size(f) }

// recordSize is what a record takes beside its data and key.
const recordSize = 160

// pageSize is about the length of a page in an answer.
func pageSize(page *records.Page, f awsjson.Format) int {
	n := 1 << 10
	for i := range page.Records {
		r := &page.Records[i]
		data := len(r.Data)
		if f == awsjson.JSON {
			data = (data + 2) / 3 * 4
		}
		n += recordSize + data + len(r.Key)
	}
	return n
}

// AppendJSON writes the answer, once.
func (g *gotten) AppendJSON(dst []byte) []byte {
	dst = g.GetRecordsAnswer.AppendJSON(dst)
	g.release()
	return dst
}

// AppendCBOR writes the answer, once.
func (g *gotten) AppendCBOR(dst []byte) []byte {
	dst = g.GetRecordsAnswer.AppendCBOR(dst)
	g.release()
	return dst
}
