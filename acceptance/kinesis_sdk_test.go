package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/middleware"

	"penstock/api/kinesis"
	"penstock/api/kinesis/shape"
)

// goClient is the AWS SDK for Go, told nothing but where the server is. called, if not
// nil, hears the name of every operation.
func (s *server) goClient(client *http.Client, called func(string)) *sdk.Client {
	config := aws.Config{
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider(s.signer.AccessKey, s.signer.Secret, ""),
		BaseEndpoint: aws.String("http://" + s.http),
	}
	if client != nil {
		config.HTTPClient = client
	}
	return sdk.NewFromConfig(config, func(o *sdk.Options) {
		o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
			return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("called", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				if called != nil {
					called(middleware.GetOperationName(ctx))
				}
				return next.HandleInitialize(ctx, in)
			}), middleware.After)
		})
	})
}

// sdkRun is one walk through the service with the SDK.
type sdkRun struct {
	t      *testing.T
	ctx    context.Context
	s      *server
	c      *sdk.Client
	name   *string
	arn    *string
	called map[string]bool
}

// newRun starts a server, and a stream with two shards.
func newRun(t *testing.T, args ...string) *sdkRun {
	r := &sdkRun{t: t, s: start(t, args...), name: aws.String("conformance"), called: map[string]bool{}}
	ctx, cancel := context.WithTimeout(t.Context(), patience*2*time.Minute)
	t.Cleanup(cancel)
	r.ctx = ctx
	r.c = r.s.goClient(nil, func(op string) { r.called[op] = true })
	_, err := r.c.CreateStream(ctx, &sdk.CreateStreamInput{StreamName: r.name, ShardCount: aws.Int32(2), Tags: map[string]string{"from": "the start"}})
	r.no(err)
	r.ready()
	d, err := r.c.DescribeStream(ctx, &sdk.DescribeStreamInput{StreamName: r.name})
	r.no(err)
	r.arn = d.StreamDescription.StreamARN
	return r
}

func (r *sdkRun) no(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// ready waits with the SDK's own waiter.
func (r *sdkRun) ready() {
	r.t.Helper()
	w := sdk.NewStreamExistsWaiter(r.c, func(o *sdk.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	})
	r.no(w.Wait(r.ctx, &sdk.DescribeStreamInput{StreamName: r.name}, patience*20*time.Second))
}

// refused asks for an exception of the SDK's type T whose message holds text.
func refused[T error](t *testing.T, err error, text string) {
	t.Helper()
	var want T
	if !errors.As(err, &want) || !strings.Contains(want.Error(), text) {
		t.Errorf("%v is not a %T with %q", err, want, text)
	}
}

// read follows a shard from an iterator to where there is nothing new, or to its end.
func (r *sdkRun) read(in *sdk.GetShardIteratorInput) (records []types.Record, children []types.ChildShard) {
	r.t.Helper()
	it, err := r.c.GetShardIterator(r.ctx, in)
	r.no(err)
	for next := it.ShardIterator; ; {
		page, err := r.c.GetRecords(r.ctx, &sdk.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(7)})
		r.no(err)
		records = append(records, page.Records...)
		if page.NextShardIterator == nil {
			if len(page.Records) > 0 {
				r.t.Errorf("the end of %s comes with %d records", *in.ShardId, len(page.Records))
			}
			return records, page.ChildShards
		}
		if len(page.Records) == 0 && *page.MillisBehindLatest == 0 {
			return records, nil
		}
		next = page.NextShardIterator
	}
}

// Every operation of the service model, through the SDK as it is.
func TestGoSDK(t *testing.T) {
	t.Parallel()
	r := newRun(t, "--shard-limits", "off")
	r.records()
	r.iterators()
	r.reshards()
	r.settings()
	r.policies()
	r.consumers()
	r.errors()
	r.account()
	_, err := r.c.DeleteStream(r.ctx, &sdk.DeleteStreamInput{StreamARN: r.arn, EnforceConsumerDeletion: aws.Bool(true)})
	r.no(err)
	gone := sdk.NewStreamNotExistsWaiter(r.c, func(o *sdk.StreamNotExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
	})
	r.no(gone.Wait(r.ctx, &sdk.DescribeStreamInput{StreamName: r.name}, patience*20*time.Second))
	for _, op := range shape.Model().Operations {
		if !r.called[op.Name] {
			t.Errorf("%s was not called", op.Name)
		}
	}
}

func (r *sdkRun) records() {
	one, err := r.c.PutRecord(r.ctx, &sdk.PutRecordInput{StreamName: r.name, PartitionKey: aws.String("a"), Data: []byte("one")})
	r.no(err)
	if aws.ToString(one.ShardId) != "shardId-000000000000" || len(aws.ToString(one.SequenceNumber)) != 56 {
		r.t.Errorf("PutRecord answers %s %s", *one.ShardId, *one.SequenceNumber)
	}
	after, err := r.c.PutRecord(r.ctx, &sdk.PutRecordInput{StreamARN: r.arn, PartitionKey: aws.String("a"), Data: []byte{}, SequenceNumberForOrdering: one.SequenceNumber})
	r.no(err)
	if *after.SequenceNumber <= *one.SequenceNumber {
		r.t.Errorf("%s is not behind %s", *after.SequenceNumber, *one.SequenceNumber)
	}
	batch := make([]types.PutRecordsRequestEntry, 500)
	for i := range batch {
		batch[i] = types.PutRecordsRequestEntry{PartitionKey: aws.String(fmt.Sprint("key ü ", i)), Data: []byte(strings.Repeat("x", i))}
	}
	batch[3].ExplicitHashKey = aws.String("340282366920938463463374607431768211455")
	many, err := r.c.PutRecords(r.ctx, &sdk.PutRecordsInput{StreamARN: r.arn, Records: batch})
	r.no(err)
	if *many.FailedRecordCount != 0 || len(many.Records) != 500 || *many.Records[3].ShardId != "shardId-000000000001" {
		r.t.Errorf("PutRecords answers %d failed of %d", *many.FailedRecordCount, len(many.Records))
	}
	read := map[string]types.Record{}
	for _, shard := range []string{"shardId-000000000000", "shardId-000000000001"} {
		records, children := r.read(&sdk.GetShardIteratorInput{StreamARN: r.arn, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
		if children != nil {
			r.t.Errorf("%s is open and has children", shard)
		}
		last := ""
		for _, record := range records {
			if *record.SequenceNumber <= last {
				r.t.Errorf("%s is not behind %s", *record.SequenceNumber, last)
			}
			last = *record.SequenceNumber
			read[last] = record
		}
	}
	for i, e := range many.Records {
		got, ok := read[*e.SequenceNumber]
		if !ok || string(got.Data) != string(batch[i].Data) || *got.PartitionKey != *batch[i].PartitionKey || got.EncryptionType != "" {
			r.t.Fatalf("record %d became %+v", i, got)
		}
		if age := time.Since(*got.ApproximateArrivalTimestamp); age < -time.Second || age > time.Minute {
			r.t.Errorf("record %d arrived %v ago", i, age)
		}
	}
	if len(read) != 502 {
		r.t.Errorf("%d records, not 502", len(read))
	}
}

func (r *sdkRun) iterators() {
	shard := aws.String("shardId-000000000000")
	first, err := r.c.PutRecord(r.ctx, &sdk.PutRecordInput{StreamName: r.name, PartitionKey: aws.String("a"), Data: []byte("first")})
	r.no(err)
	between := time.Now().Add(2 * time.Millisecond) // not the millisecond in which the first arrived
	for until := between.Add(5 * time.Millisecond); time.Now().Before(until); {
	}
	second, err := r.c.PutRecord(r.ctx, &sdk.PutRecordInput{StreamName: r.name, PartitionKey: aws.String("a"), Data: []byte("second")})
	r.no(err)
	for _, c := range []struct {
		kind types.ShardIteratorType
		seq  *string
		at   *time.Time
		want string
	}{
		{types.ShardIteratorTypeAtSequenceNumber, first.SequenceNumber, nil, "first second"},
		{types.ShardIteratorTypeAfterSequenceNumber, first.SequenceNumber, nil, "second"},
		{types.ShardIteratorTypeAfterSequenceNumber, second.SequenceNumber, nil, ""},
		{types.ShardIteratorTypeLatest, nil, nil, ""},
		{types.ShardIteratorTypeAtTimestamp, nil, &between, "second"},
	} {
		records, _ := r.read(&sdk.GetShardIteratorInput{StreamName: r.name, ShardId: shard, ShardIteratorType: c.kind, StartingSequenceNumber: c.seq, Timestamp: c.at})
		var got []string
		for _, record := range records {
			got = append(got, string(record.Data))
		}
		if strings.Join(got, " ") != c.want {
			r.t.Errorf("%s: %q, not %q", c.kind, got, c.want)
		}
	}
	pages := sdk.NewListStreamsPaginator(r.c, &sdk.ListStreamsInput{Limit: aws.Int32(1)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(r.ctx)
		r.no(err)
		if len(page.StreamNames) != len(page.StreamSummaries) {
			r.t.Errorf("%v and %v", page.StreamNames, page.StreamSummaries)
		}
	}
}

func (r *sdkRun) reshards() {
	list := func(filter *types.ShardFilter) (ids []string) {
		out, err := r.c.ListShards(r.ctx, &sdk.ListShardsInput{StreamARN: r.arn, ShardFilter: filter})
		r.no(err)
		for _, s := range out.Shards {
			ids = append(ids, strings.TrimLeft(strings.TrimPrefix(*s.ShardId, "shardId-"), "0"))
		}
		return ids
	}
	_, err := r.c.SplitShard(r.ctx, &sdk.SplitShardInput{StreamName: r.name, ShardToSplit: aws.String("shardId-000000000000"), NewStartingHashKey: aws.String("1000")})
	r.no(err)
	r.ready()
	records, children := r.read(&sdk.GetShardIteratorInput{StreamName: r.name, ShardId: aws.String("shardId-000000000000"), ShardIteratorType: types.ShardIteratorTypeTrimHorizon})
	if len(records) == 0 || len(children) != 2 || *children[1].HashKeyRange.StartingHashKey != "1000" || !slices.Equal(children[0].ParentShards, []string{"shardId-000000000000"}) {
		r.t.Errorf("after %d records a split shard ends with %+v", len(records), children)
	}
	_, err = r.c.MergeShards(r.ctx, &sdk.MergeShardsInput{StreamName: r.name, ShardToMerge: aws.String("shardId-000000000003"), AdjacentShardToMerge: aws.String("shardId-000000000001")})
	r.no(err)
	r.ready()
	if got := strings.Join(list(&types.ShardFilter{Type: types.ShardFilterTypeAtLatest}), " "); got != "2 4" {
		r.t.Errorf("open are %s", got)
	}
	if got := len(list(nil)); got != 5 {
		r.t.Errorf("%d shards, not 5", got)
	}
	if got := strings.Join(list(&types.ShardFilter{Type: types.ShardFilterTypeAfterShardId, ShardId: aws.String("shardId-000000000002")}), " "); got != "3 4" {
		r.t.Errorf("after 2 come %s", got)
	}
	out, err := r.c.UpdateShardCount(r.ctx, &sdk.UpdateShardCountInput{StreamName: r.name, TargetShardCount: aws.Int32(4), ScalingType: types.ScalingTypeUniformScaling})
	r.no(err)
	if *out.CurrentShardCount != 2 || *out.TargetShardCount != 4 {
		r.t.Errorf("from %d to %d", *out.CurrentShardCount, *out.TargetShardCount)
	}
	r.ready()
	sum, err := r.c.DescribeStreamSummary(r.ctx, &sdk.DescribeStreamSummaryInput{StreamARN: r.arn})
	r.no(err)
	if n := *sum.StreamDescriptionSummary.OpenShardCount; n != 4 {
		r.t.Errorf("%d open shards, not 4", n)
	}
}

func (r *sdkRun) settings() {
	_, err := r.c.IncreaseStreamRetentionPeriod(r.ctx, &sdk.IncreaseStreamRetentionPeriodInput{StreamName: r.name, RetentionPeriodHours: aws.Int32(48)})
	r.no(err)
	_, err = r.c.DecreaseStreamRetentionPeriod(r.ctx, &sdk.DecreaseStreamRetentionPeriodInput{StreamName: r.name, RetentionPeriodHours: aws.Int32(36)})
	r.no(err)
	on, err := r.c.EnableEnhancedMonitoring(r.ctx, &sdk.EnableEnhancedMonitoringInput{StreamName: r.name, ShardLevelMetrics: []types.MetricsName{types.MetricsNameIncomingBytes, types.MetricsNameIncomingRecords}})
	r.no(err)
	r.ready()
	if len(on.CurrentShardLevelMetrics) != 0 || len(on.DesiredShardLevelMetrics) != 2 {
		r.t.Errorf("%v became %v", on.CurrentShardLevelMetrics, on.DesiredShardLevelMetrics)
	}
	_, err = r.c.DisableEnhancedMonitoring(r.ctx, &sdk.DisableEnhancedMonitoringInput{StreamName: r.name, ShardLevelMetrics: []types.MetricsName{types.MetricsNameIncomingBytes}})
	r.no(err)
	r.ready()
	_, err = r.c.StartStreamEncryption(r.ctx, &sdk.StartStreamEncryptionInput{StreamName: r.name, EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/aws/kinesis")})
	r.no(err)
	r.ready()
	put, err := r.c.PutRecord(r.ctx, &sdk.PutRecordInput{StreamName: r.name, PartitionKey: aws.String("a"), Data: []byte("secret")})
	r.no(err)
	records, _ := r.read(&sdk.GetShardIteratorInput{StreamName: r.name, ShardId: put.ShardId, ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: put.SequenceNumber})
	if put.EncryptionType != types.EncryptionTypeKms || len(records) != 1 || string(records[0].Data) != "secret" || records[0].EncryptionType != types.EncryptionTypeKms {
		r.t.Errorf("encrypted: %v, %+v", put.EncryptionType, records)
	}
	sum, err := r.c.DescribeStreamSummary(r.ctx, &sdk.DescribeStreamSummaryInput{StreamName: r.name})
	r.no(err)
	d := sum.StreamDescriptionSummary
	if *d.RetentionPeriodHours != 36 || d.EncryptionType != types.EncryptionTypeKms || *d.KeyId != "alias/aws/kinesis" || len(d.EnhancedMonitoring[0].ShardLevelMetrics) != 1 || d.StreamModeDetails.StreamMode != types.StreamModeProvisioned {
		r.t.Errorf("the summary is %+v", d)
	}
	_, err = r.c.StopStreamEncryption(r.ctx, &sdk.StopStreamEncryptionInput{StreamName: r.name, EncryptionType: types.EncryptionTypeKms, KeyId: aws.String("alias/aws/kinesis")})
	r.no(err)
	r.ready()
	_, err = r.c.UpdateMaxRecordSize(r.ctx, &sdk.UpdateMaxRecordSizeInput{StreamARN: r.arn, MaxRecordSizeInKiB: aws.Int32(10240)})
	r.no(err)
	r.ready()
	large := make([]byte, 9<<20)
	put, err = r.c.PutRecord(r.ctx, &sdk.PutRecordInput{StreamName: r.name, PartitionKey: aws.String("a"), Data: large})
	r.no(err)
	records, _ = r.read(&sdk.GetShardIteratorInput{StreamName: r.name, ShardId: put.ShardId, ShardIteratorType: types.ShardIteratorTypeAtSequenceNumber, StartingSequenceNumber: put.SequenceNumber})
	if len(records) != 1 || len(records[0].Data) != len(large) {
		r.t.Errorf("a record of 9 MiB became %d", len(records))
	}
}

func (r *sdkRun) policies() {
	_, err := r.c.AddTagsToStream(r.ctx, &sdk.AddTagsToStreamInput{StreamName: r.name, Tags: map[string]string{"a": "1", "b": ""}})
	r.no(err)
	_, err = r.c.TagResource(r.ctx, &sdk.TagResourceInput{ResourceARN: r.arn, Tags: map[string]string{"c": "3"}})
	r.no(err)
	_, err = r.c.RemoveTagsFromStream(r.ctx, &sdk.RemoveTagsFromStreamInput{StreamName: r.name, TagKeys: []string{"a"}})
	r.no(err)
	_, err = r.c.UntagResource(r.ctx, &sdk.UntagResourceInput{ResourceARN: r.arn, TagKeys: []string{"from"}})
	r.no(err)
	tags, err := r.c.ListTagsForStream(r.ctx, &sdk.ListTagsForStreamInput{StreamARN: r.arn})
	r.no(err)
	same, err := r.c.ListTagsForResource(r.ctx, &sdk.ListTagsForResourceInput{ResourceARN: r.arn})
	r.no(err)
	if len(tags.Tags) != 2 || len(same.Tags) != 2 || *tags.Tags[0].Key != "b" || aws.ToString(tags.Tags[0].Value) != "" || *tags.Tags[1].Value != "3" {
		r.t.Errorf("tags are %+v and %+v", tags.Tags, same.Tags)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"kinesis:PutRecord","Resource":"` + *r.arn + `"}]}`
	_, err = r.c.PutResourcePolicy(r.ctx, &sdk.PutResourcePolicyInput{ResourceARN: r.arn, Policy: &policy})
	r.no(err)
	got, err := r.c.GetResourcePolicy(r.ctx, &sdk.GetResourcePolicyInput{ResourceARN: r.arn})
	r.no(err)
	_, err = r.c.DeleteResourcePolicy(r.ctx, &sdk.DeleteResourcePolicyInput{ResourceARN: r.arn})
	r.no(err)
	none, err := r.c.GetResourcePolicy(r.ctx, &sdk.GetResourcePolicyInput{ResourceARN: r.arn})
	r.no(err)
	if !strings.Contains(*got.Policy, "kinesis:PutRecord") || *none.Policy != "{}" {
		r.t.Errorf("the policy is %s, then %s", *got.Policy, *none.Policy)
	}
}

// event waits for the next event of a subscription that has records. An error that is
// net.ErrClosed is the client's own: it took its request for failed while the answer began
// (docs/compatibility.md), and a reader subscribes again.
func event(ctx context.Context, stream *sdk.SubscribeToShardEventStream) (*types.SubscribeToShardEvent, error) {
	for {
		select {
		case e, ok := <-stream.Events():
			if !ok {
				return nil, fmt.Errorf("the stream ended: %w", stream.Err())
			}
			if v := &e.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent).Value; len(v.Records) > 0 {
				return v, nil
			}
		case <-ctx.Done():
			return nil, errors.New("no event came")
		}
	}
}

func (r *sdkRun) consumers() {
	out, err := r.c.RegisterStreamConsumer(r.ctx, &sdk.RegisterStreamConsumerInput{StreamARN: r.arn, ConsumerName: aws.String("fast")})
	r.no(err)
	r.s.until("the consumer is active", 20*time.Second, func() error {
		d, err := r.c.DescribeStreamConsumer(r.ctx, &sdk.DescribeStreamConsumerInput{StreamARN: r.arn, ConsumerName: aws.String("fast")})
		if err == nil && d.ConsumerDescription.ConsumerStatus != types.ConsumerStatusActive {
			err = errors.New(string(d.ConsumerDescription.ConsumerStatus))
		}
		return err
	})
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	r.t.Cleanup(h2.CloseIdleConnections)
	// HTTP/1.1 as the SDK does by itself, then HTTP/2 with prior knowledge, of another shard.
	for i, c := range []*sdk.Client{r.c, r.s.goClient(&http.Client{Transport: h2}, nil)} {
		shards, err := c.ListShards(r.ctx, &sdk.ListShardsInput{StreamARN: r.arn, ShardFilter: &types.ShardFilter{Type: types.ShardFilterTypeAtLatest}})
		r.no(err)
		shard := shards.Shards[i]
		var sub *sdk.SubscribeToShardOutput
		var put *sdk.PutRecordOutput
		var e *types.SubscribeToShardEvent
		var began time.Time
		r.s.until("a record is pushed", time.Minute, func() error {
			began = time.Now()
			sub, err = c.SubscribeToShard(r.ctx, &sdk.SubscribeToShardInput{ConsumerARN: out.Consumer.ConsumerARN, ShardId: shard.ShardId,
				StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeLatest}})
			if errors.As(err, new(*types.ResourceInUseException)) && e == nil && put != nil {
				return err // the subscription before is about to end
			}
			r.no(err)
			put, err = r.c.PutRecord(r.ctx, &sdk.PutRecordInput{StreamARN: r.arn, PartitionKey: aws.String("a"), ExplicitHashKey: shard.HashKeyRange.StartingHashKey, Data: []byte("pushed")})
			r.no(err)
			e, err = event(r.ctx, sub.GetStream())
			if err != nil && !errors.Is(err, net.ErrClosed) {
				r.t.Fatal(err)
			}
			return err
		})
		if len(e.Records) != 1 || string(e.Records[0].Data) != "pushed" || *e.Records[0].SequenceNumber != *put.SequenceNumber || *e.ContinuationSequenceNumber < *put.SequenceNumber {
			r.t.Errorf("the event is %+v", e)
		}
		for more := true; more; {
			begun := time.Now()
			next, err := r.c.SubscribeToShard(r.ctx, &sdk.SubscribeToShardInput{ConsumerARN: out.Consumer.ConsumerARN, ShardId: shard.ShardId, StartingPosition: &types.StartingPosition{Type: types.ShardIteratorTypeLatest}})
			if more = err == nil && time.Since(began) > kinesis.DefaultTakeover; more { // it may, by then: the next is to be quicker
				r.no(sub.GetStream().Close())
				sub, began = next, begun
				continue
			}
			refused[*types.ResourceInUseException](r.t, err, "Another active subscription exists for this consumer")
		}
		r.no(sub.GetStream().Close())
	}
	list, err := r.c.ListStreamConsumers(r.ctx, &sdk.ListStreamConsumersInput{StreamARN: r.arn})
	r.no(err)
	if len(list.Consumers) != 1 || *list.Consumers[0].ConsumerARN != *out.Consumer.ConsumerARN {
		r.t.Errorf("consumers are %+v", list.Consumers)
	}
	_, err = r.c.DeregisterStreamConsumer(r.ctx, &sdk.DeregisterStreamConsumerInput{ConsumerARN: out.Consumer.ConsumerARN})
	r.no(err)
}

func (r *sdkRun) errors() {
	_, err := r.c.DescribeStream(r.ctx, &sdk.DescribeStreamInput{StreamName: aws.String("missing")})
	refused[*types.ResourceNotFoundException](r.t, err, "Stream missing under account 000000000000 not found.")
	_, err = r.c.CreateStream(r.ctx, &sdk.CreateStreamInput{StreamName: r.name})
	refused[*types.ResourceInUseException](r.t, err, "Stream conformance under account 000000000000 already exists.")
	_, err = r.c.GetRecords(r.ctx, &sdk.GetRecordsInput{ShardIterator: aws.String("AAAA")})
	refused[*types.InvalidArgumentException](r.t, err, "Invalid ShardIterator.")
	_, err = r.c.MergeShards(r.ctx, &sdk.MergeShardsInput{StreamName: r.name, ShardToMerge: aws.String("shardId-000000000002"), AdjacentShardToMerge: aws.String("shardId-000000000002")})
	refused[*types.InvalidArgumentException](r.t, err, "")
	_, err = r.c.PutRecord(r.ctx, &sdk.PutRecordInput{StreamName: r.name, PartitionKey: aws.String(strings.Repeat("k", 257)), Data: []byte{}})
	if err == nil || !strings.Contains(err.Error(), "ValidationException: 1 validation error detected: Value '"+strings.Repeat("k", 257)+"' at 'partitionKey' failed to satisfy constraint: Member must have length less than or equal to 256") {
		r.t.Errorf("a long key: %v", err)
	}
	stranger := *r.s
	stranger.signer.Secret = "wrong"
	_, err = stranger.goClient(nil, nil).ListStreams(r.ctx, &sdk.ListStreamsInput{})
	if err == nil || !strings.Contains(err.Error(), "InvalidSignatureException") {
		r.t.Errorf("a wrong secret: %v", err)
	}
}

func (r *sdkRun) account() {
	limits, err := r.c.DescribeLimits(r.ctx, &sdk.DescribeLimitsInput{})
	r.no(err)
	if *limits.OpenShardCount != 4 || *limits.ShardLimit < 4 {
		r.t.Errorf("limits are %+v", limits)
	}
	on, err := r.c.UpdateAccountSettings(r.ctx, &sdk.UpdateAccountSettingsInput{MinimumThroughputBillingCommitment: &types.MinimumThroughputBillingCommitmentInput{Status: types.MinimumThroughputBillingCommitmentInputStatusEnabled}})
	r.no(err)
	got, err := r.c.DescribeAccountSettings(r.ctx, &sdk.DescribeAccountSettingsInput{})
	r.no(err)
	if on.MinimumThroughputBillingCommitment.Status != got.MinimumThroughputBillingCommitment.Status {
		r.t.Errorf("set to %+v, is %+v", on.MinimumThroughputBillingCommitment, got.MinimumThroughputBillingCommitment)
	}
	_, err = r.c.UpdateStreamMode(r.ctx, &sdk.UpdateStreamModeInput{StreamARN: r.arn, StreamModeDetails: &types.StreamModeDetails{StreamMode: types.StreamModeOnDemand}})
	r.no(err)
	r.ready()
	warm, err := r.c.UpdateStreamWarmThroughput(r.ctx, &sdk.UpdateStreamWarmThroughputInput{StreamARN: r.arn, WarmThroughputMiBps: aws.Int32(10)})
	r.no(err)
	if *warm.WarmThroughput.TargetMiBps != 10 {
		r.t.Errorf("warm: %+v", warm.WarmThroughput)
	}
	r.ready()
}
