package acceptance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// putTimes puts n records of 1 KiB, one after the other, and returns the 99th percentile,
// and the longest that the disk took for a write of the test's own after each.
func (s *server) putTimes(stream string, n int) (p99, disk time.Duration) {
	s.t.Helper()
	data := bytes.Repeat([]byte("x"), 1<<10)
	f, err := os.Create(filepath.Join(s.t.TempDir(), "own"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	pulse := s.machine()
	var all []time.Duration
	for range n {
		begin := time.Now()
		s.kds("PutRecord", object{"StreamName": stream, "PartitionKey": "a", "Data": data}, nil)
		all = append(all, pulse.Took(begin))
		begin = time.Now()
		_, err := f.Write(data)
		if err := errors.Join(err, f.Sync()); err != nil {
			s.t.Fatal(err)
		}
		disk = max(disk, pulse.Took(begin))
	}
	slices.Sort(all)
	return all[len(all)*99/100], disk
}

// stuck subscribes to the first shard of a stream, from its beginning, and never reads more than
// the head of the answer.
func (s *server) stuck(stream, name string) (stop func()) {
	s.t.Helper()
	var c struct{ Consumer struct{ ConsumerARN string } }
	s.kds("RegisterStreamConsumer", object{"StreamARN": dataARN(stream), "ConsumerName": name}, &c)
	small := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(16 << 10)
		}
		return conn, err
	}}
	body, err := json.Marshal(object{"ConsumerARN": c.Consumer.ConsumerARN, "ShardId": "shardId-000000000000", "StartingPosition": object{"Type": "TRIM_HORIZON"}})
	if err != nil {
		s.t.Fatal(err)
	}
	var res *http.Response
	s.until(name+" is let in", 10*time.Second, func() error { // it is CREATING for a moment
		req, err := http.NewRequest(http.MethodPost, "http://"+s.http+"/", bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", "Kinesis_20131202.SubscribeToShard")
		s.signer.Sign(req, body, time.Now())
		if res, err = small.RoundTrip(req); err != nil {
			return err
		}
		if res.StatusCode != http.StatusOK {
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			return fmt.Errorf("%d %s %w", res.StatusCode, text, err)
		}
		return nil
	})
	return func() { _ = res.Body.Close(); small.CloseIdleConnections() }
}

func TestReadersWhoNeverReadDoNotSlowAWriter(t *testing.T) {
	s := start(t, "--shard-limits", "off")
	s.cage(t, flooded)
	s.kds("CreateStream", object{"StreamName": "crash", "ShardCount": 1}, nil)
	s.active("crash")
	// More than all sockets between hold, so that everybody is stuck from the beginning.
	big := bytes.Repeat([]byte("y"), 512<<10)
	for range 32 {
		s.kds("PutRecord", object{"StreamName": "crash", "PartitionKey": "a", "Data": big}, nil)
	}
	s.putTimes("crash", 50)
	quiet, _ := s.putTimes("crash", 400)
	const readers = 20 // as many as a stream may have
	for i := range readers {
		defer s.stuck("crash", fmt.Sprint("stuck", i))()
	}
	busy, disk := s.putTimes("crash", 400)
	peak := s.peak(t)
	t.Logf("p99 of a put: %v alone, %v beside %d readers who do not read, the disk took up to %v; the server held %d MiB at most", quiet, busy, readers, disk, peak>>20)
	// On a machine that does much else, a few milliseconds times three say nothing.
	if most := max(3*quiet, 100*time.Millisecond) + disk; busy > most {
		t.Errorf("p99 of a put went from %v to %v, at most %v is fine", quiet, busy, most)
	}
	if peak > flooded {
		t.Errorf("the server held %d MiB, at most %d is fine", peak>>20, flooded>>20)
	}
}

// early sends a request whose answer may come before its body is through, and reads the
// answer whatever becomes of the body: http.Client takes a cut for the answer if it hears of
// that first.
func early(req *http.Request) (status int, text []byte, err error) {
	c, err := net.DialTimeout("tcp", req.URL.Host, time.Minute)
	if err != nil {
		return 0, nil, err
	}
	sent := make(chan struct{})
	defer func() {
		_ = c.Close() // ends what is being sent
		<-sent
	}()
	err = c.SetDeadline(time.Now().Add(patience * time.Minute))
	go func() {
		defer close(sent)
		_ = req.Write(c)
	}()
	if err != nil {
		return 0, nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err = io.ReadAll(res.Body)
	return res.StatusCode, text, err
}

func TestBodiesOfRecordsWithoutEndOrMeasure(t *testing.T) {
	s := start(t, "--shard-limits", "off")
	s.cage(t, flooded)
	s.withData()
	quiet, _ := s.putTimes(goodData, 200)
	// Chunks that never end, without any proof: whoever is nobody finds no room either.
	head := "Host: x\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.PutRecords\r\nTransfer-Encoding: chunked\r\n"
	chunk := "4000\r\n" + strings.Repeat(" ", 0x4000) + "\r\n"
	native := "POST /v1/data/" + goodData + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + s.token + "\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
	total := 0
	for _, f := range []struct {
		n           int
		first, more string
	}{
		{10, "POST / HTTP/1.1\r\n" + head + "\r\n", chunk}, {10, native, chunk},
		{50, "POST / HTTP/1.1\r\n" + head + "\r\n", "1\r\n \r\n"},
	} {
		n, stop := s.flood(t, f.n, s.http, f.first, f.more)
		total += n
		defer stop()
	}
	busy, disk := s.putTimes(goodData, 200)
	// Bodies that are too long: said in their head, or found out on the way.
	long := bytes.Repeat([]byte(" "), 17<<20)
	for _, c := range []struct {
		what, path, contains string
		status               int
		chunked              bool
	}{
		{"AWS", "/", "", http.StatusRequestEntityTooLarge, false}, {"AWS in chunks", "/", "", http.StatusRequestEntityTooLarge, true},
		{"native", "/v1/data/" + goodData, "longer than 16 MiB", http.StatusBadRequest, false}, {"native in chunks", "/v1/data/" + goodData, "longer than 16 MiB", http.StatusBadRequest, true},
	} {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.http+c.path, io.MultiReader(bytes.NewReader(long)))
		if err != nil {
			t.Fatal(err)
		}
		if !c.chunked {
			req.ContentLength = int64(len(long))
		}
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		if c.path == "/" {
			req.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecords")
			s.signer.Sign(req, long, time.Now())
		} else {
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Authorization", "Bearer "+s.token)
		}
		status, text, err := early(req)
		if err != nil || status != c.status || !strings.Contains(string(text), c.contains) {
			t.Errorf("%s: a body of 17 MiB is answered %d %q %v, want %d", c.what, status, text, err, c.status)
		}
	}
	peak := s.peak(t)
	t.Logf("p99 of a put: %v alone, %v beside %d bodies without end, the disk took up to %v; the server held %d MiB at most", quiet, busy, total, disk, peak>>20)
	if most := max(3*quiet, 300*time.Millisecond) + disk; busy > most {
		t.Errorf("p99 of a put went from %v to %v, at most %v is fine", quiet, busy, most)
	}
	if peak > flooded {
		t.Errorf("the server held %d MiB, at most %d is fine", peak>>20, flooded>>20)
	}
}
