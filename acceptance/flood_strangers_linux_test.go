package acceptance

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// greed is a way to have a server keep something before one has said who one is. begin
// says the first words on a connection, which is then held.
type greed struct {
	name    string
	conns   int
	address string
	begin   func(net.Conn) error
}

// promised writes a head and then all but the last byte of what it promises.
func promised(head string, size int) func(net.Conn) error {
	return func(c net.Conn) error {
		if _, err := io.WriteString(c, head); err != nil {
			return err
		}
		blob := bytes.Repeat([]byte("x"), 256<<10)
		for left := size - 1; left > 0; left -= len(blob) {
			if _, err := c.Write(blob[:min(left, len(blob))]); err != nil {
				return err
			}
		}
		return nil
	}
}

// unread asks for the console n times over HTTP/2, with long headers, and takes no data.
func unread(n int) func(net.Conn) error {
	return func(c net.Conn) error {
		go func() { _, _ = io.Copy(io.Discard, c) }() // until it is closed
		if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
			return err
		}
		f := http2.NewFramer(c, strings.NewReader(""))
		if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
			return err
		}
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for i := range n {
			b.Reset()
			for _, h := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/"}, {"x-long", strings.Repeat("x", 8000)}} {
				if err := e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
					return err
				}
			}
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: b.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
				return err
			}
		}
		return nil
	}
}

// TestStrangersFillNoMemory has strangers begin what is large in each protocol, at once,
// from one address, against a server in 512 MiB.
func TestStrangersFillNoMemory(t *testing.T) {
	mqtt := freeAddress(t)
	s := start(t, "--demo", "--mqtt", mqtt)
	s.cage(t, flooded)
	recorded(s, "demo", 1)
	aws := "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.PutRecords\r\nX-Amz-Date: 20260101T000000Z\r\n" +
		"Authorization: AWS4-HMAC-SHA256 Credential=PSAKNOBODY/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=" + strings.Repeat("0", 64) + "\r\n"
	_, id := s.issue(t, object{"role": "producer"}) // an id is no secret
	known := strings.Replace(aws, "PSAKNOBODY", id, 1)
	headers := "DESCRIBE rtsp://x/demo RTSP/1.0\r\nCSeq: 1\r\n"
	for i := range 200 {
		headers += fmt.Sprintf("X-%d: %s\r\n", i, strings.Repeat("x", 1900))
	}
	var held []net.Conn
	var mu sync.Mutex
	var wg sync.WaitGroup
	dialer := net.Dialer{Timeout: time.Minute, LocalAddr: &net.TCPAddr{IP: net.ParseIP(stranger)}}
	for _, g := range []greed{
		{"bodies of PutRecords", 64, s.http, promised(aws+"Content-Length: 16777216\r\n\r\n", 16<<20)},
		{"bodies of PutRecords that name a key", 48, s.http, promised(known+"Content-Length: 16777216\r\n\r\n", 16<<20)},
		{"bodies of /v1/data that name a key", 24, s.http, promised(strings.Replace(known, "POST / ", "POST /v1/data/gate ", 1)+"Content-Length: 16777216\r\n\r\n", 16<<20)},
		{"bodies of /v1/data", 32, s.http, promised(strings.Replace(aws, "POST / ", "POST /v1/data/gate ", 1)+"Transfer-Encoding: chunked\r\n\r\n1000000\r\n", 16<<20)},
		{"unread answers over HTTP/2", 1000, s.http, unread(250)},
		{"CONNECT of MQTT", 900, mqtt, promised("\x10\x80\x80\x40\x00\x04MQTT\x04\xc2\x00\x3c", 1<<20-10)},
		{"headers of RTSP", 900, s.rtsp, promised(headers, 1)},
		{"descriptions by RTSP", 900, s.rtsp, promised("ANNOUNCE rtsp://x/demo RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 100000\r\n\r\n", 100_000)},
	} {
		began, room := time.Now(), make(chan struct{}, 64)
		for range g.conns {
			c, err := dialer.Dial("tcp", g.address)
			if err != nil {
				t.Fatalf("%s: %v", g.name, err)
			}
			mu.Lock()
			held = append(held, c)
			mu.Unlock()
			_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
			room <- struct{}{}
			wg.Go(func() {
				_ = g.begin(c) // to be refused is what is wanted
				<-room
			})
		}
		wg.Wait()
		t.Logf("%s: %d connections in %v, peak of memory %d MiB", g.name, g.conns, time.Since(began).Round(time.Millisecond), s.peak(t)>>20)
		if _, err := s.latencies(&http.Client{Timeout: patience * 30 * time.Second}, 5); err != nil {
			t.Fatalf("after %s a good client hears: %v", g.name, err)
		}
	}
	for _, c := range held {
		_ = c.Close()
	}
	if peak := s.peak(t); peak > flooded {
		t.Errorf("the server held %d MiB", peak>>20)
	}
}
