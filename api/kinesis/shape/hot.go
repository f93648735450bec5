package shape

import (
	"strconv"
	"time"

	"penstock/wire/awsjson"
)

// PutRecordsAnswer is a PutRecordsOutput that is written from where its results lie.
type PutRecordsAnswer struct {
	Encrypted bool // EncryptionType KMS
	Failed    int
	N         int
	// Result fills in the i-th result: it appends to Seq and Shard, which are empty, or
	// sets ErrorCode and ErrorMessage.
	Result func(i int, r *PutRecordsResult)
}

// PutRecordsResult is one entry of a PutRecordsAnswer.
type PutRecordsResult struct {
	Seq, Shard              []byte // "4959…", "shardId-000000000001"
	ErrorCode, ErrorMessage string // a failed record has only these
}

// AppendJSON writes the answer as JSON.
func (a *PutRecordsAnswer) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if a.Encrypted {
		dst = append(dst, `"EncryptionType":"KMS",`...)
	}
	dst = strconv.AppendInt(append(dst, `"FailedRecordCount":`...), int64(a.Failed), 10)
	dst = append(dst, `,"Records":[`...)
	var r PutRecordsResult
	for i := range a.N {
		r = PutRecordsResult{Seq: r.Seq[:0], Shard: r.Shard[:0]}
		a.Result(i, &r)
		if i > 0 {
			dst = append(dst, ',')
		}
		if r.ErrorCode != "" {
			dst = awsjson.AppendString(append(dst, `{"ErrorCode":`...), r.ErrorCode)
			dst = awsjson.AppendString(append(dst, `,"ErrorMessage":`...), r.ErrorMessage)
			dst = append(dst, '}')
			continue
		}
		dst = append(append(dst, `{"SequenceNumber":"`...), r.Seq...)
		dst = append(append(append(dst, `","ShardId":"`...), r.Shard...), `"}`...)
	}
	return append(dst, `]}`...)
}

// AppendCBOR writes the answer as CBOR.
func (a *PutRecordsAnswer) AppendCBOR(dst []byte) []byte {
	members := 2
	if a.Encrypted {
		members++
	}
	dst = awsjson.AppendCBORMap(dst, members)
	if a.Encrypted {
		dst = appendPair(dst, "EncryptionType", "KMS")
	}
	dst = awsjson.AppendCBORInt(awsjson.AppendCBORString(dst, "FailedRecordCount"), int64(a.Failed))
	dst = awsjson.AppendCBORList(awsjson.AppendCBORString(dst, "Records"), a.N)
	var r PutRecordsResult
	for i := range a.N {
		r = PutRecordsResult{Seq: r.Seq[:0], Shard: r.Shard[:0]}
		a.Result(i, &r)
		dst = awsjson.AppendCBORMap(dst, 2)
		if r.ErrorCode != "" {
			dst = appendPair(appendPair(dst, "ErrorCode", r.ErrorCode), "ErrorMessage", r.ErrorMessage)
			continue
		}
		dst = AppendText(awsjson.AppendCBORString(dst, "SequenceNumber"), r.Seq)
		dst = AppendText(awsjson.AppendCBORString(dst, "ShardId"), r.Shard)
	}
	return dst
}

// RecordView is a Record where it lies.
type RecordView struct {
	Seq       []byte // decimal; append to it: it is empty, and its memory is used again
	Arrival   int64  // milliseconds of the epoch
	Data      []byte
	Key       string
	Encrypted bool
}

// Records writes the members of a Records list; N and View say what is in it.
type Records struct {
	N    int
	View func(i int, r *RecordView)
}

func (l *Records) appendJSON(dst []byte) []byte {
	dst = append(dst, `"Records":[`...)
	var r RecordView
	for i := range l.N {
		r = RecordView{Seq: r.Seq[:0]}
		l.View(i, &r)
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = awsjson.AppendMillis(append(dst, `{"ApproximateArrivalTimestamp":`...), r.Arrival)
		dst = awsjson.AppendBlob(append(dst, `,"Data":`...), r.Data)
		if r.Encrypted {
			dst = append(dst, `,"EncryptionType":"KMS"`...)
		}
		dst = awsjson.AppendString(append(dst, `,"PartitionKey":`...), r.Key)
		dst = append(append(append(dst, `,"SequenceNumber":"`...), r.Seq...), `"}`...)
	}
	return append(dst, ']')
}

func (l *Records) appendCBOR(dst []byte) []byte {
	dst = awsjson.AppendCBORList(awsjson.AppendCBORString(dst, "Records"), l.N)
	var r RecordView
	for i := range l.N {
		r = RecordView{Seq: r.Seq[:0]}
		l.View(i, &r)
		members := 4
		if r.Encrypted {
			members++
		}
		dst = awsjson.AppendCBORMap(dst, members)
		dst = awsjson.AppendCBORMillis(awsjson.AppendCBORString(dst, "ApproximateArrivalTimestamp"), r.Arrival)
		dst = awsjson.AppendCBORBlob(awsjson.AppendCBORString(dst, "Data"), r.Data)
		if r.Encrypted {
			dst = appendPair(dst, "EncryptionType", "KMS")
		}
		dst = appendPair(dst, "PartitionKey", r.Key)
		dst = AppendText(awsjson.AppendCBORString(dst, "SequenceNumber"), r.Seq)
	}
	return dst
}

// GetRecordsAnswer is a GetRecordsOutput that is written from where its records lie.
type GetRecordsAnswer struct {
	Records
	ChildShards        []ChildShard // nil: not the end of a closed shard
	MillisBehindLatest int64
	NextShardIterator  string // empty: the end of a closed shard
}

// AppendJSON writes the answer as JSON.
func (a *GetRecordsAnswer) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	dst = appendChildren(dst, a.ChildShards)
	dst = strconv.AppendInt(append(dst, `"MillisBehindLatest":`...), a.MillisBehindLatest, 10)
	if a.NextShardIterator != "" {
		dst = awsjson.AppendString(append(dst, `,"NextShardIterator":`...), a.NextShardIterator)
	}
	return append(a.appendJSON(append(dst, ',')), '}')
}

// AppendCBOR writes the answer as CBOR.
func (a *GetRecordsAnswer) AppendCBOR(dst []byte) []byte {
	members := 2
	if a.ChildShards != nil {
		members++
	}
	if a.NextShardIterator != "" {
		members++
	}
	dst = awsjson.AppendCBORMap(dst, members)
	dst = appendChildrenCBOR(dst, a.ChildShards)
	dst = awsjson.AppendCBORInt(awsjson.AppendCBORString(dst, "MillisBehindLatest"), a.MillisBehindLatest)
	if a.NextShardIterator != "" {
		dst = appendPair(dst, "NextShardIterator", a.NextShardIterator)
	}
	return a.appendCBOR(dst)
}

// SubscribeToShardAnswer is a SubscribeToShardEvent that is written from where its
// records lie.
type SubscribeToShardAnswer struct {
	Records
	ChildShards        []ChildShard // nil: not the end of a closed shard
	Continuation       []byte       // ContinuationSequenceNumber; empty: the end of a closed shard
	MillisBehindLatest int64
}

// AppendJSON writes the event as JSON.
func (a *SubscribeToShardAnswer) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	dst = appendChildren(dst, a.ChildShards)
	if len(a.Continuation) > 0 {
		dst = append(append(append(dst, `"ContinuationSequenceNumber":"`...), a.Continuation...), `",`...)
	}
	dst = strconv.AppendInt(append(dst, `"MillisBehindLatest":`...), a.MillisBehindLatest, 10)
	return append(a.appendJSON(append(dst, ',')), '}')
}

// AppendCBOR writes the event as CBOR.
func (a *SubscribeToShardAnswer) AppendCBOR(dst []byte) []byte {
	members := 2
	if a.ChildShards != nil {
		members++
	}
	if len(a.Continuation) > 0 {
		members++
	}
	dst = awsjson.AppendCBORMap(dst, members)
	dst = appendChildrenCBOR(dst, a.ChildShards)
	if len(a.Continuation) > 0 {
		dst = AppendText(awsjson.AppendCBORString(dst, "ContinuationSequenceNumber"), a.Continuation)
	}
	dst = awsjson.AppendCBORInt(awsjson.AppendCBORString(dst, "MillisBehindLatest"), a.MillisBehindLatest)
	return a.appendCBOR(dst)
}

func appendPair(dst []byte, key, value string) []byte {
	return awsjson.AppendCBORString(awsjson.AppendCBORString(dst, key), value)
}

// AppendText appends digits and the like as a CBOR text, which are UTF-8 without asking.
func AppendText(dst, text []byte) []byte {
	return append(awsjson.AppendCBORHead(dst, 3, uint64(len(text))), text...)
}

func appendChildren(dst []byte, children []ChildShard) []byte {
	if children == nil {
		return dst
	}
	dst = append(dst, `"ChildShards":[`...)
	for i := range children {
		c := &children[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = awsjson.AppendString(append(dst, `{"HashKeyRange":{"EndingHashKey":`...), c.HashKeyRange.EndingHashKey)
		dst = awsjson.AppendString(append(dst, `,"StartingHashKey":`...), c.HashKeyRange.StartingHashKey)
		dst = append(dst, `},"ParentShards":[`...)
		for j, p := range c.ParentShards {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = awsjson.AppendString(dst, p)
		}
		dst = awsjson.AppendString(append(dst, `],"ShardId":`...), c.ShardId)
		dst = append(dst, '}')
	}
	return append(dst, `],`...)
}

func appendChildrenCBOR(dst []byte, children []ChildShard) []byte {
	if children == nil {
		return dst
	}
	dst = awsjson.AppendCBORList(awsjson.AppendCBORString(dst, "ChildShards"), len(children))
	for i := range children {
		c := &children[i]
		dst = awsjson.AppendCBORMap(dst, 3)
		dst = awsjson.AppendCBORMap(awsjson.AppendCBORString(dst, "HashKeyRange"), 2)
		dst = appendPair(dst, "EndingHashKey", c.HashKeyRange.EndingHashKey)
		dst = appendPair(dst, "StartingHashKey", c.HashKeyRange.StartingHashKey)
		dst = awsjson.AppendCBORList(awsjson.AppendCBORString(dst, "ParentShards"), len(c.ParentShards))
		for _, p := range c.ParentShards {
			dst = awsjson.AppendCBORString(dst, p)
		}
		dst = appendPair(dst, "ShardId", c.ShardId)
	}
	return dst
}

// Views returns the Records that writes records of a struct.
func Views(records []Record) Records {
	return Records{N: len(records), View: func(i int, r *RecordView) {
		rec := &records[i]
		r.Seq = append(r.Seq, rec.SequenceNumber...)
		r.Data, r.Key, r.Encrypted = rec.Data, rec.PartitionKey, rec.EncryptionType == "KMS"
		if rec.ApproximateArrivalTimestamp != (time.Time{}) {
			r.Arrival = rec.ApproximateArrivalTimestamp.UnixMilli()
		}
	}}
}
