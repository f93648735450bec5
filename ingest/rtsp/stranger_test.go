package rtsp

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestAStrangerSaysLittle sends what would have to be kept before anybody has signed in:
// headers in numbers, and a description in length.
func TestAStrangerSaysLittle(t *testing.T) {
	g := newGuard()
	s := serve(t, Config{Hub: newMemHub(), Authenticator: g})
	long := strings.Repeat("x", 1000)
	var headers strings.Builder
	for i := range 200 {
		fmt.Fprintf(&headers, "X-%d: %s\r\n", i, long)
	}
	for name, text := range map[string]string{
		"headers": "DESCRIBE rtsp://x/door RTSP/1.0\r\nCSeq: 1\r\n" + headers.String() + "\r\n",
		"body":    "ANNOUNCE rtsp://x/door RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat(long, 100),
		"frames":  strings.Repeat("$\x00\x03\xe8"+long, 100),
	} {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		_, _ = io.WriteString(c, text) // may be cut short: that is the point
		answer, _ := io.ReadAll(bufio.NewReader(c))
		if strings.Contains(string(answer), " 401 ") {
			t.Errorf("%s: read to the end before anybody signed in: %.100s", name, answer)
		}
		_ = c.Close()
	}
	if len(g.asked) > 0 {
		t.Errorf("%d questions were asked of who may call", len(g.asked))
	}
	// Who has signed in may say as much as before.
	w := dial(t, s, "door")
	signed := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(g.user+":"+g.password))
	w.record(signed)
	for i := range 100 {
		if code, why, _ := w.ask("GET_PARAMETER", w.base, "", "X-Long: "+long); code != 200 {
			t.Fatalf("GET_PARAMETER %d: %d %s", i, code, why)
		}
	}
}

// TestASessionIsItsConnections has another connection try each verb on a session that it
// knows the name of.
func TestASessionIsItsConnections(t *testing.T) {
	for _, transport := range []string{"RTP/AVP/TCP;unicast;interleaved=0-1;mode=record", "RTP/AVP;unicast;client_port=39990-39991;mode=record"} {
		h := newMemHub()
		s := serve(t, Config{Hub: h})
		w := dial(t, s, "door")
		w.ask("ANNOUNCE", w.base, testSDP, sdpType)
		if code, why, _ := w.ask("SETUP", w.base+"/trackID=0", "", "Transport: "+transport); code != 200 {
			t.Fatalf("SETUP: %d %s", code, why)
		}
		if code, why, _ := w.ask("RECORD", w.base, ""); code != 200 {
			t.Fatalf("RECORD: %d %s", code, why)
		}
		for _, verb := range []string{"SETUP", "RECORD", "PLAY", "PAUSE", "TEARDOWN"} {
			thief := dial(t, s, "door")
			thief.sess = w.sess
			uri, headers := thief.base, []string{}
			if verb == "SETUP" {
				uri, headers = uri+"/trackID=0", []string{"Transport: " + transport}
			}
			if code, why, _ := thief.ask(verb, uri, "", headers...); code == 200 {
				t.Errorf("%.11s: %s from another connection: %d %s", transport, verb, code, why)
			}
			if code, why, _ := w.ask("GET_PARAMETER", w.base, ""); code != 200 {
				t.Fatalf("%.11s: after another's %s the session answers %d %s", transport, verb, code, why)
			}
		}
	}
}
