package producer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"penstock/wire/sigv4"
)

// Key signs requests.
type Key struct{ AccessKey, Secret, SessionToken string }

// Credentials returns the key to sign with. It is asked before each request, by many at
// once, so that keys may be rotated.
type Credentials func(ctx context.Context) (Key, error)

// Static is one key for ever. session is empty but for temporary ones.
func Static(accessKey, secret, session string) Credentials {
	return func(context.Context) (Key, error) { return Key{accessKey, secret, session}, nil }
}

// Environment takes the key from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
// AWS_SESSION_TOKEN.
func Environment() Credentials {
	return func(context.Context) (Key, error) {
		k := Key{os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN")}
		if k.AccessKey == "" || k.Secret == "" {
			return k, errors.New("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")
		}
		return k, nil
	}
}

// ServiceError is a server's refusal.
type ServiceError struct {
	Code    string // ProvisionedThroughputExceededException, ...
	Message string
	Status  int // of HTTP; 0: of a record in a request that was taken
}

// Error returns "Code: Message".
func (e *ServiceError) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// throttling reports whether the server refused for now because of too much.
func throttling(err error) bool {
	var s *ServiceError
	if !errors.As(err, &s) {
		return false
	}
	switch s.Code {
	case "ProvisionedThroughputExceededException", "LimitExceededException", "ThrottlingException", "Throttling", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown", "KMSThrottlingException":
		return true
	}
	return s.Status == http.StatusTooManyRequests
}

// permanent reports whether the same request will be refused again.
func permanent(err error) bool {
	var s *ServiceError
	if !errors.As(err, &s) || throttling(err) || s.Status < 400 || s.Status >= 500 {
		return false
	}
	switch s.Code {
	case "ResourceNotFoundException", "ResourceInUseException", "RequestTimeoutException", "RequestTimeout", "RequestExpired", "RequestTimeTooSkewed":
		return false // a stream that is being made; a clock that is set right by the answer
	}
	return !skewed(s)
}

// ofContent reports whether a record of the request may be to blame.
func ofContent(err error) bool {
	var s *ServiceError
	if !errors.As(err, &s) {
		return false
	}
	switch s.Code {
	case "ValidationException", "InvalidArgumentException", "SerializationException":
		return true
	}
	return s.Status == http.StatusRequestEntityTooLarge
}

// skewed reports whether the server's clock differs from ours by too much.
func skewed(s *ServiceError) bool {
	return strings.HasPrefix(s.Message, "Signature expired") || strings.HasPrefix(s.Message, "Signature not yet current") || s.Code == "RequestTimeTooSkewed" || s.Code == "RequestExpired"
}

// wire speaks to the server.
type wire struct {
	c    Config
	url  string
	skew atomic.Int64 // the server's clock less ours, ns
}

func newWire(c Config) (*wire, error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("producer: Endpoint %q: not a URL such as https://host:port", c.Endpoint)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return &wire{c: c, url: u.String()}, nil
}

// answerMax bounds an answer: 500 results or 10,000 shards take less.
const answerMax = 16 << 20

// pagesMax bounds a list of shards, of 1000 each.
const pagesMax = 100

// call sends one request. A refusal is a *ServiceError.
func (w *wire) call(ctx context.Context, operation string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, w.c.Timeout)
	defer cancel()
	key, err := w.c.Credentials(ctx)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Amz-Target", "Kinesis_20131202."+operation)
	r.Header.Set("Content-Type", w.codec().mime)
	r.Header.Set("User-Agent", "penstock-producer")
	signer := sigv4.Signer{AccessKey: key.AccessKey, Secret: key.Secret, Token: key.SessionToken, Region: w.c.Region, Service: "kinesis"}
	signer.Sign(r, body, time.Now().Add(time.Duration(w.skew.Load())))
	res, err := w.c.HTTP.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, answerMax+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", operation, err)
	case len(text) > answerMax:
		return nil, fmt.Errorf("the answer of %s is longer than %d bytes", operation, answerMax)
	case res.StatusCode == http.StatusOK:
		return text, nil
	}
	return nil, w.refusal(res, text)
}

func (w *wire) refusal(res *http.Response, text []byte) error {
	e := &ServiceError{Status: res.StatusCode}
	var body struct {
		Type    string `json:"__type" cbor:"__type"`
		Message string `json:"message" cbor:"message"`
	}
	if err := w.codec().decode(text, &body); err == nil {
		e.Code, e.Message = body.Type[strings.LastIndexByte(body.Type, '#')+1:], body.Message
	}
	if e.Code == "" {
		e.Code = res.Status
	}
	if date, err := http.ParseTime(res.Header.Get("Date")); err == nil && skewed(e) {
		w.skew.Store(int64(time.Until(date)))
	}
	return e
}

// put is a record on the wire.
type put struct {
	key, hash string
	data      []byte
}

// answer is what the server says of a put: code is empty when it is stored.
type answer struct{ shard, sequence, code, message string }

func (w *wire) putRecords(ctx context.Context, records []put) ([]answer, error) {
	text, err := w.call(ctx, "PutRecords", w.codec().putRecords(w.c.Stream, w.c.ARN, records))
	if err != nil {
		return nil, err
	}
	var body struct {
		Records []struct{ ShardId, SequenceNumber, ErrorCode, ErrorMessage string }
	}
	if err := w.codec().decode(text, &body); err != nil {
		return nil, fmt.Errorf("read the answer of PutRecords: %w", err)
	}
	if len(body.Records) != len(records) {
		return nil, fmt.Errorf("the server answered %d of %d records", len(body.Records), len(records))
	}
	out := make([]answer, len(records))
	for i, r := range body.Records {
		out[i] = answer{r.ShardId, r.SequenceNumber, r.ErrorCode, r.ErrorMessage}
		if r.ErrorCode == "" && r.SequenceNumber == "" {
			return nil, errors.New("the server answered a record with neither a sequence number nor an error")
		}
	}
	return out, nil
}

// listShards reads the open shards.
func (w *wire) listShards(ctx context.Context) (*shardMap, error) {
	var list []shard
	next := ""
	for range pagesMax {
		text, err := w.call(ctx, "ListShards", w.codec().listShards(w.c.Stream, w.c.ARN, next))
		if err != nil {
			return nil, err
		}
		var body struct {
			NextToken string
			Shards    []struct {
				ShardId             string
				HashKeyRange        struct{ StartingHashKey, EndingHashKey string }
				SequenceNumberRange struct{ EndingSequenceNumber string }
			}
		}
		if err := w.codec().decode(text, &body); err != nil {
			return nil, fmt.Errorf("read the answer of ListShards: %w", err)
		}
		for _, s := range body.Shards {
			if s.SequenceNumberRange.EndingSequenceNumber != "" {
				continue // closed: a server that does not know the filter
			}
			from, err := parseHash(s.HashKeyRange.StartingHashKey)
			if err != nil {
				return nil, err
			}
			to, err := parseHash(s.HashKeyRange.EndingHashKey)
			if err != nil {
				return nil, err
			}
			list = append(list, shard{s.ShardId, from, to})
		}
		if next = body.NextToken; next == "" || len(body.Shards) == 0 {
			return newShardMap(list)
		}
	}
	return nil, fmt.Errorf("the list of shards has more than %d pages", pagesMax)
}
