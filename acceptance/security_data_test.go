package acceptance

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"penstock/auth"
	"penstock/storage/meta"
	"penstock/streams/datastream"
)

// goodData is a data stream for what needs one that is there.
const goodData = "good-data"

// withData makes goodData.
func (s *server) withData() {
	s.t.Helper()
	s.kds("CreateStream", object{"StreamName": goodData, "ShardCount": 1}, nil)
	s.active(goodData)
}

func dataARN(name string) string { return datastream.ARN(auth.DefaultAccount, "us-east-1", name) }

// tryDataName is tryName for what takes the name of a data stream, a consumer or a tag,
// a partition key, a shard or a region.
func (s *server) tryDataName(name string, taken func(what string)) error {
	text, err := json.Marshal(name)
	if err != nil {
		return err
	}
	esc, query := url.PathEscape(name), url.QueryEscape(name)
	var errs []error
	for _, q := range [][3]string{
		{"POST", "/v1/data", `{"name":` + string(text) + `,"shards":1}`},
		{"POST", "/v1/data", `{"name":"` + goodData + `","tags":{"k":` + string(text) + `,` + string(text) + `:"v"}}`},
		{"POST", "/v1/data/" + esc, `{"first":"use"}`},
		{"POST", "/v1/data/" + goodData + "?key=" + query, `{"a":` + string(text) + `}`},
		{"GET", "/v1/data/" + esc, ""},
		{"GET", "/v1/data/" + goodData + "/tail?follow=no&limit=1&shard=" + query, ""},
		{"GET", "/v1/data/" + goodData + "/tail?follow=no&limit=1&from=" + query, ""},
		{"GET", "/v1/data/" + goodData + "/tail?follow=no&limit=1&from=horizon&filter=" + query, ""},
		{"POST", "/v1/data/" + goodData + "/split", `{"shard":` + string(text) + `,"at":` + string(text) + `}`},
	} {
		status, err := s.raw(q[0], q[1], q[2])
		if err != nil || status >= 500 {
			errs = append(errs, fmt.Errorf("%s %.80s: %d %w", q[0], q[1], status, err))
		}
		if status < 300 {
			taken(q[0] + " " + strings.Split(strings.Replace(q[1], esc, "NAME", 1), "?")[0])
		}
	}
	arn := dataARN(goodData)
	for _, q := range []struct {
		op string
		in object
	}{
		{"CreateStream", object{"StreamName": name, "ShardCount": 1}},
		{"DescribeStream", object{"StreamARN": dataARN(name)}},
		{"RegisterStreamConsumer", object{"StreamARN": arn, "ConsumerName": name}},
		{"DescribeStreamConsumer", object{"ConsumerARN": arn + "/consumer/" + name + ":1"}},
		{"AddTagsToStream", object{"StreamName": goodData, "Tags": map[string]string{"k": name}}},
		{"TagResource", object{"ResourceARN": arn, "Tags": map[string]string{name: "v"}}},
		{"UntagResource", object{"ResourceARN": arn, "TagKeys": []string{name}}}, // fifty is the most
		{"PutRecord", object{"StreamName": goodData, "PartitionKey": name, "Data": []byte(name)}},
		{"GetShardIterator", object{"StreamName": goodData, "ShardId": name, "ShardIteratorType": "LATEST"}},
		{"GetRecords", object{"ShardIterator": name}},
		{"PutResourcePolicy", object{"ResourceARN": arn, "Policy": name}},
		{"SubscribeToShard", object{"ConsumerARN": name, "ShardId": name, "StartingPosition": object{"Type": "LATEST"}}},
	} {
		err := s.kinesis(context.Background(), q.op, q.in, nil)
		var refused *kinesisError
		switch {
		case err == nil:
			taken(q.op)
		case !errors.As(err, &refused) || refused.Status >= 500:
			errs = append(errs, fmt.Errorf("%s: %w", q.op, err))
		case refused.Type == "LimitExceededException" && !strings.Contains(refused.Message, "consumer"):
			errs = append(errs, fmt.Errorf("%s was refused for a limit, not for the name: %w", q.op, err))
		}
	}
	elsewhere := *s // a region is what the signature says it is
	elsewhere.signer.Region = name
	err = elsewhere.kinesis(context.Background(), "CreateStream", object{"StreamName": "in-a-region", "ShardCount": 1}, nil)
	var refused *kinesisError
	switch {
	case err == nil && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "":
		errs = append(errs, fmt.Errorf("%q is a region now", name))
	case err == nil:
		taken("a region")
	case errors.As(err, &refused) && refused.Status >= 500:
		errs = append(errs, fmt.Errorf("in region %q: %w", name, err))
	}
	return errors.Join(errs...)
}

// tally counts what was taken, from many goroutines.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[what]++
}

// plantRecords puts records that nobody but readers of their stream may see.
// sealed are those of a stream that is encrypted: their plaintext may be in no file
// either.
func plantRecords(t *testing.T, s *server, mqtt string) (sealed, open map[string]string) {
	t.Helper()
	sealed, open = map[string]string{}, map[string]string{}
	for _, name := range []string{"plain", "sealed"} {
		s.kds("CreateStream", object{"StreamName": name, "ShardCount": 2}, nil)
		s.active(name)
	}
	s.kds("StartStreamEncryption", object{"StreamName": "sealed", "EncryptionType": "KMS", "KeyId": "alias/shown"}, nil)
	s.active("sealed")
	planted := map[string]map[string]string{"plain": open, "sealed": sealed}
	for name, into := range planted {
		for i, put := range []func(data string) error{
			func(data string) error {
				return s.kinesis(context.Background(), "PutRecord", object{"StreamName": name, "PartitionKey": "a", "Data": []byte(data)}, nil)
			},
			func(data string) error {
				return s.kinesis(context.Background(), "PutRecords", object{"StreamName": name, "Records": []object{{"PartitionKey": "a", "Data": []byte(data)}, {"PartitionKey": "b", "Data": []byte(strings.Repeat(data, 100))}}}, nil)
			},
			func(data string) error {
				status, body, _ := s.do("POST", "/v1/data/"+name, object{"told": data})
				if status != http.StatusOK {
					return fmt.Errorf("%d %s", status, body)
				}
				return nil
			},
			func(data string) error {
				c, _, err := speaksMQTT(t.Context(), mqtt, "planter", "any", s.token)
				if err != nil {
					return err
				}
				_, err = publishMQTT(t.Context(), c, name+"/a", []byte(data))
				return errors.Join(err, c.Disconnect(&paho.Disconnect{}))
			},
		} {
			data := fmt.Sprintf("planted-record-%d-of-%s-8823", i, name)
			if err := put(data); err != nil {
				t.Fatalf("put into %s: %v", name, err)
			}
			into[fmt.Sprintf("record %d of %s", i, name)] = data
		}
	}
	sealed["partition key of a sealed record"] = "planted-key-8824"
	s.kds("PutRecord", object{"StreamName": "sealed", "PartitionKey": "planted-key-8824", "Data": []byte("x")}, nil)
	// What reads them sees them: they are there. Then what is refused, with data in it.
	for name, into := range planted {
		_, body, _ := s.do("GET", "/v1/data/"+name+"/tail?from=horizon&follow=no", nil)
		for what, data := range into {
			if !strings.Contains(string(body), data) {
				t.Errorf("%s is not in its own stream", what)
			}
		}
	}
	return sealed, open
}

// refusedRecords collects the answers to puts and reads that are refused.
func refusedRecords(s *server, planted map[string]string, outputs map[string][]byte) {
	for what, data := range planted {
		for i, in := range []object{
			{"StreamName": "nosuch", "PartitionKey": "a", "Data": []byte(data)},
			{"StreamName": "plain", "PartitionKey": "", "Data": []byte(data)},
			{"StreamName": "plain", "PartitionKey": strings.Repeat("k", 300), "Data": []byte(data)},
			{"StreamName": "plain", "PartitionKey": "a", "Data": []byte(data), "ExplicitHashKey": "-1"},
			{"StreamName": "plain", "PartitionKey": "a", "Data": []byte(strings.Repeat(data, 1<<16))},
		} {
			err := s.kinesis(context.Background(), "PutRecord", in, nil)
			if err == nil {
				s.t.Errorf("refused record %d was taken", i)
				continue
			}
			outputs[fmt.Sprintf("refusal %d of %s", i, what)] = []byte(err.Error())
		}
		_, body, _ := s.do("POST", "/v1/data/plain", object{"k": data}, "Content-Type", "application/cbor")
		outputs["refusal as CBOR of "+what] = body
		_, body, _ = s.do("POST", "/v1/data/plain?key=/nosuch", object{"k": data})
		outputs["refusal of a pointer of "+what] = body
	}
	for _, op := range []string{"DescribeStream", "DescribeStreamSummary", "ListShards", "ListTagsForStream"} {
		var out json.RawMessage
		s.kds(op, object{"StreamName": "sealed"}, &out)
		outputs[op] = out
	}
	for _, path := range []string{"/v1/data", "/v1/data/sealed", "/v1/data/plain", "/metrics"} {
		_, body, _ := s.do("GET", path, nil)
		outputs["with records GET "+path] = body
	}
}

// dataKeys opens what the server sealed: the keys that records are encrypted with, and
// that of iterators.
func dataKeys(t *testing.T, s *server, master string) map[string]string {
	t.Helper()
	raw, err := hex.DecodeString(master)
	if err != nil {
		t.Fatal(err)
	}
	key, err := auth.NewMasterKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	db, err := meta.Open(ctx, meta.Config{Path: filepath.Join(s.dir, "meta.db"), Schemas: []meta.Schema{auth.Schema(), datastream.Schema()}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	a, err := auth.Open(ctx, auth.Config{Meta: db, MasterKey: key})
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	c, err := datastream.Open(ctx, datastream.Config{Meta: db, Sealer: opened{a, keys}})
	if err != nil {
		t.Fatal(err)
	}
	st, err := c.Get(ctx, auth.DefaultAccount, "us-east-1", "sealed")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Key(ctx, st.Info().ID); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Secret(ctx, "iterator"); err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 {
		t.Fatalf("%d keys were opened", len(keys))
	}
	return keys
}

// opened notes what is unsealed.
type opened struct {
	*auth.Authority
	keys map[string]string
}

// Unseal is the Authority's.
func (o opened) Unseal(where string, sealed []byte) ([]byte, error) {
	plain, err := o.Authority.Unseal(where, sealed)
	o.keys["key of "+where] = string(plain)
	return plain, err
}

func TestEverySignedPartOfAPutCounts(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.withData()
	body := []byte(`{"Data":"aGVsbG8=","PartitionKey":"a","StreamName":"` + goodData + `"}`)
	signed := func(at time.Time, body []byte) *http.Request {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.http+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecord")
		req.Header.Set("X-Amz-Meta", "signed too")
		s.signer.Sign(req, body, at)
		return req
	}
	send := func(req *http.Request, body []byte) *kinesisError {
		t.Helper()
		e, err := s.sendRaw(req, body)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := send(signed(time.Now(), body), body); e.Status != http.StatusOK {
		t.Fatalf("unaltered: %v", e)
	}
	refused, tries := 0, 0
	try := func(what string, req *http.Request, body []byte) {
		t.Helper()
		tries++
		if e := send(req, body); e.Status == http.StatusOK || e.Status >= 500 {
			t.Errorf("%s altered: %v", what, e)
		} else if strings.Contains(e.Type, "Signature") || strings.Contains(e.Type, "Client") || strings.Contains(e.Type, "Auth") {
			refused++
		}
	}
	now := time.Now
	for i := range body {
		altered := append([]byte(nil), body...)
		altered[i] ^= 1
		try(fmt.Sprintf("body byte %d", i), signed(now(), body), altered)
	}
	for _, name := range []string{"X-Amz-Date", "X-Amz-Meta", "Authorization", "Content-Type", "X-Amz-Target"} {
		for i := range signed(now(), body).Header.Get(name) {
			req := signed(now(), body)
			value := req.Header.Get(name)
			altered := []byte(value)
			if altered[i] ^= 1; altered[i] < ' ' || altered[i] == 0x7f || strings.EqualFold(string(altered), value) {
				continue // cannot be sent, or says the same
			}
			if strings.TrimSpace(string(altered)) != string(altered) {
				continue // net/http trims it
			}
			req.Header.Set(name, string(altered))
			if name == "Authorization" && sameSignature(value, string(altered)) {
				continue
			}
			try(fmt.Sprintf("%s byte %d (%q)", name, i, string(altered)), req, body)
		}
	}
	for what, change := range map[string]func(*http.Request){
		"method": func(r *http.Request) { r.Method = http.MethodPut }, "path": func(r *http.Request) { r.URL.Path = "/x" },
		"query": func(r *http.Request) { r.URL.RawQuery = "x=1" }, "host": func(r *http.Request) { r.Host = "localhost" },
	} {
		req := signed(now(), body)
		change(req)
		try(what, req, body)
	}
	var all struct{ Records []dataRecord }
	s.drain(goodData, "shardId-000000000000", "", func(r *dataRecord) { all.Records = append(all.Records, *r) })
	if len(all.Records) != 1 {
		t.Errorf("%d records were stored, one was sent as signed", len(all.Records))
	}
	t.Logf("%d alterations, %d refused for the signature, the others before it was looked at", tries, refused)
	if refused < 250 {
		t.Error("too few came as far as the signature")
	}
	// A clock that is wrong: the words that SDKs look for, and the Date that they correct theirs by.
	for _, skew := range []time.Duration{-6 * time.Minute, 6 * time.Minute} {
		e := send(signed(now().Add(skew), body), body)
		if e.Type != "InvalidSignatureException" || !strings.Contains(e.Message, "Signature ") {
			t.Errorf("a clock that is %v off: %v", skew, e)
		}
	}
	for _, skew := range []time.Duration{-4 * time.Minute, 4 * time.Minute} {
		if e := send(signed(now().Add(skew), body), body); e.Status != http.StatusOK {
			t.Errorf("a clock that is %v off: %v", skew, e)
		}
	}
}

// sameSignature reports whether two headers differ in nothing but what separates their
// parts.
func sameSignature(a, b string) bool {
	split := func(s string) string {
		return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' }), " ")
	}
	return split(a) == split(b)
}

// sendRaw sends a request that is signed already, or not at all, with a body.
func (s *server) sendRaw(req *http.Request, body []byte) (*kinesisError, error) {
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res, err := dataClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	e := &kinesisError{Status: res.StatusCode}
	if json.Unmarshal(answer, e) != nil || e.Type == "" {
		e.Message = string(answer)
	}
	return e, nil
}
