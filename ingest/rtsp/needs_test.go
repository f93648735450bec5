package rtsp

import (
	"strings"
	"testing"
)

func TestCheckUDPTellsWhatAServerWouldTell(t *testing.T) {
	notice, err := CheckUDP(t.Context(), "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{c: Config{Address: "127.0.0.1:0"}}
	u, err := openUDP(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	u.release()
	if notice != u.notice || notice != "" && !strings.Contains(notice, "sysctl") {
		t.Errorf("%q, a server says %q", notice, u.notice)
	}
	if _, err := CheckUDP(t.Context(), "203.0.113.1"); err == nil {
		t.Error("ports of an address that is not ours are free")
	}
}
