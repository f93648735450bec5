package acceptance

import (
	"bufio"
	"bytes"
	"context"
	bin "encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"penstock/wire/eventstream"
)

// javaClient speaks as the AWS SDK for Java does, and so KCL, Flink and Spark: CBOR of
// indefinite lengths, blobs as byte strings, instants as tag 1 over milliseconds.
type javaClient struct {
	s      *server
	client *http.Client
	decode cbor.DecMode
}

// newJavaClient makes one that uses HTTP/2 with prior knowledge, as its asynchronous
// half does, or HTTP/1.1 as the other.
func newJavaClient(s *server, h2 bool) *javaClient {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(h2)
	transport.Protocols.SetHTTP1(!h2)
	s.t.Cleanup(transport.CloseIdleConnections)
	mode, err := cbor.DecOptions{DefaultMapType: nil, TimeTagToAny: cbor.TimeTagToRFC3339, DefaultByteStringType: nil}.DecMode()
	if err != nil {
		s.t.Fatal(err)
	}
	return &javaClient{s, &http.Client{Transport: transport}, mode}
}

// member is one member of a request, in the order in which it is sent.
type member struct {
	name  string
	value any
}

// javaCBOR writes a value as Jackson's generator does: maps and lists of unknown length.
func javaCBOR(dst []byte, value any) []byte {
	switch v := value.(type) {
	case []member:
		dst = append(dst, 0xbf)
		for _, m := range v {
			dst = javaCBOR(javaCBOR(dst, m.name), m.value)
		}
		return append(dst, 0xff)
	case [][]member:
		dst = append(dst, 0x9f)
		for _, e := range v {
			dst = javaCBOR(dst, e)
		}
		return append(dst, 0xff)
	case string:
		return append(cborHead(dst, 3, len(v)), v...)
	case []byte:
		return append(cborHead(dst, 2, len(v)), v...)
	case int:
		return cborHead(dst, 0, v)
	case time.Time:
		return bin.BigEndian.AppendUint64(append(dst, 0xc1, 0x1b), uint64(v.UnixMilli()))
	}
	panic(fmt.Sprintf("no CBOR for %T", value))
}

func cborHead(dst []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(dst, major<<5|byte(n))
	case n < 1<<8:
		return append(dst, major<<5|24, byte(n))
	case n < 1<<16:
		return bin.BigEndian.AppendUint16(append(dst, major<<5|25), uint16(n))
	}
	return bin.BigEndian.AppendUint32(append(dst, major<<5|26), uint32(n))
}

// millis is an instant as the SDK reads it: nothing else will do.
type millis int64

// UnmarshalCBOR takes tag 1 over an integer.
func (m *millis) UnmarshalCBOR(data []byte) error {
	var tag cbor.RawTag
	if err := cbor.Unmarshal(data, &tag); err != nil {
		return err
	}
	if tag.Number != 1 {
		return fmt.Errorf("tag %d", tag.Number)
	}
	var n uint64
	if err := cbor.Unmarshal(tag.Content, &n); err != nil {
		return err
	}
	*m = millis(n)
	return nil
}

// javaRecord is a record of an answer.
type javaRecord struct {
	ApproximateArrivalTimestamp  millis
	Data                         []byte
	PartitionKey, SequenceNumber string
	EncryptionType               string
}

// send signs and sends one call.
func (c *javaClient) send(ctx context.Context, op string, in []member) *http.Response {
	c.s.t.Helper()
	body := javaCBOR(nil, in)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.s.http+"/", bytes.NewReader(body))
	if err != nil {
		c.s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-cbor-1.1")
	req.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	c.s.signer.Sign(req, body, time.Now())
	res, err := c.client.Do(req)
	if err != nil {
		c.s.t.Fatalf("%s: %v", op, err)
	}
	return res
}

// call decodes the answer into out; nil: it has to be empty.
func (c *javaClient) call(op string, in []member, out any) {
	c.s.t.Helper()
	res := c.send(context.Background(), op, in)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.s.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/x-amz-cbor-1.1" {
		text, _ := cbor.Diagnose(body)
		c.s.t.Fatalf("%s: %s %s %s", op, res.Status, res.Header, text)
	}
	if out == nil {
		if len(body) != 0 {
			c.s.t.Errorf("%s answers %x", op, body)
		}
		return
	}
	if err := c.decode.Unmarshal(body, out); err != nil {
		c.s.t.Fatalf("%s: %v: %x", op, err, body)
	}
}

// refused asks for an exception.
func (c *javaClient) refused(op string, in []member, exception, message string) {
	c.s.t.Helper()
	res := c.send(context.Background(), op, in)
	defer res.Body.Close()
	var e struct {
		Type    string `cbor:"__type"`
		Message string `cbor:"message"`
	}
	body, err := io.ReadAll(res.Body)
	if err == nil {
		err = cbor.Unmarshal(body, &e)
	}
	if err != nil || res.StatusCode != http.StatusBadRequest || e.Type != exception || e.Message != message {
		c.s.t.Errorf("%s: %s %+v %v; not %s %s", op, res.Status, e, err, exception, message)
	}
}

func TestCBORClients(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP1", true: "HTTP2"}[h2], func(t *testing.T) {
			t.Parallel()
			s := start(t, "--shard-limits", "off")
			c := newJavaClient(s, h2)
			c.call("CreateStream", []member{{"StreamName", "java"}, {"ShardCount", 1}}, nil)
			s.active("java")
			javaRecords(c)
			javaErrors(c)
			javaEvents(c)
		})
	}
}

func javaRecords(c *javaClient) {
	t, before := c.s.t, time.Now().Add(-time.Second)
	var sum struct {
		StreamDescriptionSummary struct {
			StreamARN               string
			StreamCreationTimestamp millis
			OpenShardCount          int
		}
	}
	c.call("DescribeStreamSummary", []member{{"StreamName", "java"}}, &sum)
	if made := time.UnixMilli(int64(sum.StreamDescriptionSummary.StreamCreationTimestamp)); made.Before(before.Add(-time.Minute)) || made.After(time.Now()) || sum.StreamDescriptionSummary.OpenShardCount != 1 {
		t.Errorf("%+v", sum)
	}
	arn := sum.StreamDescriptionSummary.StreamARN
	var put struct{ ShardId, SequenceNumber string }
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	c.call("PutRecord", []member{{"StreamName", "java"}, {"Data", all}, {"PartitionKey", "ключ"}}, &put)
	batch := make([][]member, 500)
	for i := range batch {
		batch[i] = []member{{"Data", bytes.Repeat([]byte{byte(i)}, 1000+i)}, {"PartitionKey", fmt.Sprint(i)}}
	}
	var many struct {
		FailedRecordCount int
		Records           []struct{ ShardId, SequenceNumber string }
	}
	c.call("PutRecords", []member{{"Records", batch}, {"StreamARN", arn}}, &many)
	if many.FailedRecordCount != 0 || len(many.Records) != 500 {
		t.Fatalf("%+v", many)
	}
	var it struct{ ShardIterator string }
	c.call("GetShardIterator", []member{{"StreamARN", arn}, {"ShardId", "shardId-000000000000"}, {"ShardIteratorType", "AT_TIMESTAMP"}, {"Timestamp", before}}, &it)
	var records []javaRecord
	for len(records) < 501 {
		var page struct {
			Records            []javaRecord
			NextShardIterator  string
			MillisBehindLatest int64
		}
		c.call("GetRecords", []member{{"ShardIterator", it.ShardIterator}, {"Limit", 300}}, &page)
		if len(page.Records) == 0 {
			t.Fatalf("%d records, then none", len(records))
		}
		records, it.ShardIterator = append(records, page.Records...), page.NextShardIterator
	}
	first := records[0]
	if !bytes.Equal(first.Data, all) || first.PartitionKey != "ключ" || first.SequenceNumber != put.SequenceNumber {
		t.Errorf("the first record is %+v", first)
	}
	if arrived := time.UnixMilli(int64(first.ApproximateArrivalTimestamp)); arrived.Before(before) || arrived.After(time.Now().Add(time.Second)) {
		t.Errorf("it arrived at %v", arrived)
	}
	for i, r := range records[1:] {
		if r.SequenceNumber != many.Records[i].SequenceNumber || !bytes.Equal(r.Data, batch[i][0].value.([]byte)) {
			t.Fatalf("record %d is %+v", i, r)
		}
	}
}

func javaErrors(c *javaClient) {
	c.refused("DescribeStream", []member{{"StreamName", "none"}}, "ResourceNotFoundException", "Stream none under account 000000000000 not found.")
	c.refused("PutRecord", []member{{"StreamName", "java"}, {"PartitionKey", ""}, {"Data", []byte{}}}, "ValidationException",
		"1 validation error detected: Value '' at 'partitionKey' failed to satisfy constraint: Member must have length greater than or equal to 1")
	c.refused("GetRecords", []member{{"ShardIterator", "x"}}, "InvalidArgumentException", "Invalid ShardIterator.")
	c.refused("Nothing", []member{}, "UnknownOperationException", "")
}

// javaEvents subscribes, and sees records pushed as frames whose payload is CBOR.
func javaEvents(c *javaClient) {
	t := c.s.t
	var out struct {
		Consumer struct {
			ConsumerARN, ConsumerStatus string
			ConsumerCreationTimestamp   millis
		}
	}
	c.call("RegisterStreamConsumer", []member{{"StreamARN", "arn:aws:kinesis:us-east-1:000000000000:stream/java"}, {"ConsumerName", "kcl"}}, &out)
	c.s.until("the consumer is active", 20*time.Second, func() error {
		var d struct {
			ConsumerDescription struct{ ConsumerStatus string }
		}
		c.call("DescribeStreamConsumer", []member{{"ConsumerARN", out.Consumer.ConsumerARN}}, &d)
		if d.ConsumerDescription.ConsumerStatus != "ACTIVE" {
			return fmt.Errorf("%s", d.ConsumerDescription.ConsumerStatus)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience*30*time.Second)
	defer cancel()
	res := c.send(ctx, "SubscribeToShard", []member{{"ConsumerARN", out.Consumer.ConsumerARN}, {"ShardId", "shardId-000000000000"},
		{"StartingPosition", []member{{"Type", "LATEST"}}}})
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "application/vnd.amazon.eventstream" {
		t.Fatalf("%s %s", res.Status, res.Header)
	}
	frames := &frameReader{r: bufio.NewReader(res.Body)}
	if m := frames.next(t); m.Get(":message-type") != "event" || m.Get(":event-type") != "initial-response" {
		t.Fatalf("the first message is %v", m.Headers)
	}
	c.call("PutRecord", []member{{"StreamName", "java"}, {"Data", []byte("pushed")}, {"PartitionKey", "a"}}, &struct{}{})
	for {
		m := frames.next(t)
		if m.Get(":event-type") != "SubscribeToShardEvent" || m.Get(":content-type") != "application/x-amz-cbor-1.1" {
			t.Fatalf("a message is %v", m.Headers)
		}
		var e struct {
			Records                    []javaRecord
			ContinuationSequenceNumber string
			MillisBehindLatest         int64
		}
		if err := c.decode.Unmarshal(m.Payload, &e); err != nil {
			t.Fatal(err)
		}
		if len(e.Records) == 0 {
			continue // nothing yet: it says where we are
		}
		if string(e.Records[0].Data) != "pushed" || e.ContinuationSequenceNumber < e.Records[0].SequenceNumber {
			t.Errorf("%+v", e)
		}
		return
	}
}

// frameReader takes an event stream apart as it comes.
type frameReader struct{ r *bufio.Reader }

func (f *frameReader) next(t testing.TB) eventstream.Message {
	t.Helper()
	head, err := f.r.Peek(4)
	if err != nil {
		t.Fatal(err)
	}
	frame := make([]byte, bin.BigEndian.Uint32(head))
	if _, err := io.ReadFull(f.r, frame); err != nil {
		t.Fatal(err)
	}
	m, _, err := eventstream.Decode(frame)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The AWS SDK for JavaScript uses HTTP/2 with prior knowledge for every call of Kinesis,
// many of them side by side on one connection.
func TestJavaScriptClients(t *testing.T) {
	t.Parallel()
	s := start(t, "--shard-limits", "off")
	s.kds("CreateStream", object{"StreamName": "js", "ShardCount": 1}, nil)
	s.active("js")
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	signer := s.signer
	signer.Authority = true // it signs no host over HTTP/2
	answers := make(chan string)
	const calls = 50
	for i := range calls {
		go func() {
			body := fmt.Appendf(nil, `{"Data":"aGk=","PartitionKey":"%d","StreamName":"js"}`, i)
			req, err := http.NewRequest(http.MethodPost, "http://"+s.http+"/", bytes.NewReader(body))
			if err != nil {
				answers <- err.Error()
				return
			}
			for name, value := range map[string]string{
				"content-type": "application/x-amz-json-1.1", "x-amz-target": "Kinesis_20131202.PutRecord", "amz-sdk-request": "attempt=1; max=3",
				"x-amz-user-agent": "aws-sdk-js/3.900.0", "user-agent": "aws-sdk-js/3.900.0 ua/2.1 os/linux lang/js md/nodejs#20.20.2 api/kinesis#3.900.0",
			} {
				req.Header.Set(name, value)
			}
			signer.Sign(req, body, time.Now())
			res, err := transport.RoundTrip(req)
			if err != nil {
				answers <- err.Error()
				return
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			answers <- fmt.Sprint(res.Proto, " ", res.Status, " ", string(text), " ", err)
		}()
	}
	seen := map[string]bool{}
	for range calls {
		answer := <-answers
		var out struct{ SequenceNumber, ShardId string }
		text, ok := strings.CutPrefix(answer, "HTTP/2.0 200 OK ")
		if text, ok = strings.CutSuffix(text, " <nil>"); !ok || json.Unmarshal([]byte(text), &out) != nil || out.ShardId != "shardId-000000000000" {
			t.Errorf("the answer is %s", answer)
		}
		seen[out.SequenceNumber] = true
	}
	if len(seen) != calls {
		t.Errorf("%d sequence numbers for %d records", len(seen), calls)
	}
	var list struct{ StreamNames []string }
	s.kds("ListStreams", object{}, &list)
	if !slices.Equal(list.StreamNames, []string{"js"}) {
		t.Errorf("streams are %v", list.StreamNames)
	}
}
