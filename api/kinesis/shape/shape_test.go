package shape

import (
	"encoding/json"
	"os"
	"reflect"
	"sync"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"penstock/wire/awsjson"
)

// model is made once: compiling its patterns takes long.
var model = sync.OnceValue(Model)

// operation returns the model of one operation.
func operation(t testing.TB, name string) awsjson.OperationModel {
	t.Helper()
	for _, op := range model().Operations {
		if op.Name == name {
			return op
		}
	}
	t.Fatalf("no operation %s", name)
	return awsjson.OperationModel{}
}

func TestTheModelIsWhole(t *testing.T) {
	var source struct {
		Operations map[string]struct {
			Input, Output *struct{ Shape string }
			Errors        []struct{ Shape string }
		}
	}
	data, err := os.ReadFile("../../models/kinesis.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &source); err != nil {
		t.Fatal(err)
	}
	ops := Model().Operations
	if len(ops) != 39 || len(source.Operations) != 39 {
		t.Fatalf("%d operations of %d", len(ops), len(source.Operations))
	}
	for _, op := range ops {
		want := source.Operations[op.Name]
		if want.Input == nil || want.Input.Shape != op.Input.Name || (want.Output == nil) != (op.Output == nil) || len(want.Errors) != len(op.Errors) {
			t.Errorf("%s is not as the model has it", op.Name)
		}
		if err := awsjson.Match(reflect.TypeOf(op.New()), op.Input); err != nil {
			t.Error(err)
		}
		if op.Output != nil {
			if err := awsjson.Match(reflect.TypeOf(op.Out()), op.Output); err != nil {
				t.Error(err)
			}
		}
	}
	if Model().Operations[0].Input == ops[0].Input {
		t.Error("two models share their tables")
	}
}

func TestValidation(t *testing.T) {
	const name = "Value '' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; " +
		"Value '' at 'streamName' failed to satisfy constraint: Member must have length greater than or equal to 1"
	for _, c := range []struct{ operation, body, want string }{
		{"PutRecords", `{}`, "1 validation error detected: Value null at 'records' failed to satisfy constraint: Member must not be null"},
		{"PutRecords", `{"Records":[],"StreamName":""}`, "3 validation errors detected: Value at 'records' failed to satisfy constraint: Member must have length greater than or equal to 1; " + name},
		{"PutRecords", `{"Records":[{"Data":"","PartitionKey":"a"},{"Data":null,"PartitionKey":"","ExplicitHashKey":"01"}],"StreamName":"s"}`,
			"3 validation errors detected: Value null at 'records.2.member.data' failed to satisfy constraint: Member must not be null; " +
				`Value '01' at 'records.2.member.explicitHashKey' failed to satisfy constraint: Member must satisfy regular expression pattern: 0|([1-9]\d{0,38}); ` +
				"Value '' at 'records.2.member.partitionKey' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"GetShardIterator", `{"ShardId":"shardId-000000000000","ShardIteratorType":"EARLIEST"}`,
			"1 validation error detected: Value 'EARLIEST' at 'shardIteratorType' failed to satisfy constraint: Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, AT_SEQUENCE_NUMBER, TRIM_HORIZON]"},
		{"GetRecords", `{"ShardIterator":"a","Limit":10001}`, "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000"},
		{"CreateStream", `{"StreamName":"a/b","ShardCount":0}`, "2 validation errors detected: Value '0' at 'shardCount' failed to satisfy constraint: Member must have value greater than or equal to 1; " +
			"Value 'a/b' at 'streamName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"},
		{"RemoveTagsFromStream", `{"StreamName":"s","TagKeys":[""]}`, "1 validation error detected: Value '[]' at 'tagKeys' failed to satisfy constraint: " +
			"Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1]"},
		{"EnableEnhancedMonitoring", `{"StreamName":"s","ShardLevelMetrics":["Some"]}`, "1 validation error detected: Value '[Some]' at 'shardLevelMetrics' failed to satisfy constraint: " +
			"Member must satisfy constraint: [Member must satisfy enum value set: [IncomingBytes, IncomingRecords, OutgoingBytes, OutgoingRecords, WriteProvisionedThroughputExceeded, ReadProvisionedThroughputExceeded, IteratorAgeMilliseconds, ALL]]"},
		{"SubscribeToShard", `{"ConsumerARN":"arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1","ShardId":"shardId-000000000000","StartingPosition":{}}`,
			"1 validation error detected: Value null at 'startingPosition.type' failed to satisfy constraint: Member must not be null"},
		{"AddTagsToStream", `{"StreamName":"s","Tags":{"":"v"}}`, "1 validation error detected: Value '{=v}' at 'tags' failed to satisfy constraint: " +
			"Map keys must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1]"},
	} {
		op := operation(t, c.operation)
		e := awsjson.Decode(op.New(), op.Input, awsjson.JSON, []byte(c.body))
		if e == nil || e.Type != "ValidationException" || e.Message != c.want {
			t.Errorf("%s %s\nis %v\nnot %s", c.operation, c.body, e, c.want)
		}
	}
}

// children are those of a merged shard.
func children() []ChildShard {
	return []ChildShard{
		{HashKeyRange: HashKeyRange{EndingHashKey: "9", StartingHashKey: "0"}, ParentShards: []string{"shardId-000000000000", "shardId-000000000001"}, ShardId: "shardId-000000000002"},
		{HashKeyRange: HashKeyRange{EndingHashKey: "19", StartingHashKey: "10"}, ParentShards: []string{}, ShardId: "shardId-000000000003"},
	}
}

// What is written by hand is what the tables would write.
func TestHotAnswers(t *testing.T) {
	behind := int64(7)
	records := []Record{
		{Data: []byte("hi"), PartitionKey: "é\"\n\\", SequenceNumber: "49"},
		{Data: []byte{}, PartitionKey: "b", SequenceNumber: "50", EncryptionType: "KMS"},
	}
	records[0].ApproximateArrivalTimestamp = instant(1700000005123)
	records[1].ApproximateArrivalTimestamp = instant(1700000005000)
	results := &PutRecordsAnswer{Encrypted: true, Failed: 1, N: 2, Result: func(i int, r *PutRecordsResult) {
		if i == 0 {
			r.ErrorCode, r.ErrorMessage = "ProvisionedThroughputExceededException", "Rate exceeded."
			return
		}
		r.Seq, r.Shard = append(r.Seq, "49"...), append(r.Shard, "shardId-000000000001"...)
	}}
	failed := int32(1)
	get := operation(t, "GetRecords").Output
	for _, c := range []struct {
		name  string
		hot   awsjson.Appender
		shape *awsjson.Shape
		plain any
	}{
		{"records", &GetRecordsAnswer{Records: Views(records), MillisBehindLatest: 7, NextShardIterator: "AAA"}, get,
			&GetRecordsOutput{MillisBehindLatest: &behind, NextShardIterator: "AAA", Records: records}},
		{"the end", &GetRecordsAnswer{ChildShards: children(), MillisBehindLatest: 7}, get,
			&GetRecordsOutput{ChildShards: children(), MillisBehindLatest: &behind}},
		{"results", results, operation(t, "PutRecords").Output, &PutRecordsOutput{EncryptionType: "KMS", FailedRecordCount: &failed, Records: []PutRecordsResultEntry{
			{ErrorCode: "ProvisionedThroughputExceededException", ErrorMessage: "Rate exceeded."}, {SequenceNumber: "49", ShardId: "shardId-000000000001"}}}},
		{"an event", &SubscribeToShardAnswer{Records: Views(records), Continuation: []byte("51"), MillisBehindLatest: 7}, event(t),
			&SubscribeToShardEvent{ContinuationSequenceNumber: "51", MillisBehindLatest: 7, Records: records}},
		{"one that cannot go on without the ends", &SubscribeToShardAnswer{Records: Views(records[:1]), ChildShards: children(), Continuation: []byte("51")}, event(t),
			&SubscribeToShardEvent{ChildShards: children(), ContinuationSequenceNumber: "51", Records: records[:1]}},
	} {
		if got, want := c.hot.AppendJSON(nil), awsjson.AppendValue(nil, awsjson.JSON, c.shape, c.plain); string(got) != string(want) {
			t.Errorf("%s\nis  %s\nnot %s", c.name, got, want)
		}
		if got, want := c.hot.AppendCBOR(nil), awsjson.AppendValue(nil, awsjson.CBOR, c.shape, c.plain); string(got) != string(want) {
			g, _ := cbor.Diagnose(got)
			w, _ := cbor.Diagnose(want)
			t.Errorf("%s\nis  %s\nnot %s", c.name, g, w)
		}
	}
	last := &SubscribeToShardAnswer{ChildShards: children()}
	if got := string(last.AppendJSON(nil)); got != `{"ChildShards":[{"HashKeyRange":{"EndingHashKey":"9","StartingHashKey":"0"},"ParentShards":["shardId-000000000000","shardId-000000000001"],"ShardId":"shardId-000000000002"},{"HashKeyRange":{"EndingHashKey":"19","StartingHashKey":"10"},"ParentShards":[],"ShardId":"shardId-000000000003"}],"MillisBehindLatest":0,"Records":[]}` {
		t.Errorf("the last event of a closed shard: %s", got)
	}
	if b := last.AppendCBOR(nil); cbor.Wellformed(b) != nil {
		t.Errorf("the last event of a closed shard: %x", b)
	}
}

// event returns the shape of SubscribeToShardEvent.
func event(t *testing.T) *awsjson.Shape {
	for _, m := range operation(t, "SubscribeToShard").Output.Members {
		for _, e := range m.Shape.Members {
			if e.Shape.Event {
				return e.Shape
			}
		}
	}
	t.Fatal("no event")
	return nil
}
