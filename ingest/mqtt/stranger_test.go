package mqtt

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"penstock/auth"
)

// TestAStrangerIsGivenNoRoom promises a large first packet: the connection ends at the
// promise, before anything is kept of it.
func TestAStrangerIsGivenNoRoom(t *testing.T) {
	var log journal
	r := newRig(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	refused := 0
	for name, head := range map[string][]byte{
		"a mebibyte":          {0x10, 0x80, 0x80, 0x40},
		"33 KiB":              {0x10, 0x80, 0x88, 0x02},
		"a length that never": {0x10, 0x80, 0x80, 0x80, 0x80},
		"another packet":      {0x30, 0x80, 0x01},
	} {
		c, err := net.Dial("tcp", r.addr)
		check(t, err)
		check(t, c.SetDeadline(time.Now().Add(time.Minute)))
		_, err = c.Write(head)
		check(t, err)
		if got, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") || len(got) > 0 {
			t.Errorf("%s: %x, %v; want the end", name, got, err)
		}
		// It was told why before it was closed: it did not wait for the time to sign in.
		if refused++; strings.Count(log.String(), errGreeting.Error()) != refused {
			t.Errorf("%s: the door said %s", name, log.String())
		}
		check(t, c.Close())
	}
	will := strings.Repeat("w", 30<<10)
	_, _, err := r.client("w", r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal(), func(_ *paho.ClientConfig, c *paho.Connect) {
		c.WillMessage = &paho.WillMessage{Topic: "s/status", Payload: []byte(will)}
	})
	if err != nil {
		t.Errorf("a will of 30 KiB: %v", err)
	}
}

// TestARevokedKeysWillIsNoRecord removes the key of a client that left a will, with and
// without having published to its stream.
func TestARevokedKeysWillIsNoRecord(t *testing.T) {
	for _, published := range []bool{true, false} {
		r := newRig(t)
		witness := r.must("witness", r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal())
		if code, _, err := publish(t, witness, "s/first", 1, "x"); err != nil || code != 0 {
			t.Fatalf("%#x %v", code, err)
		}
		issued := r.key(auth.NewKey{Role: auth.RoleProducer})
		gone := make(chan struct{})
		c, _, err := r.client("w", issued.Token.Reveal(), func(cc *paho.ClientConfig, c *paho.Connect) {
			c.WillMessage = &paho.WillMessage{Topic: "s/status", Payload: []byte("from beyond"), QoS: 1}
			cc.OnServerDisconnect = func(*paho.Disconnect) { close(gone) }
		})
		check(t, err)
		want := "first=x"
		if published {
			if code, _, err := publish(t, c, "s/second", 1, "y"); err != nil || code != 0 {
				t.Fatalf("%#x %v", code, err)
			}
			want = "first=x second=y"
		}
		check(t, r.auth.RemoveKey(t.Context(), issued.ID))
		select {
		case <-gone:
		case <-time.After(time.Minute):
			t.Fatal("still connected after a minute")
		}
		// The session has ended, will and all, when the door counts one less.
		for late := time.Now().Add(time.Minute); r.inside() != 1; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(late) {
				t.Fatalf("%d sessions", r.inside())
			}
		}
		if got := sorted(r.held("s")); got != want {
			t.Errorf("there is %q, want %q", got, want)
		}
	}
}

// inside is how many connections the door has.
func (r *rig) inside() int {
	r.door.mu.Lock()
	defer r.door.mu.Unlock()
	return len(r.door.conns)
}
