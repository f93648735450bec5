package kinesis

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/api/kinesis/shape"
	"penstock/auth"
)

// attempts has one call of each operation that whoever is let in cannot succeed with, or
// that changes nothing: what it is refused for tells who was let in.
func attempts(iterator string) map[string]string {
	none := fmt.Sprintf(`"StreamARN":%q`, streamARN("none"))
	resource := fmt.Sprintf(`"ResourceARN":%q`, streamARN("none"))
	consumer := fmt.Sprintf(`"ConsumerARN":%q`, streamARN("none")+"/consumer/c:1")
	return map[string]string{
		"AddTagsToStream":               none + `,"Tags":{"a":"b"}`,
		"CreateStream":                  `"StreamName":"none","ShardCount":100000`,
		"DecreaseStreamRetentionPeriod": none + `,"RetentionPeriodHours":24`,
		"DeleteResourcePolicy":          resource,
		"DeleteStream":                  none,
		"DeregisterStreamConsumer":      consumer,
		"DescribeAccountSettings":       ``,
		"DescribeLimits":                ``,
		"DescribeStream":                none,
		"DescribeStreamConsumer":        consumer,
		"DescribeStreamSummary":         none,
		"DisableEnhancedMonitoring":     none + `,"ShardLevelMetrics":["ALL"]`,
		"EnableEnhancedMonitoring":      none + `,"ShardLevelMetrics":["ALL"]`,
		"GetRecords":                    fmt.Sprintf(`"ShardIterator":%q`, iterator),
		"GetResourcePolicy":             resource,
		"GetShardIterator":              none + `,"ShardId":"0","ShardIteratorType":"LATEST"`,
		"IncreaseStreamRetentionPeriod": none + `,"RetentionPeriodHours":24`,
		"ListShards":                    none,
		"ListStreamConsumers":           none,
		"ListStreams":                   ``,
		"ListTagsForResource":           resource,
		"ListTagsForStream":             none,
		"MergeShards":                   none + `,"ShardToMerge":"0","AdjacentShardToMerge":"1"`,
		"PutRecord":                     none + `,"Data":"","PartitionKey":"a"`,
		"PutRecords":                    none + `,"Records":[{"Data":"","PartitionKey":"a"}]`,
		"PutResourcePolicy":             resource + `,"Policy":"{}"`,
		"RegisterStreamConsumer":        none + `,"ConsumerName":"c"`,
		"RemoveTagsFromStream":          none + `,"TagKeys":["a"]`,
		"SplitShard":                    none + `,"ShardToSplit":"0","NewStartingHashKey":"5"`,
		"StartStreamEncryption":         none + `,"EncryptionType":"KMS","KeyId":"k"`,
		"StopStreamEncryption":          none + `,"EncryptionType":"KMS","KeyId":"k"`,
		"SubscribeToShard":              consumer + `,"ShardId":"0","StartingPosition":{"Type":"LATEST"}`,
		"TagResource":                   resource + `,"Tags":{"a":"b"}`,
		"UntagResource":                 resource + `,"TagKeys":["a"]`,
		"UpdateAccountSettings":         `"MinimumThroughputBillingCommitment":{"Status":"DISABLED"}`,
		"UpdateMaxRecordSize":           none + `,"MaxRecordSizeInKiB":1024`,
		"UpdateShardCount":              none + `,"TargetShardCount":1,"ScalingType":"UNIFORM_SCALING"`,
		"UpdateStreamMode":              none + `,"StreamModeDetails":{"StreamMode":"ON_DEMAND"}`,
		"UpdateStreamWarmThroughput":    none + `,"WarmThroughputMiBps":0`,
	}
}

// TestWhoMayDoWhat asks every operation as everybody. A new operation of the model fails it
// until it has a row.
func TestWhoMayDoWhat(t *testing.T) {
	r := newRig(t, options{})
	r.ok("CreateStream", `{"StreamName":"s","ShardCount":1}`)
	iterator := r.ok("GetShardIterator", `{"StreamName":"s","ShardId":"0","ShardIteratorType":"LATEST"}`)["ShardIterator"].(string)
	calls := attempts(iterator)

	const elsewhere = "111111111111"
	revoked := r.key(auth.NewKey{Name: "revoked", Role: auth.RoleAdmin})
	if err := r.auth.RemoveKey(context.Background(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	expired := r.key(auth.NewKey{Name: "expired", Role: auth.RoleAdmin, Expires: r.clock.Now().Add(time.Minute)})
	r.clock.add(2 * time.Minute)
	forged := r.admin
	forged.Secret = r.key(auth.NewKey{Role: auth.RoleViewer}).Secret

	system := []string{"DescribeAccountSettings", "DescribeLimits", "ListStreams", "UpdateAccountSettings"}
	producing := []string{"CreateStream", "DescribeStream", "DescribeStreamSummary", "ListShards", "PutRecord", "PutRecords"}
	working := []string{"DescribeAccountSettings", "DescribeLimits", "DescribeStream", "DescribeStreamConsumer", "DescribeStreamSummary", "GetRecords", "GetResourcePolicy",
		"GetShardIterator", "ListShards", "ListStreamConsumers", "ListStreams", "RegisterStreamConsumer", "DeregisterStreamConsumer", "SubscribeToShard", "PutRecord", "PutRecords"}
	everybody := []struct {
		name    string
		key     auth.Issued
		may     func(op string) bool
		refusal string
	}{
		{"anonymous", auth.Issued{}, nobody, "MissingAuthenticationTokenException"},
		{"revoked", revoked, nobody, "UnrecognizedClientException"},
		{"expired", expired, nobody, "UnrecognizedClientException"},
		{"forged", forged, nobody, "InvalidSignatureException"},
		{"admin", r.admin, func(string) bool { return true }, ""},
		{"operator", r.key(auth.NewKey{Role: auth.RoleOperator}), func(string) bool { return true }, ""},
		{"another account's admin", r.key(auth.NewKey{Account: elsewhere, Role: auth.RoleAdmin}), only(append(system, "CreateStream")), "AccessDeniedException"},
		{"viewer", r.key(auth.NewKey{Role: auth.RoleViewer}), only([]string{"ListStreams"}), "AccessDeniedException"},
		{"producer", r.key(auth.NewKey{Role: auth.RoleProducer}), only(producing), "AccessDeniedException"},
		{"worker", r.key(auth.NewKey{Role: auth.RoleWorker}), only(working), "AccessDeniedException"},
		{"narrowed to other streams", r.key(auth.NewKey{Role: auth.RoleOperator, Streams: []string{"other-*"}}), only([]string{"ListStreams"}), "AccessDeniedException"},
	}
	for _, op := range shape.Model().Operations {
		body, ok := calls[op.Name]
		if !ok {
			t.Errorf("nobody tries %s", op.Name)
			continue
		}
		for _, who := range everybody {
			_, answer := r.do(who.key, op.Name, "{"+body+"}")
			var e struct {
				Type string `json:"__type"`
			}
			if err := json.Unmarshal([]byte(answer), &e); answer != "" && err != nil {
				t.Fatal(answer)
			}
			refused := e.Type == "AccessDeniedException" || e.Type == "UnrecognizedClientException" || strings.HasSuffix(e.Type, "SignatureException") || strings.HasPrefix(e.Type, "Missing")
			switch may := who.may(op.Name); {
			case may && refused:
				t.Errorf("%s may not do %s: %s", who.name, op.Name, answer)
			case !may && e.Type != who.refusal:
				t.Errorf("%s did %s: %s; want %s", who.name, op.Name, answer, who.refusal)
			}
		}
	}
}

func nobody(string) bool { return false }

func only(ops []string) func(string) bool {
	return func(op string) bool { return slices.Contains(ops, op) }
}

func TestAResourcePolicyOpensAStreamToAnotherAccount(t *testing.T) {
	const elsewhere = "111111111111"
	r := newRig(t, options{})
	r.ok("CreateStream", `{"StreamName":"s","ShardCount":1}`)
	anything := []byte(`{"Statement":{"Effect":"Allow","Action":"kinesis:*","Resource":"*"}}`)
	partner := r.key(auth.NewKey{Account: elsewhere, Name: "partner", Role: auth.RoleCustom, Policy: anything})
	stranger := r.key(auth.NewKey{Account: "222222222222", Name: "stranger", Role: auth.RoleCustom, Policy: anything})
	unaware := r.key(auth.NewKey{Account: elsewhere, Name: "unaware", Role: auth.RoleAdmin})
	put := fmt.Sprintf(`{"StreamARN":%q,"Data":"","PartitionKey":"a"}`, streamARN("s"))
	describe := fmt.Sprintf(`{"StreamARN":%q}`, streamARN("s"))
	policy := func(statements string) {
		text, _ := json.Marshal(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)
		r.ok("PutResourcePolicy", fmt.Sprintf(`{"ResourceARN":%q,"Policy":%s}`, streamARN("s"), text))
	}
	statement := func(effect, principal, action string) string {
		return fmt.Sprintf(`{"Effect":%q,"Principal":{"AWS":%q},"Action":%q,"Resource":%q}`, effect, principal, action, streamARN("s"))
	}
	r.fails(partner, "PutRecord", put, "AccessDeniedException")
	policy(statement("Allow", elsewhere, "kinesis:PutRecord"))
	if status, text := r.do(partner, "PutRecord", put); status != 200 {
		t.Fatal(text)
	}
	r.fails(partner, "DescribeStreamSummary", describe, "AccessDeniedException")
	r.fails(stranger, "PutRecord", put, "AccessDeniedException")
	// A role reaches no further than its account: both sides have to say so.
	r.fails(unaware, "PutRecord", put, "AccessDeniedException")

	policy(statement("Allow", "*", "kinesis:*") + "," + statement("Deny", "arn:aws:iam::"+elsewhere+":user/partner", "kinesis:PutRecord"))
	r.fails(partner, "PutRecord", put, "AccessDeniedException")
	if status, text := r.do(stranger, "PutRecord", put); status != 200 {
		t.Fatal(text)
	}

	// One of the own account who may do nothing is let in when the policy names them.
	viewer := r.key(auth.NewKey{Name: "eve", Role: auth.RoleViewer})
	policy(statement("Allow", testAccount, "kinesis:PutRecord"))
	r.fails(viewer, "PutRecord", put, "AccessDeniedException")
	policy(statement("Allow", "arn:aws:iam::"+testAccount+":user/eve", "kinesis:PutRecord"))
	if status, text := r.do(viewer, "PutRecord", put); status != 200 {
		t.Fatal(text)
	}
	policy(statement("Deny", "*", "kinesis:PutRecord"))
	r.fails(r.admin, "PutRecord", put, "AccessDeniedException")
	r.ok("DeleteResourcePolicy", fmt.Sprintf(`{"ResourceARN":%q}`, streamARN("s")))
	r.fails(partner, "PutRecord", put, "AccessDeniedException")
}

func TestChangesAndRefusalsAreInTheAuditLog(t *testing.T) {
	r := newRig(t, options{})
	r.ok("CreateStream", `{"StreamName":"s","ShardCount":1}`)
	r.put("s", "a")
	r.ok("DescribeStream", `{"StreamName":"s"}`)
	r.ok("UpdateShardCount", `{"StreamName":"s","TargetShardCount":2,"ScalingType":"UNIFORM_SCALING"}`)
	viewer := r.key(auth.NewKey{Name: "eve", Role: auth.RoleViewer})
	r.fails(viewer, "PutRecord", `{"StreamName":"s","Data":"","PartitionKey":"a"}`, "AccessDeniedException")
	r.fails(viewer, "DeleteStream", `{"StreamName":"s"}`, "AccessDeniedException")
	r.fails(r.admin, "DeleteStream", `{"StreamName":"none"}`, "ResourceNotFoundException")
	forged := r.admin
	forged.Secret = viewer.Secret
	r.fails(forged, "PutRecord", `{"StreamName":"s","Data":"","PartitionKey":"a"}`, "InvalidSignatureException")

	var got []string
	for _, e := range r.audit.all() {
		if strings.HasPrefix(e.Action, "kinesis:") {
			who := e.Principal[strings.LastIndexByte(e.Principal, '/')+1:]
			got = append(got, strings.Join([]string{e.Action, who, e.Object[strings.LastIndexByte(e.Object, ':')+1:], e.Decision, e.Remote}, " "))
		}
	}
	want := []string{
		"kinesis:CreateStream admin stream/s allow 127.0.0.1",
		"kinesis:UpdateShardCount admin stream/s allow 127.0.0.1",
		"kinesis:PutRecord eve stream/s deny 127.0.0.1",
		"kinesis:DeleteStream eve stream/s deny 127.0.0.1",
		"kinesis:DeleteStream admin stream/none deny 127.0.0.1",
		"kinesis:PutRecord anonymous  deny 127.0.0.1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
