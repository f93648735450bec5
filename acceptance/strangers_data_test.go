package acceptance

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"penstock/api/kinesis/shape"
	"penstock/auth"
	"penstock/storage/meta"
	"penstock/wire/sigv4"
)

// told is what the data streams of somebody hold that others must not hear.
var told = [...]string{"told-to-nobody", "tag-of-nobody", "reader-of-nobody"}

// forStrangers makes a data stream that has everything, and returns the ARN of its
// consumer and an iterator.
func (s *server) forStrangers(name string) (consumer, iterator string) {
	s.t.Helper()
	s.kds("CreateStream", object{"StreamName": name, "ShardCount": 2, "Tags": map[string]string{"k": told[1]}}, nil)
	s.active(name)
	s.kds("PutRecord", object{"StreamName": name, "PartitionKey": told[0], "Data": []byte(told[0])}, nil)
	var c struct{ Consumer struct{ ConsumerARN string } }
	s.kds("RegisterStreamConsumer", object{"StreamARN": dataARN(name), "ConsumerName": told[2]}, &c)
	s.until("the consumer is active", 10*time.Second, func() error {
		var d struct {
			ConsumerDescription struct{ ConsumerStatus string }
		}
		if err := s.kinesis(context.Background(), "DescribeStreamConsumer", object{"ConsumerARN": c.Consumer.ConsumerARN}, &d); err != nil {
			return err
		}
		if d.ConsumerDescription.ConsumerStatus != "ACTIVE" {
			return errors.New(d.ConsumerDescription.ConsumerStatus)
		}
		return nil
	})
	var at struct{ ShardIterator string }
	s.kds("GetShardIterator", object{"StreamName": name, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}, &at)
	return c.Consumer.ConsumerARN, at.ShardIterator
}

// operations has one call of each operation of the service model at a stream.
func operations(stream, consumer, iterator string) map[string]object {
	arn := dataARN(stream)
	with := func(more object) object {
		in := object{"StreamARN": arn}
		for k, v := range more {
			in[k] = v
		}
		return in
	}
	tags := map[string]string{"a": "b"}
	return map[string]object{
		"AddTagsToStream": with(object{"Tags": tags}), "CreateStream": {"StreamName": stream, "ShardCount": 1},
		"DecreaseStreamRetentionPeriod": with(object{"RetentionPeriodHours": 24}), "DeleteResourcePolicy": {"ResourceARN": arn}, "DeleteStream": with(nil),
		"DeregisterStreamConsumer": {"ConsumerARN": consumer}, "DescribeAccountSettings": {}, "DescribeLimits": {}, "DescribeStream": with(nil),
		"DescribeStreamConsumer": {"ConsumerARN": consumer}, "DescribeStreamSummary": with(nil),
		"DisableEnhancedMonitoring": with(object{"ShardLevelMetrics": []string{"ALL"}}), "EnableEnhancedMonitoring": with(object{"ShardLevelMetrics": []string{"ALL"}}),
		"GetRecords": {"ShardIterator": iterator}, "GetResourcePolicy": {"ResourceARN": arn},
		"GetShardIterator":              with(object{"ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}),
		"IncreaseStreamRetentionPeriod": with(object{"RetentionPeriodHours": 48}), "ListShards": with(nil), "ListStreamConsumers": with(nil), "ListStreams": {},
		"ListTagsForResource": {"ResourceARN": arn}, "ListTagsForStream": with(nil),
		"MergeShards": with(object{"ShardToMerge": "shardId-000000000000", "AdjacentShardToMerge": "shardId-000000000001"}),
		"PutRecord":   with(object{"Data": "eA==", "PartitionKey": "intruder"}), "PutRecords": with(object{"Records": []object{{"Data": "eA==", "PartitionKey": "intruder"}}}),
		"PutResourcePolicy":      {"ResourceARN": arn, "Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"kinesis:*","Resource":"` + arn + `"}]}`},
		"RegisterStreamConsumer": with(object{"ConsumerName": "intruder"}), "RemoveTagsFromStream": with(object{"TagKeys": []string{"k"}}),
		"SplitShard":            with(object{"ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "5"}),
		"StartStreamEncryption": with(object{"EncryptionType": "KMS", "KeyId": "k"}), "StopStreamEncryption": with(object{"EncryptionType": "KMS", "KeyId": "k"}),
		"SubscribeToShard": {"ConsumerARN": consumer, "ShardId": "shardId-000000000000", "StartingPosition": object{"Type": "TRIM_HORIZON"}},
		"TagResource":      {"ResourceARN": arn, "Tags": tags}, "UntagResource": {"ResourceARN": arn, "TagKeys": []string{"k"}},
		"UpdateAccountSettings": {"MinimumThroughputBillingCommitment": object{"Status": "DISABLED"}}, "UpdateMaxRecordSize": with(object{"MaxRecordSizeInKiB": 2048}),
		"UpdateShardCount": with(object{"TargetShardCount": 1, "ScalingType": "UNIFORM_SCALING"}), "UpdateStreamMode": {"StreamARN": arn, "StreamModeDetails": object{"StreamMode": "ON_DEMAND"}},
		"UpdateStreamWarmThroughput": with(object{"WarmThroughputMiBps": 4}),
	}
}

// state is what a data stream is like, to see whether somebody changed it.
func (s *server) state(stream string) string {
	s.t.Helper()
	var all []string
	for _, q := range []struct {
		op string
		in object
	}{
		{"DescribeStream", object{"StreamName": stream}}, {"DescribeStreamSummary", object{"StreamName": stream}}, {"ListTagsForStream", object{"StreamName": stream}},
		{"ListStreamConsumers", object{"StreamARN": dataARN(stream)}}, {"GetResourcePolicy", object{"ResourceARN": dataARN(stream)}}, {"ListStreams", object{}},
	} {
		var out json.RawMessage
		s.kds(q.op, q.in, &out)
		all = append(all, string(out))
	}
	n := 0
	for _, shard := range s.shards(stream) {
		s.drain(stream, shard.ShardID, "", func(*dataRecord) { n++ })
	}
	return fmt.Sprint(strings.Join(all, "\n"), "\n", n, " records")
}

// callsAWS sends every operation, proved as prove likes, at a stream and at one that is
// not there, and looks at what is told. may lists what may succeed.
func (s *server) callsAWS(t *testing.T, who, consumer, iterator string, prove func(*http.Request, []byte), may ...string) {
	t.Helper()
	calls, nowhere := operations("demo", consumer, iterator), operations("nosuch", dataARN("nosuch")+"/consumer/c:1", iterator)
	ops := shape.Model().Operations
	if len(ops) != len(calls) {
		t.Errorf("%d operations, %d are tried", len(ops), len(calls))
	}
	for _, op := range ops {
		in, ok := calls[op.Name]
		if !ok {
			t.Errorf("nobody tries %s", op.Name)
			continue
		}
		answers := [2]*kinesisError{}
		for i, in := range []object{in, nowhere[op.Name]} {
			body, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // who is let in to subscribe stays in
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.http+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-amz-json-1.1")
			req.Header.Set("X-Amz-Target", "Kinesis_20131202."+op.Name)
			prove(req, body)
			if answers[i], err = s.sendRaw(req, body); err != nil {
				t.Fatalf("%s as %s: %v", op.Name, who, err)
			}
		}
		got := answers[0]
		allowed := strings.Contains(" "+strings.Join(may, " ")+" ", " "+op.Name+" ")
		if !allowed && (got.Status == http.StatusOK || got.Status >= 500) {
			t.Errorf("%s as %s: %v", op.Name, who, got)
		}
		if same := strings.ReplaceAll(got.Message, "demo", "nosuch"); !allowed && (got.Type != answers[1].Type || who == "anonymous" && same != answers[1].Message) {
			t.Errorf("%s tells %s which streams there are: %v and %v", op.Name, who, got, answers[1])
		}
		for _, secret := range append(told[:], s.dir) {
			if strings.Contains(got.Message, secret) && !strings.Contains(fmt.Sprint(in["ConsumerARN"]), secret) {
				t.Errorf("%s tells %s: %.300s", op.Name, who, got.Message)
			}
		}
	}
}

func TestStrangersGetNoRecords(t *testing.T) {
	t.Parallel()
	mqtt := freeAddress(t)
	s := startWith(t, &server{dir: t.TempDir(), strict: true, args: []string{"--mqtt", mqtt}})
	consumer, iterator := s.forStrangers("demo")
	before := s.state("demo")
	unsigned := func(*http.Request, []byte) {}
	signed := func(g sigv4.Signer) func(*http.Request, []byte) {
		return func(r *http.Request, body []byte) { g.Sign(r, body, time.Now()) }
	}
	guessed, forged := s.signer, s.signer
	guessed.AccessKey, forged.Secret = "PSAKAAAAAAAAAAAAAAAA", strings.Repeat("x", 40)
	s.callsAWS(t, "anonymous", consumer, iterator, unsigned)
	s.callsAWS(t, "one with a bearer guess", consumer, iterator, func(r *http.Request, _ []byte) { r.Header.Set("Authorization", "Bearer pst_guess") })
	s.callsAWS(t, "one with a key guessed", consumer, iterator, signed(guessed))
	s.callsAWS(t, "one with a secret guessed", consumer, iterator, signed(forged))

	s.strangerSpeaksMQTT(t, mqtt)

	// Somebody of another account, who may do everything there.
	other := s.otherAccount(t, "111111111111")
	s.callsAWS(t, "another account", consumer, iterator, signed(other.signer), "CreateStream", "DescribeAccountSettings", "DescribeLimits", "ListStreams", "UpdateAccountSettings")
	for _, q := range [][3]string{
		{"GET", "/v1/data", ""}, {"GET", "/v1/data/demo", ""}, {"PATCH", "/v1/data/demo", `{"shards":3}`}, {"GET", "/v1/data/demo/tail?from=horizon&follow=no", ""},
		{"POST", "/v1/data/demo/split", `{"shard":"shardId-000000000000"}`}, {"POST", "/v1/data/demo/merge", `{"shards":["shardId-000000000000","shardId-000000000001"]}`},
		{"POST", "/v1/data/demo", `{"from":"another account"}`}, {"DELETE", "/v1/data/demo", ""}, {"GET", "/v1/data", ""},
	} {
		var body any
		if q[2] != "" {
			body = json.RawMessage(q[2])
		}
		_, answer, _ := other.do(q[0], q[1], body)
		for _, secret := range told {
			if strings.Contains(string(answer), secret) || strings.Contains(string(answer), ":"+auth.DefaultAccount+":") {
				t.Errorf("another account hears from %s %s: %.300s", q[0], q[1], answer)
			}
		}
	}
	if c, _, err := speaksMQTT(t.Context(), mqtt, "elsewhere", "any", other.token); err != nil {
		t.Errorf("another account is not let in: %v", err)
	} else if _, err := publishMQTT(t.Context(), c, "demo/key", []byte("from another account")); err != nil { // into its own of that name
		t.Errorf("another account cannot publish: %v", err)
	} else if err := c.Disconnect(&paho.Disconnect{}); err != nil {
		t.Error(err)
	}
	if after := s.state("demo"); after != before {
		t.Errorf("strangers changed the stream from\n%s\nto\n%s", before, after)
	}
	if !strings.HasSuffix(before, "\n1 records") {
		t.Errorf("the stream holds other than one record: this test proves nothing:\n%s", before)
	}
}

// otherAccount is the same server as an administrator of another account sees it. Keys of
// other accounts have no command: this makes one in the database, as commands do.
func (s *server) otherAccount(t *testing.T, account string) *server {
	t.Helper()
	key, err := auth.LoadMasterKey(auth.MasterKeyConfig{Dir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	db, err := meta.Open(t.Context(), meta.Config{Path: filepath.Join(s.dir, "meta.db"), Schemas: []meta.Schema{auth.Schema()}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a, err := auth.Open(t.Context(), auth.Config{Meta: db, MasterKey: key})
	if err != nil {
		t.Fatal(err)
	}
	k, err := a.CreateKey(t.Context(), auth.NewKey{Account: account, Name: "elsewhere", Role: auth.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	o := s.as(t)
	o.token, o.signer.AccessKey, o.signer.Secret = k.Token.Reveal(), k.ID, k.Secret.Reveal()
	o.until("the server knows the key", 10*time.Second, func() error {
		return o.kinesis(context.Background(), "ListStreams", object{}, nil)
	})
	return o
}

// keepSubscribed reads a shard as a consumer of its own, until it is cut off.
func (s *server) keepSubscribed(t *testing.T, stream, key, secret string) <-chan struct{} {
	t.Helper()
	consumer, _ := s.forStrangers(stream)
	body := fmt.Appendf(nil, `{"ConsumerARN":%q,"ShardId":"shardId-000000000000","StartingPosition":{"Type":"LATEST"}}`, consumer)
	req, err := http.NewRequest(http.MethodPost, "http://"+s.http+"/", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202.SubscribeToShard")
	signer := sigv4.Signer{AccessKey: key, Secret: secret, Region: "us-east-1", Service: "kinesis"}
	signer.Sign(req, body, time.Now())
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("subscribe: %v %v", res, err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	r := bufio.NewReader(res.Body)
	if _, err := r.Peek(1); err != nil {
		t.Fatalf("the subscription has no beginning: %v", err)
	}
	return ending(func() error { _, err := io.CopyN(io.Discard, r, 1); return err })
}
