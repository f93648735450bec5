package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/fxamacker/cbor/v2"

	"penstock/wire/sigv4"
)

// endpoint is a server of data streams: Penstock, or a peer that speaks the same wire.
type endpoint struct {
	address string // host and port
	pid     int    // 0: not known, nothing is said about its process
	signer  sigv4.Signer
}

// codec is one of the two encodings of requests.
type codec struct {
	name, contentType string
	encode            func(any) ([]byte, error)
}

func codecs() (asJSON, asCBOR codec) {
	return codec{"JSON", "application/x-amz-json-1.1", json.Marshal}, codec{"CBOR", "application/x-amz-cbor-1.1", cbor.Marshal}
}

// body is an encoded request; its hash is made once, as it is sent often.
type body struct {
	bytes []byte
	hash  string
}

func newBody(c codec, request any) (body, error) {
	data, err := c.encode(request)
	return body{data, hashOf(data)}, err
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// conn is one connection that is kept. It does little, so that the generator leaves the
// machine to who is measured: requests are signed and sent with one writev, answers are
// read into one buffer.
type conn struct {
	to      *endpoint
	net     net.Conn
	in      *bufio.Reader
	request *http.Request // what is signed
	head    []byte
	answer  []byte // body of the last answer
	sent    int64  // bytes
}

// dial opens a connection; the end of ctx closes it.
func (e *endpoint) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	n, err := d.DialContext(ctx, "tcp", e.address)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+e.address+"/", nil)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	context.AfterFunc(ctx, func() { _ = n.Close() })
	return &conn{to: e, net: n, in: bufio.NewReaderSize(n, 64<<10), request: r}, nil
}

// call sends one request and reads its answer, which stands in c.answer until the next.
func (c *conn) call(op string, contentType string, b body) (status int, err error) {
	h := c.request.Header
	h.Set("Content-Type", contentType)
	h.Set("X-Amz-Target", "Kinesis_20131202."+op)
	c.to.signer.SignHash(c.request, b.hash, time.Now())
	c.head = fmt.Appendf(c.head[:0], "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", c.to.address, len(b.bytes))
	for name, v := range h {
		c.head = append(append(append(append(c.head, name...), ": "...), v[0]...), "\r\n"...)
	}
	c.head = append(c.head, "\r\n"...)
	both := net.Buffers{c.head, b.bytes}
	n, err := both.WriteTo(c.net)
	if c.sent += n; err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err
	}
	if n := res.ContentLength; n >= 0 {
		if int64(cap(c.answer)) < n {
			c.answer = make([]byte, n+n/8)
		}
		c.answer = c.answer[:n]
		_, err = io.ReadFull(res.Body, c.answer)
		return res.StatusCode, err
	}
	buf := bytes.NewBuffer(c.answer[:0])
	_, err = buf.ReadFrom(res.Body)
	c.answer = buf.Bytes()
	return res.StatusCode, err
}

// control makes one call in JSON, on a connection of its own. What is not a 200 is an error.
func (e *endpoint) control(ctx context.Context, op string, in, out any) error {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	c, err := e.dial(ctx)
	if err != nil {
		return err
	}
	asJSON, _ := codecs()
	b, err := newBody(asJSON, in)
	if err != nil {
		return err
	}
	status, err := c.call(op, asJSON.contentType, b)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %.300s", status, c.answer)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(c.answer, out)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// obj is a request.
type obj = map[string]any

// createStream returns the ARN of a new stream once it is active.
func (e *endpoint) createStream(ctx context.Context, name string, shards int) (arn string, err error) {
	if err := e.control(ctx, "CreateStream", obj{"StreamName": name, "ShardCount": shards}, nil); err != nil {
		return "", err
	}
	for {
		var d struct {
			StreamDescriptionSummary struct{ StreamStatus, StreamARN string }
		}
		if err := e.control(ctx, "DescribeStreamSummary", obj{"StreamName": name}, &d); err != nil {
			return "", err
		}
		if d.StreamDescriptionSummary.StreamStatus == "ACTIVE" {
			return d.StreamDescriptionSummary.StreamARN, nil
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return "", ctx.Err()
		}
	}
}

func (e *endpoint) deleteStream(ctx context.Context, name string) error {
	return e.control(ctx, "DeleteStream", obj{"StreamName": name, "EnforceConsumerDeletion": true}, nil)
}

// shards are the names of all shards of a stream that has at most 10,000.
func (e *endpoint) shards(ctx context.Context, stream string) (ids []string, err error) {
	in := obj{"StreamName": stream}
	for {
		var l struct {
			Shards    []struct{ ShardId string }
			NextToken string
		}
		if err := e.control(ctx, "ListShards", in, &l); err != nil {
			return nil, err
		}
		for _, s := range l.Shards {
			ids = append(ids, s.ShardId)
		}
		if l.NextToken == "" {
			return ids, nil
		}
		in = obj{"NextToken": l.NextToken}
	}
}

func (e *endpoint) iterator(ctx context.Context, stream, shard string) (string, error) {
	var out struct{ ShardIterator string }
	err := e.control(ctx, "GetShardIterator", obj{"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}, &out)
	return out.ShardIterator, err
}

// nextIterator finds the iterator in an answer of GetRecords without decoding the records.
func nextIterator(answer []byte, c codec) string {
	const key = "NextShardIterator"
	const near = 4 << 10 // it is at either end of the answer, which is large
	_, rest, ok := bytes.Cut(answer[max(0, len(answer)-near):], []byte(key))
	if !ok {
		_, rest, ok = bytes.Cut(answer[:min(near, len(answer))], []byte(key))
	}
	if !ok {
		return ""
	}
	if c.name == "JSON" {
		parts := bytes.SplitN(rest, []byte{'"'}, 4) // `": "`, the iterator
		if len(parts) < 4 {
			return ""
		}
		return string(parts[2])
	}
	n := 0
	switch {
	case len(rest) > 3 && rest[0] == 0x78:
		n, rest = int(rest[1]), rest[2:]
	case len(rest) > 3 && rest[0] == 0x79:
		n, rest = int(binary.BigEndian.Uint16(rest[1:])), rest[3:]
	}
	if n > len(rest) {
		return ""
	}
	return string(rest[:n])
}

// failed is how many records of a PutRecords were refused, by its answer.
func failed(answer []byte, c codec) (n int) {
	const key = "FailedRecordCount"
	i := bytes.LastIndex(answer, []byte(key))
	if i < 0 {
		return 0
	}
	rest := answer[i+len(key):]
	if c.name == "JSON" {
		_, _ = fmt.Sscanf(string(bytes.TrimLeft(rest[:min(len(rest), 16)], `": `)), "%d", &n)
		return n
	}
	if len(rest) > 0 && rest[0] != 0 {
		return 1 // or more
	}
	return 0
}

// recordsIn counts the records of an answer of GetRecords. Each has its data, so the next
// is that far away at least.
func recordsIn(answer []byte) (n int) {
	key := []byte("PartitionKey")
	for {
		i := bytes.Index(answer, key)
		if i < 0 {
			return n
		}
		n++
		answer = answer[min(len(answer), i+recordSize):]
	}
}
