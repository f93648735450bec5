package shape

import (
	"strings"
	"unicode/utf8"

	"penstock/wire/awsjson"
)

// The model's limits of the hot inputs. What is outside is left to the exact way.
const (
	recordsMax  = 500
	dataMax     = 10 << 20
	keyMax      = 256
	nameMax     = 128
	arnMax      = 2048
	iteratorMax = 512
	getMax      = 10000
)

// DecodeFast reads PutRecord's input in one pass.
func (in *PutRecordInput) DecodeFast(r *awsjson.Reader) bool {
	if !r.Object() {
		return false
	}
	for {
		key, ok := r.Key()
		if !ok {
			break
		}
		switch string(key) {
		case "StreamName", "StreamARN", "StreamId":
			if !stream(r, key, &in.StreamName, &in.StreamARN, &in.StreamId) {
				return r.Odd()
			}
		case "SequenceNumberForOrdering":
			if in.SequenceNumberForOrdering != "" || !number(r.String(&in.SequenceNumberForOrdering), 129) {
				return r.Odd()
			}
			in.SequenceNumberForOrdering = seen
		default:
			if !entry(r, key, &in.Data, &in.PartitionKey, &in.ExplicitHashKey) {
				return r.Odd()
			}
		}
	}
	return r.Fine() && in.Data != nil && in.PartitionKey != ""
}

// Reset forgets the input.
func (in *PutRecordInput) Reset() { *in = PutRecordInput{} }

// seen marks a string that the walk has met and will set at its end.
const seen = "\x00"

// DecodeFast reads PutRecords' input in one pass.
func (in *PutRecordsInput) DecodeFast(r *awsjson.Reader) bool {
	if !r.Object() {
		return false
	}
	for {
		key, ok := r.Key()
		if !ok {
			break
		}
		switch string(key) {
		case "StreamName", "StreamARN", "StreamId":
			if !stream(r, key, &in.StreamName, &in.StreamARN, &in.StreamId) {
				return r.Odd()
			}
		case "Records":
			if len(in.Records) > 0 || !in.entries(r) {
				return r.Odd()
			}
		default:
			return r.Odd()
		}
	}
	return r.Fine() && len(in.Records) > 0
}

// entries reads the records. Their memory never moves: the walk keeps pointers into it.
func (in *PutRecordsInput) entries(r *awsjson.Reader) bool {
	if in.Records == nil {
		in.Records = make([]PutRecordsRequestEntry, 0, recordsMax)
	}
	if !r.List() {
		return false
	}
	for r.More() {
		if len(in.Records) == cap(in.Records) || !r.Object() {
			return r.Odd()
		}
		in.Records = in.Records[:len(in.Records)+1]
		e := &in.Records[len(in.Records)-1]
		for {
			key, ok := r.Key()
			if !ok {
				break
			}
			if !entry(r, key, &e.Data, &e.PartitionKey, &e.ExplicitHashKey) {
				return r.Odd()
			}
		}
		if !r.Fine() || e.Data == nil || e.PartitionKey == "" {
			return r.Odd()
		}
	}
	return r.Fine()
}

// Reset forgets the input but keeps the memory of its records.
func (in *PutRecordsInput) Reset() {
	clear(in.Records)
	*in = PutRecordsInput{Records: in.Records[:0]}
}

// DecodeFast reads GetRecords' input in one pass.
func (in *GetRecordsInput) DecodeFast(r *awsjson.Reader) bool {
	if !r.Object() {
		return false
	}
	for {
		key, ok := r.Key()
		if !ok {
			break
		}
		switch string(key) {
		case "StreamARN", "StreamId":
			if !stream(r, key, nil, &in.StreamARN, &in.StreamId) {
				return r.Odd()
			}
		case "ShardIterator":
			if in.ShardIterator != "" || !short(r.String(&in.ShardIterator), iteratorMax) {
				return r.Odd()
			}
			in.ShardIterator = seen
		case "Limit":
			n := r.Int()
			if in.Limit != nil || n < 1 || n > getMax {
				return r.Odd()
			}
			in.Limit = &n
		default:
			return r.Odd()
		}
	}
	return r.Fine() && in.ShardIterator != ""
}

// Reset forgets the input.
func (in *GetRecordsInput) Reset() { *in = GetRecordsInput{} }

// entry reads one member of a record.
func entry(r *awsjson.Reader, name []byte, data *[]byte, key, hash *string) bool {
	switch string(name) {
	case "Data":
		if *data != nil {
			return false
		}
		*data = r.Blob()
		return *data != nil && len(*data) <= dataMax
	case "PartitionKey":
		if *key != "" || !short(r.String(key), keyMax) {
			return false
		}
		*key = seen
		return true
	case "ExplicitHashKey":
		if *hash != "" || !number(r.String(hash), 39) {
			return false
		}
		*hash = seen
		return true
	}
	return false
}

// stream reads one of the three ways to name a stream.
func stream(r *awsjson.Reader, by []byte, name, arn, id *string) bool {
	switch string(by) {
	case "StreamName":
		if *name != "" || !named(r.String(name), nameMax) {
			return false
		}
		*name = seen
	case "StreamARN":
		if *arn != "" || !streamARN(r.String(arn)) {
			return false
		}
		*arn = seen
	default:
		if *id != "" || !streamID(r.String(id)) {
			return false
		}
		*id = seen
	}
	return true
}

// short reports whether b has 1 to most characters.
func short(b []byte, most int) bool {
	return len(b) > 0 && (len(b) <= most || utf8.RuneCount(b) <= most)
}

// named reports whether b is [a-zA-Z0-9_.-]{1,most}.
func named(b []byte, most int) bool {
	for _, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return len(b) > 0 && len(b) <= most
}

// number reports whether b is 0, or up to most digits of which the first is not 0.
func number(b []byte, most int) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) == 1 || len(b) > 1 && len(b) <= most && b[0] != '0'
}

// streamARN reports whether b is the plain form of a stream's ARN; the model allows more.
func streamARN(b []byte) bool {
	if len(b) > arnMax {
		return false
	}
	parts := strings.SplitN(string(b), ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || !strings.HasPrefix(parts[1], "aws") || parts[2] != "kinesis" || len(parts[4]) != 12 {
		return false
	}
	for _, c := range []byte(parts[4]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	name, ok := strings.CutPrefix(parts[5], "stream/")
	return ok && named([]byte(name), nameMax) && named([]byte(parts[1]), nameMax) && named([]byte(parts[3]), nameMax)
}

// streamID reports whether b is [a-z0-9]{20}-[a-z0-9]{3}.
func streamID(b []byte) bool {
	if len(b) != 24 || b[20] != '-' {
		return false
	}
	for i, c := range b {
		if i != 20 && !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			return false
		}
	}
	return true
}
