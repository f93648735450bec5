package loadgen

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"penstock/internal/host"
)

// Signer proves who sends a request whose body has a hash, as sigv4.Signer does.
type Signer interface {
	SignHash(r *http.Request, hash string, now time.Time)
}

// Endpoint is a server of data streams that speaks the AWS wire.
type Endpoint struct {
	Address string    // host and port
	Host    string    // of requests; "": Address
	PID     int       // of its process on this machine; 0: not known, nothing is said about it
	Dial    host.Dial // nil: TCP, without TLS
	Signer  Signer
}

// Codec is one of the two encodings of requests.
type Codec struct {
	Name, ContentType string
	encode            func(any) ([]byte, error)
	decode            func([]byte, any) error
}

// JSON is what most clients send.
func JSON() Codec { return Codec{"JSON", "application/x-amz-json-1.1", json.Marshal, json.Unmarshal} }

// CBOR is what the SDKs for Java and the KPL send.
func CBOR() Codec { return Codec{"CBOR", "application/x-amz-cbor-1.1", cbor.Marshal, cbor.Unmarshal} }

// Body is an encoded request; its hash is made once, as it is sent often.
type Body struct {
	Bytes []byte
	hash  string
}

// NewBody encodes a request.
func NewBody(c Codec, request any) (Body, error) {
	data, err := c.encode(request)
	return BodyOf(data), err
}

// BodyOf is a request that is encoded already.
func BodyOf(data []byte) Body {
	sum := sha256.Sum256(data)
	return Body{data, hex.EncodeToString(sum[:])}
}

// Hash is what a signature covers.
func (b Body) Hash() string { return b.hash }

// Conn is one connection that is kept. It does little, so that the generator leaves the
// machine to who is measured: requests are signed and sent with one writev, answers are
// read into one buffer. It is not for sharing.
type Conn struct {
	Answer []byte // body of the last answer
	Sent   int64  // bytes

	to      *Endpoint
	host    string
	net     net.Conn
	in      *bufio.Reader
	request *http.Request // what is signed
	head    []byte
}

// Open opens a connection; the end of ctx closes it.
func (e *Endpoint) Open(ctx context.Context) (*Conn, error) {
	dial := e.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	n, err := dial(ctx, "tcp", e.Address)
	if err != nil {
		return nil, err
	}
	host := e.Host
	if host == "" {
		host = e.Address
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+"/", nil)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	context.AfterFunc(ctx, func() { _ = n.Close() })
	return &Conn{to: e, host: host, net: n, in: bufio.NewReaderSize(n, 64<<10), request: r}, nil
}

// Close ends the connection.
func (c *Conn) Close() error { return c.net.Close() }

// Call sends one request and reads its answer, which stands in c.Answer until the next.
func (c *Conn) Call(op string, contentType string, b Body) (status int, err error) {
	h := c.request.Header
	h.Set("Content-Type", contentType)
	h.Set("X-Amz-Target", "Kinesis_20131202."+op)
	c.to.Signer.SignHash(c.request, b.hash, time.Now())
	c.head = fmt.Appendf(c.head[:0], "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", c.host, len(b.Bytes))
	for name, v := range h {
		c.head = append(append(append(append(c.head, name...), ": "...), v[0]...), "\r\n"...)
	}
	c.head = append(c.head, "\r\n"...)
	both := net.Buffers{c.head, b.Bytes}
	n, err := both.WriteTo(c.net)
	if c.Sent += n; err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, err
	}
	if n := res.ContentLength; n >= 0 {
		if n > answerMax {
			return 0, fmt.Errorf("%s: an answer of %d bytes", op, n)
		}
		if int64(cap(c.Answer)) < n {
			c.Answer = make([]byte, n+n/8)
		}
		c.Answer = c.Answer[:n]
		_, err = io.ReadFull(res.Body, c.Answer)
		return res.StatusCode, err
	}
	buf := bytes.NewBuffer(c.Answer[:0])
	_, err = buf.ReadFrom(io.LimitReader(res.Body, answerMax))
	c.Answer = buf.Bytes()
	return res.StatusCode, err
}

// answerMax bounds an answer: GetRecords has at most 10 MiB of data, in base64.
const answerMax = 64 << 20

// Refusal is an answer of the service that is not 200.
type Refusal struct {
	Op, Code, Message string
	Status            int
}

// Error says what was asked and what was answered.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %d %s: %s", r.Op, r.Status, r.Code, r.Message)
}

// final reports whether the same call can never succeed; else it was too much at once.
func (r *Refusal) final() bool {
	if r.Status >= http.StatusInternalServerError || r.Status == http.StatusTooManyRequests {
		return false
	}
	for _, word := range []string{"ThroughputExceeded", "LimitExceeded", "Throttl"} {
		if strings.Contains(r.Code, word) {
			return false
		}
	}
	return true
}

// refusal reads an answer that is not 200.
func refusal(op string, status int, answer []byte) *Refusal {
	var body struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
		Upper   string `json:"Message"`
	}
	r := &Refusal{Op: op, Status: status}
	if json.Unmarshal(answer, &body) != nil && cbor.Unmarshal(answer, &body) != nil {
		r.Code, r.Message = "no AWS answer", fmt.Sprintf("%.200q", answer)
		return r
	}
	if r.Code, r.Message = body.Type, body.Message; r.Message == "" {
		r.Message = body.Upper
	}
	return r
}

// controlPatience bounds one call of the control plane.
const controlPatience = time.Minute

// Control makes one call in JSON, on a connection of its own. What is not a 200 is a *Refusal.
func (e *Endpoint) Control(ctx context.Context, op string, in, out any) error {
	ctx, stop := context.WithTimeout(ctx, controlPatience)
	defer stop()
	c, err := e.Open(ctx)
	if err != nil {
		return err
	}
	b, err := NewBody(JSON(), in)
	if err != nil {
		return err
	}
	status, err := c.Call(op, JSON().ContentType, b)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if status != http.StatusOK {
		return refusal(op, status, c.Answer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(c.Answer, out); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// Obj is a request.
type Obj = map[string]any

// CreateStream returns the ARN of a new stream once it is active. Shards 0: on demand.
func (e *Endpoint) CreateStream(ctx context.Context, name string, shards int) (arn string, err error) {
	in := Obj{"StreamName": name, "ShardCount": shards}
	if shards == 0 {
		in = Obj{"StreamName": name, "StreamModeDetails": Obj{"StreamMode": "ON_DEMAND"}}
	}
	if err := e.Control(ctx, "CreateStream", in, nil); err != nil {
		return "", err
	}
	for {
		d, err := e.Describe(ctx, name)
		if err != nil {
			return "", err
		}
		if d.StreamStatus == "ACTIVE" {
			return d.StreamARN, nil
		}
		if !Sleep(ctx, 20*time.Millisecond) {
			return "", ctx.Err()
		}
	}
}

// Summary is what DescribeStreamSummary tells.
type Summary struct {
	StreamStatus, StreamARN string
	OpenShardCount          int
}

// Describe asks for a stream's summary.
func (e *Endpoint) Describe(ctx context.Context, name string) (Summary, error) {
	var d struct{ StreamDescriptionSummary Summary }
	err := e.Control(ctx, "DescribeStreamSummary", Obj{"StreamName": name}, &d)
	return d.StreamDescriptionSummary, err
}

// DeleteStream deletes a stream and its consumers.
func (e *Endpoint) DeleteStream(ctx context.Context, name string) error {
	return e.Control(ctx, "DeleteStream", Obj{"StreamName": name, "EnforceConsumerDeletion": true}, nil)
}
