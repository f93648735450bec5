package kinesis

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"penstock/internal/deadline"
)

// BenchmarkPutRecordOverHTTP is a signed PutRecord of 1 KiB with all that net/http does for
// it, over many connections with one request under way each. Beside allocations, which are
// the server's alone but for one of the client's, it says the processor time of both: the
// client writes a request that is ready, and reads no more than it must.
func BenchmarkPutRecordOverHTTP(b *testing.B) {
	r := newRig(b, options{clock: &handClock{}})
	r.ok("CreateStream", `{"StreamName":"s","ShardCount":4}`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: r.server, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ConnContext: deadline.NewContext}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(deadline.Listen(l)) }()
	defer func() {
		_ = srv.Close()
		<-served
	}()
	body := fmt.Sprintf(`{"StreamName":"s","Data":%q,"PartitionKey":"key-1"}`, base64.StdEncoding.EncodeToString(make([]byte, 1024)))
	q := r.request(context.Background(), r.admin, "PutRecord", jsonType, []byte(body))
	var wire bytes.Buffer
	if err := q.Write(&wire); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	before := processorTime()
	b.ResetTimer()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		from := bufio.NewReader(c)
		for pb.Next() {
			if _, err := c.Write(wire.Bytes()); err != nil {
				b.Error(err)
				return
			}
			if err := answered(from); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
}

// answered reads one answer, which is to be a success with a length.
func answered(from *bufio.Reader) error {
	length := 0
	for first := true; ; first = false {
		line, err := from.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")):
			return fmt.Errorf("answered %q", line)
		case len(line) == 2:
			_, err := from.Discard(length)
			return err
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			for _, c := range bytes.TrimSpace(line[len("Content-Length: "):]) {
				length = length*10 + int(c-'0')
			}
		}
	}
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
