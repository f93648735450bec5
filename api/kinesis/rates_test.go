package kinesis

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"penstock/api/kinesis/shape"
)

// TestEachOperationHasARateOrNone goes by the model: a new operation asks for a decision.
func TestEachOperationHasARateOrNone(t *testing.T) {
	none := []string{"DecreaseStreamRetentionPeriod", "DeleteResourcePolicy", "DisableEnhancedMonitoring", "EnableEnhancedMonitoring", "GetRecords",
		"GetResourcePolicy", "IncreaseStreamRetentionPeriod", "PutRecord", "PutRecords", "PutResourcePolicy", "StartStreamEncryption",
		"StopStreamEncryption", "UpdateMaxRecordSize", "UpdateStreamMode"}
	for _, o := range shape.Model().Operations {
		most, s := callRate(o.Name)
		if (most == 0) != slices.Contains(none, o.Name) || (most == 0) != (s == 0) {
			t.Errorf("%s: %d calls a second, shared by %d", o.Name, most, s)
		}
	}
}

// TestShardsHaveRatesOfTheirOwn asks for iterators of two shards, one of which is closed then.
func TestShardsHaveRatesOfTheirOwn(t *testing.T) {
	r := newRig(t, options{kinesis: Config{CallLimits: true}})
	r.ok("CreateStream", `{"StreamName":"s","ShardCount":2}`)
	const of = `{"StreamName":"s","ShardIteratorType":"LATEST","ShardId":"%d"}`
	for shard := range 2 {
		for range 5 {
			r.ok("GetShardIterator", fmt.Sprintf(of, shard))
		}
		want := fmt.Sprintf("Rate exceeded for shard shardId-%012d in stream s under account %s.", shard, testAccount)
		if got := r.fails(r.admin, "GetShardIterator", fmt.Sprintf(of, shard), "ProvisionedThroughputExceededException"); got != want {
			t.Error(got)
		}
	}
	r.ok("MergeShards", `{"StreamName":"s","ShardToMerge":"0","AdjacentShardToMerge":"1"}`)
	r.ok("GetShardIterator", fmt.Sprintf(of, 0))

	arn := r.consumer("t", 1)
	body := fmt.Sprintf(`{"ConsumerARN":%q,"ShardId":"0","StartingPosition":{"Type":"LATEST"}}`, arn)
	r.subscribe(http.DefaultTransport, r.admin, arn, "0", `{"Type":"LATEST"}`).close()
	r.fails(r.admin, "SubscribeToShard", body, "LimitExceededException")
	r.idle() // the place of the first is free
	r.clock.add(time.Second)
	r.subscribe(http.DefaultTransport, r.admin, arn, "0", `{"Type":"LATEST"}`).close()
}

// TestBucketsAreBounded calls for more streams than are counted; time frees the old ones.
func TestBucketsAreBounded(t *testing.T) {
	c := callRates{on: true, full: map[bucketKey]time.Duration{}}
	for i := range 3 * bucketsMost {
		if !c.take(bucketKey{of: fmt.Sprint(i)}, 1, time.Duration(i)*time.Millisecond) {
			t.Fatal(i)
		}
		if len(c.full) > bucketsMost {
			t.Fatalf("%d buckets", len(c.full))
		}
	}
	if last := (bucketKey{of: fmt.Sprint(3*bucketsMost - 1)}); c.take(last, 1, 3*bucketsMost*time.Millisecond) {
		t.Error("a bucket in use was forgotten")
	}
}
