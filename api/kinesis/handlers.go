package kinesis

import (
	"context"

	"penstock/api/kinesis/shape"
	"penstock/wire/awsjson"
)

// handlers is the table of all operations of the model. awsjson refuses one that is
// missing and one that does not fit.
func (s *Server) handlers() []awsjson.Handler {
	return []awsjson.Handler{
		void(s, "AddTagsToStream", addTagsToStream),
		void(s, "CreateStream", createStream),
		void(s, "DecreaseStreamRetentionPeriod", decreaseStreamRetentionPeriod),
		void(s, "DeleteResourcePolicy", deleteResourcePolicy),
		void(s, "DeleteStream", deleteStream),
		void(s, "DeregisterStreamConsumer", deregisterStreamConsumer),
		with(s, "DescribeAccountSettings", reads, describeAccountSettings),
		with(s, "DescribeLimits", reads, describeLimits),
		with(s, "DescribeStream", reads, describeStream),
		with(s, "DescribeStreamConsumer", reads, describeStreamConsumer),
		with(s, "DescribeStreamSummary", reads, describeStreamSummary),
		with(s, "DisableEnhancedMonitoring", writes, disableEnhancedMonitoring),
		with(s, "EnableEnhancedMonitoring", writes, enableEnhancedMonitoring),
		with(s, "GetRecords", reads, getRecords),
		with(s, "GetResourcePolicy", reads, getResourcePolicy),
		with(s, "GetShardIterator", reads, getShardIterator),
		void(s, "IncreaseStreamRetentionPeriod", increaseStreamRetentionPeriod),
		with(s, "ListShards", reads, listShards),
		with(s, "ListStreamConsumers", reads, listStreamConsumers),
		with(s, "ListStreams", reads, listStreams),
		with(s, "ListTagsForResource", reads, listTagsForResource),
		with(s, "ListTagsForStream", reads, listTagsForStream),
		void(s, "MergeShards", mergeShards),
		with(s, "PutRecord", reads, putRecord),
		with(s, "PutRecords", reads, putRecords),
		void(s, "PutResourcePolicy", putResourcePolicy),
		with(s, "RegisterStreamConsumer", writes, registerStreamConsumer),
		void(s, "RemoveTagsFromStream", removeTagsFromStream),
		void(s, "SplitShard", splitShard),
		void(s, "StartStreamEncryption", startStreamEncryption),
		void(s, "StopStreamEncryption", stopStreamEncryption),
		awsjson.HandleStream("SubscribeToShard", s.subscribe),
		void(s, "TagResource", tagResource),
		void(s, "UntagResource", untagResource),
		with(s, "UpdateAccountSettings", writes, updateAccountSettings),
		void(s, "UpdateMaxRecordSize", updateMaxRecordSize),
		with(s, "UpdateShardCount", writes, updateShardCount),
		void(s, "UpdateStreamMode", updateStreamMode),
		with(s, "UpdateStreamWarmThroughput", writes, updateStreamWarmThroughput),
	}
}

// subscribe runs SubscribeToShard and notes in the audit log that reading began and ended,
// like every long look.
func (s *Server) subscribe(ctx context.Context, c *awsjson.Call, in *shape.SubscribeToShardInput, out *awsjson.Stream) error {
	r := s.request(ctx, c)
	err := subscribeToShard(ctx, r, in, out)
	r.note(reads, err)
	return err
}
