package mqtt

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"penstock/auth"
)

// FuzzConnection sends bytes after a good CONNECT of version 3.1.1 or 5, or instead of it.
// The server answers or hangs up; it does not fall over, and serves the next.
func FuzzConnection(f *testing.F) {
	f.Add([]byte{0x32, 9, 0, 3, 's', '/', 'k', 0, 1, 'x', 'y'}, byte(4))
	f.Add([]byte{0x32, 10, 0, 3, 's', '/', 'k', 0, 1, 0, 'x', 'y'}, byte(5))
	f.Add([]byte{0x34, 9, 0, 3, 's', '/', 'k', 0, 1, 'x', 'y', 0x62, 2, 0, 1}, byte(4))
	f.Add([]byte{0x82, 9, 0, 9, 0, 0, 3, 'a', '/', 'b', 1}, byte(5))
	f.Add([]byte{0x30, 13, 0, 3, 's', '/', 'k', 3, 0x23, 0, 1, 'x', 0x30, 8, 0, 0, 3, 0x23, 0, 1, 'y', 'z'}, byte(5))
	f.Add([]byte{0xf0, 0, 0xe0, 0}, byte(5))
	f.Add([]byte{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 1, 0, 0}, byte(0))
	var log journal
	r := fuzzRig(f, &log)
	token := r.key(auth.NewKey{Role: auth.RoleProducer, Streams: []string{"s"}}).Token.Reveal()
	f.Fuzz(func(t *testing.T, data []byte, version byte) {
		conn, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute)) // a good connection takes one
		if version == 4 || version == 5 {
			body := []byte{0, 4, 'M', 'Q', 'T', 'T', version, 0xc2, 0, 30}
			if version == 5 {
				body = append(body, 0)
			}
			body = append(append(body, 0, 1, 'c', 0, 1, 'u', 0, byte(len(token))), token...)
			data = append(append([]byte{0x10, byte(len(body))}, body...), data...)
		}
		if _, err := conn.Write(data); err == nil {
			_ = conn.(*net.TCPConn).CloseWrite() // it may have hung up already
		}
		if _, err := io.Copy(io.Discard, conn); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Fatalf("no end after %x", data)
		}
		if strings.Contains(log.String(), "panic") {
			t.Fatalf("%x: %s", data, log.String())
		}
	})
}
