package kinesis

import (
	"time"

	"penstock/api/kinesis/shape"
	"penstock/records"
	"penstock/streams/datastream"
)

// describeDefault is the shards of an answer when the request does not say.
const describeDefault = 100

// describeStream is KDS DescribeStream.
func describeStream(r *request, in *shape.DescribeStreamInput) (*shape.DescribeStreamOutput, error) {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return nil, err
	}
	i, shards := st.Info(), st.Shards()
	if in.ExclusiveStartShardId != "" {
		after, err := records.ParseShardID(in.ExclusiveStartShardId)
		if err != nil {
			return nil, noSuchShard(in.ExclusiveStartShardId, st.Name(), st.Account())
		}
		shards = behind(shards, after)
	}
	limit := describeDefault
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	more := len(shards) > limit
	if more {
		shards = shards[:limit]
	}
	return &shape.DescribeStreamOutput{StreamDescription: shape.StreamDescription{
		StreamName: i.Name, StreamARN: st.ARN(), StreamStatus: string(i.Status), StreamModeDetails: mode(i), StreamCreationTimestamp: i.Created,
		RetentionPeriodHours: int32(i.Retention / time.Hour), EnhancedMonitoring: monitoring(i), EncryptionType: encryption(i), KeyId: i.KeyID,
		Shards: shapes(shards), HasMoreShards: more,
	}}, nil
}

// behind is the shards with a higher index than after.
func behind(shards []records.Shard, after records.ShardID) []records.Shard {
	for i := range shards {
		if shards[i].ID > after {
			return shards[i:]
		}
	}
	return nil
}

func mode(i *datastream.Info) *shape.StreamModeDetails {
	return &shape.StreamModeDetails{StreamMode: string(i.Mode)}
}

func monitoring(i *datastream.Info) []shape.EnhancedMetrics {
	return []shape.EnhancedMetrics{{ShardLevelMetrics: listed(i.Metrics)}}
}

// listed is a list that is shown also when it is empty.
func listed(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func encryption(i *datastream.Info) string {
	if i.Encrypted() {
		return "KMS"
	}
	return "NONE"
}

// shapes puts shards into the model's form.
func shapes(shards []records.Shard) []shape.Shard {
	list := make([]shape.Shard, 0, len(shards))
	for _, s := range shards {
		out := shape.Shard{ShardId: s.ID.String(), HashKeyRange: hashRange(s),
			SequenceNumberRange: shape.SequenceNumberRange{StartingSequenceNumber: s.Start.String()}}
		if !s.Open() {
			out.SequenceNumberRange.EndingSequenceNumber = s.End.String()
		}
		if s.Parent != records.NoShard {
			out.ParentShardId = s.Parent.String()
		}
		if s.Adjacent != records.NoShard {
			out.AdjacentParentShardId = s.Adjacent.String()
		}
		list = append(list, out)
	}
	return list
}

func hashRange(s records.Shard) shape.HashKeyRange {
	return shape.HashKeyRange{StartingHashKey: s.From.String(), EndingHashKey: s.To.String()}
}
