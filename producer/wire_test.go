package producer

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fxamacker/cbor/v2"

	"penstock/wire/sigv4"
)

func clientOf(t http.RoundTripper) *http.Client { return &http.Client{Transport: t} }

type transport func(r *http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestOverASocketWithASignature sends both encodings to a server that checks them.
func TestOverASocketWithASignature(t *testing.T) {
	for _, inCBOR := range []bool{false, true} {
		f := newFake(2)
		f.check = func(r *http.Request, body []byte) error {
			s, err := sigv4.Parse(r)
			if err == nil && (s.AccessKey != "AKID" || s.Region != "eu-west-3" || s.Service != "kinesis") {
				t.Errorf("signed as %+v", s)
			}
			if err == nil {
				err = s.Verify("secret", s.Payload(body), time.Now())
			}
			if err != nil {
				t.Error(err)
			}
			return err
		}
		server := httptest.NewServer(f)
		p := start(t, f, Config{CBOR: inCBOR, Region: "eu-west-3", HTTP: clientOf(transport(func(r *http.Request) (*http.Response, error) {
			r.URL.Host = strings.TrimPrefix(server.URL, "http://")
			return server.Client().Transport.RoundTrip(r)
		}))})
		want := "\x00\xff quotes \" and \\ ünïcode"
		res, err := p.PutWait(t.Context(), Record{Key: "k \" \\ ü \u2028", Data: []byte(want), Hash: "12"})
		if err != nil || res.Sequence == "" || f.log[0].data != want || f.log[0].key != "k \" \\ ü \u2028" {
			t.Errorf("CBOR %v: %+v %v %+v", inCBOR, res, err, f.log)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		server.Close()
	}
}

func TestRequestsAreWhatTheServiceModelSays(t *testing.T) {
	records := []put{{key: "a", data: bytes.Repeat([]byte{1}, 70000)}, {key: strings.Repeat("k", 200), hash: "5"}}
	type request struct {
		StreamName, StreamARN string
		Records               []wireRecord
		MaxResults            int
		ShardFilter           struct{ Type string }
		NextToken             string
	}
	for name, c := range map[string]struct {
		codec  codec
		decode func([]byte, any) error
	}{"JSON": {(&wire{}).codec(), json.Unmarshal}, "CBOR": {(&wire{c: Config{CBOR: true}}).codec(), cbor.Unmarshal}} {
		var r request
		if err := c.decode(c.codec.putRecords("s", "", records), &r); err != nil || r.StreamName != "s" || len(r.Records) != 2 || !bytes.Equal(r.Records[0].Data, records[0].data) || r.Records[1].ExplicitHashKey != "5" {
			t.Errorf("%s: %v", name, err)
		}
		r = request{}
		if err := c.decode(c.codec.putRecords("", "arn:x", slices.Repeat(records[1:], 300)), &r); err != nil || r.StreamARN != "arn:x" || len(r.Records) != 300 {
			t.Errorf("%s by ARN: %v %+v", name, err, r)
		}
		r = request{}
		if err := c.decode(c.codec.listShards("s", "arn:x", ""), &r); err != nil || r.StreamName != "s" || r.StreamARN != "arn:x" || r.MaxResults != 1000 || r.ShardFilter.Type != "AT_LATEST" {
			t.Errorf("%s list: %v %+v", name, err, r)
		}
		r = request{}
		if err := c.decode(c.codec.listShards("s", "", "token"), &r); err != nil || r.StreamName != "" || r.NextToken != "token" {
			t.Errorf("%s next page: %v %+v", name, err, r)
		}
	}
}

func TestAWrongClockIsSetRightByTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		server := func() time.Time { return time.Now().Add(40 * time.Minute) }
		p := start(t, f, Config{HTTP: clientOf(transport(func(r *http.Request) (*http.Response, error) {
			at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
			if err != nil {
				return nil, err
			}
			if at.Before(server().Add(-5 * time.Minute)) {
				return &http.Response{StatusCode: 400, Header: http.Header{"Date": {server().UTC().Format(http.TimeFormat)}},
					Body: io.NopCloser(strings.NewReader(`{"__type":"InvalidSignatureException","message":"Signature expired: x is now earlier than y"}`))}, nil
			}
			return f.RoundTrip(r)
		}))})
		if _, err := p.PutWait(t.Context(), Record{Key: "k"}); err != nil {
			t.Error(err)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"FailedRecordCount":0,"Records":[{"ShardId":"s","SequenceNumber":"1"}]}`), 200, false)
	f.Add([]byte(`{"Shards":[{"ShardId":"s","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211455"}}]}`), 200, false)
	f.Add([]byte(`{"__type":"a#b","message":"c"}`), 400, false)
	f.Add([]byte{0xa1, 0x66, 'S', 'h', 'a', 'r', 'd', 's', 0x80}, 200, true)
	f.Fuzz(func(t *testing.T, body []byte, status int, inCBOR bool) {
		if status < 200 || status > 599 {
			return
		}
		w, err := newWire(Config{Stream: "s", Endpoint: "http://fake", Credentials: Static("a", "b", ""), CBOR: inCBOR, Timeout: time.Minute,
			HTTP: clientOf(transport(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}, nil
			}))})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := w.putRecords(context.Background(), make([]put, 1)); err == nil && (len(out) != 1 || out[0].code == "" && out[0].sequence == "") {
			t.Errorf("took %q for %v", body, out)
		}
		if m, err := w.listShards(context.Background()); err == nil {
			m.of(hashOf("x"))
			m.of(hash{})
		}
	})
}
