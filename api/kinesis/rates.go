package kinesis

import (
	"sync"
	"time"

	"penstock/records"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// share says who shares a call rate.
type share uint8

const (
	ofAccount share = iota + 1 // in a region
	ofStream
	ofShard // of a stream; with SubscribeToShard, of a consumer
)

// callRate is how many calls a second the service takes of an operation, and of whom (the
// limits in the model's words for each). 0: as many as come.
func callRate(operation string) (perSecond int, s share) {
	switch operation {
	case "DescribeLimits":
		return 1, ofAccount
	case "AddTagsToStream", "CreateStream", "DeleteStream", "DescribeAccountSettings", "ListStreams", "ListTagsForResource", "ListTagsForStream",
		"MergeShards", "RegisterStreamConsumer", "RemoveTagsFromStream", "SplitShard", "TagResource", "UntagResource", "UpdateAccountSettings",
		"UpdateStreamWarmThroughput":
		return 5, ofAccount
	case "DescribeStream", "UpdateShardCount":
		return 10, ofAccount
	case "DescribeStreamSummary":
		return 20, ofAccount
	case "DeregisterStreamConsumer", "ListStreamConsumers":
		return 5, ofStream
	case "DescribeStreamConsumer":
		return 20, ofStream
	case "ListShards":
		return 1000, ofStream
	case "GetShardIterator":
		return 5, ofShard
	case "SubscribeToShard":
		return 1, ofShard
	}
	return 0, 0
}

// bucketsMost bounds the buckets of call rates. Those that are full again are as good as
// none; past the bound all are forgotten, which lets calls through.
const bucketsMost = 20_000

// bucketKey is an operation and whose calls are counted together.
type bucketKey struct{ operation, account, region, of string }

// callRates counts calls, when Config.CallLimits asks for it. A bucket is the time at which
// it will be full again; it holds the calls of one second.
type callRates struct {
	on   bool
	mu   sync.Mutex
	full map[bucketKey]time.Duration
}

// take reports whether one more call may be made now.
func (c *callRates) take(k bucketKey, perSecond int, now time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := max(c.full[k], now) + time.Second/time.Duration(perSecond)
	if next-now > time.Second {
		return false
	}
	if _, known := c.full[k]; !known && len(c.full) >= bucketsMost {
		for k, full := range c.full {
			if full <= now {
				delete(c.full, k)
			}
		}
		if len(c.full) >= bucketsMost {
			clear(c.full)
		}
	}
	c.full[k] = next
	return true
}

// pace refuses a call that is one too many of those who share s; of is the stream, and the
// shard, where these count by themselves.
func (r *request) pace(s share, account, region, of string) *awsjson.Error {
	if !r.s.rates.on {
		return nil
	}
	most, shared := callRate(r.call.Operation)
	if shared != s || r.s.rates.take(bucketKey{r.call.Operation, account, region, of}, most, r.s.c.Clock.Now().Sub(r.s.start)) {
		return nil
	}
	if s == ofAccount {
		return awsjson.NewError("LimitExceededException", "Rate exceeded for account %s.", account)
	}
	return awsjson.NewError("LimitExceededException", "Rate exceeded for stream %s under account %s.", of, account)
}

// paceShard is pace for what counts for each shard, and for each consumer of it.
func (r *request) paceShard(st *datastream.Stream, id records.ShardID, consumer string) *awsjson.Error {
	if !r.s.rates.on {
		return nil
	}
	err := r.pace(ofShard, r.Account, st.Region(), st.ID()+" "+id.String()+" "+consumer)
	if err == nil {
		return nil
	}
	if consumer == "" {
		return rateExceeded(id.String(), st.Name(), st.Account())
	}
	return awsjson.NewError("LimitExceededException", "Rate exceeded for consumer %s and shard %s in stream %s under account %s.", consumer, id, st.Name(), st.Account())
}
