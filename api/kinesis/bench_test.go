package kinesis

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"penstock/auth"
)

// sink is an answer that nobody reads.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// call runs one signed request through the door, without a network, n times.
func benchmark(b *testing.B, r *rig, op, contentType string, body []byte) {
	b.Helper()
	q := r.request(context.Background(), r.admin, op, contentType, body)
	q.RemoteAddr = "127.0.0.1:1"
	q.Host = q.URL.Host
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	b.ResetTimer()
	reader := bytes.NewReader(body)
	for b.Loop() {
		reader.Reset(body)
		q.Body = io.NopCloser(reader)
		s := &sink{header: http.Header{}}
		r.server.ServeHTTP(s, q)
		if s.status != http.StatusOK {
			b.Fatal(s.status)
		}
	}
}

func BenchmarkAuthorize(b *testing.B) {
	r := newRig(b, options{clock: &handClock{}})
	p, err := r.auth.Bearer(context.Background(), r.admin.Token.Reveal(), "127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := r.auth.AuthorizeShared(p, auth.DataPutRecord, streamARN("s"), nil, auth.Context{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDescribeLimits is what a call costs that does nothing.
func BenchmarkDescribeLimits(b *testing.B) {
	benchmark(b, newRig(b, options{clock: &handClock{}}), "DescribeLimits", jsonType, []byte("{}"))
}

func BenchmarkPutRecord(b *testing.B) {
	r := newRig(b, options{clock: &handClock{}})
	r.ok("CreateStream", `{"StreamName":"s","ShardCount":4}`)
	body := fmt.Sprintf(`{"StreamName":"s","Data":%q,"PartitionKey":"key-1"}`, base64.StdEncoding.EncodeToString(make([]byte, 1024)))
	benchmark(b, r, "PutRecord", jsonType, []byte(body))
}

func BenchmarkPutRecords(b *testing.B) {
	r := newRig(b, options{clock: &handClock{}})
	r.ok("CreateStream", `{"StreamName":"s","ShardCount":4}`)
	var records []string
	for i := range 500 {
		records = append(records, fmt.Sprintf(`{"Data":%q,"PartitionKey":"key-%d"}`, base64.StdEncoding.EncodeToString(make([]byte, 1024)), i))
	}
	benchmark(b, r, "PutRecords", jsonType, []byte(`{"StreamName":"s","Records":[`+strings.Join(records, ",")+`]}`))
}

func BenchmarkGetRecords(b *testing.B) {
	r := newRig(b, options{clock: &handClock{}})
	r.ok("CreateStream", `{"StreamName":"s","ShardCount":1}`)
	var records []string
	for i := range 500 {
		records = append(records, fmt.Sprintf(`{"Data":%q,"PartitionKey":"key-%d"}`, base64.StdEncoding.EncodeToString(make([]byte, 1024)), i))
	}
	for range 10 {
		r.ok("PutRecords", `{"StreamName":"s","Records":[`+strings.Join(records, ",")+`]}`)
	}
	it := r.ok("GetShardIterator", `{"StreamName":"s","ShardId":"0","ShardIteratorType":"TRIM_HORIZON"}`)["ShardIterator"].(string)
	benchmark(b, r, "GetRecords", jsonType, []byte(fmt.Sprintf(`{"ShardIterator":%q}`, it)))
}
