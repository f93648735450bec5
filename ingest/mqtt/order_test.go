package mqtt

import (
	"io"
	"net"
	"strings"
	"testing"

	"penstock/auth"
)

// TestAClientThatComesBackIsBehindWhatItSent sends more than a shard takes, hangs up and comes
// back: what it sends then is stored behind what waited.
func TestAClientThatComesBackIsBehindWhatItSent(t *testing.T) {
	r := newRig(t)
	st, err := r.data.Create(t.Context(), newNarrow)
	check(t, err)
	check(t, st.Settled(t.Context()))
	issued := r.key(auth.NewKey{Role: auth.RoleProducer})
	token := issued.Token.Reveal()
	conn, err := net.Dial("tcp", r.addr)
	check(t, err)
	defer conn.Close()
	say := func(packet byte, body string) {
		t.Helper()
		head := []byte{packet}
		for n := len(body); ; {
			b := byte(n & 0x7f)
			if n >>= 7; n > 0 {
				head = append(head, b|0x80)
				continue
			}
			head = append(head, b)
			break
		}
		_, err := io.WriteString(conn, string(head)+body)
		check(t, err)
	}
	text := func(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }
	say(0x10, text("MQTT")+"\x04\xc2\x00\x1e"+text("m")+text("any")+text(token))
	big := strings.Repeat("x", 200<<10)
	for n := range 8 { // 1.6 MiB into 1 MiB a second
		say(0x32, text("narrow/k")+string([]byte{0, byte(n + 1)})+big)
	}
	say(0xc0, "")
	for b := make([]byte, 1); b[0] != 0xd0; { // PINGRESP: all before is in
		_, err := io.ReadFull(conn, b)
		check(t, err)
	}
	name := auth.DefaultAccount + "/" + issued.ID + "/m"
	r.door.mu.Lock()
	first := r.door.newest[name]
	r.door.mu.Unlock()
	if first == nil {
		t.Fatalf("no session is called %s", name)
	}
	check(t, conn.Close())
	if code, words, err := publish(t, r.must("m", token), "narrow/k", 1, "last"); err != nil || code != 0 {
		t.Fatalf("%#x %s %v", code, words, err)
	}
	<-first.ended
	held := r.held("narrow")
	if len(held) < 2 || held[len(held)-1] != "k=last" {
		t.Errorf("%d records, the last is %.20s", len(held), held[len(held)-1])
	}
}
