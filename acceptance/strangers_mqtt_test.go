package acceptance

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
)

// speaksMQTT is a connection to the MQTT door of a server, signed in or not: err says how
// that went.
func speaksMQTT(ctx context.Context, address, client, user, password string) (c *paho.Client, ack *paho.Connack, err error) {
	conn, err := (&net.Dialer{Timeout: time.Minute}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, nil, err
	}
	c = paho.NewClient(paho.ClientConfig{Conn: conn, ClientID: client})
	in := &paho.Connect{ClientID: client, CleanStart: true, KeepAlive: 30, Username: user, UsernameFlag: user != "", Password: []byte(password), PasswordFlag: password != ""}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if ack, err = c.Connect(ctx, in); err != nil {
		_ = conn.Close()
		return nil, ack, err
	}
	return c, ack, nil
}

// publishMQTT publishes and waits for the acknowledgement.
func publishMQTT(ctx context.Context, c *paho.Client, topic string, data []byte) (*paho.PublishResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	go func() { // the library waits on where the server has hung up
		select {
		case <-c.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	return c.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: data})
}

// tryTopic publishes to names: as a topic, as a partition key, and from a client that is
// called so. What is refused may end the connection.
func (s *server) tryTopic(ctx context.Context, address, name string, taken func(string)) error {
	for _, topic := range []string{name, name + "/key", goodData + "/" + name} {
		c, _, err := speaksMQTT(ctx, address, name, "any", s.token)
		if err != nil {
			if c, _, err = speaksMQTT(ctx, address, mark, "any", s.token); err != nil {
				return fmt.Errorf("sign in: %w", err)
			}
		} else {
			taken("a client")
		}
		if res, err := publishMQTT(ctx, c, topic, []byte(name)); err == nil && res.ReasonCode < 0x80 {
			taken("a topic")
		}
		_ = c.Disconnect(&paho.Disconnect{}) // who was thrown out cannot leave
	}
	return nil
}

// strangerSpeaksMQTT tries the door without proof, and with proof that is none.
func (s *server) strangerSpeaksMQTT(t *testing.T, address string) {
	t.Helper()
	for _, proof := range [][2]string{{"", ""}, {"any", ""}, {"", "pst_guess"}, {"any", "pst_guess"}, {"admin", "guess"}, {s.signer.AccessKey, "guess"}} {
		c, ack, err := speaksMQTT(t.Context(), address, "stranger", proof[0], proof[1])
		if err == nil {
			t.Errorf("%q is let in", proof)
			_ = c.Disconnect(&paho.Disconnect{})
			continue
		}
		if ack != nil && ack.Properties != nil && strings.Contains(ack.Properties.ReasonString, "demo") {
			t.Errorf("%q hears %q", proof, ack.Properties.ReasonString)
		}
	}
	// Packets before, or instead of, CONNECT: a PUBLISH, a SUBSCRIBE, a PINGREQ, HTTP.
	for _, packet := range []string{"\x30\x0a\x00\x04demodata", "\x82\x09\x00\x01\x00\x04demo\x00", "\xc0\x00", "GET / HTTP/1.1\r\n\r\n"} {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(time.Minute)) // a fresh socket takes deadlines
		_, err = io.WriteString(c, packet)
		answer, _ := io.ReadAll(c) // until the server hangs up
		if err != nil || len(answer) > 64 || strings.Contains(string(answer), "demo") {
			t.Errorf("%q is answered %q %v", packet, answer, err)
		}
		_ = c.Close()
	}
}

// keepPublishing publishes until it is cut off.
func (s *server) keepPublishing(t *testing.T, address, stream, token string) <-chan struct{} {
	t.Helper()
	c, _, err := speaksMQTT(t.Context(), address, "leaving", "any", token)
	if err != nil {
		t.Fatalf("MQTT: %v", err)
	}
	if res, err := publishMQTT(t.Context(), c, stream+"/key", []byte("x")); err != nil || res.ReasonCode >= 0x80 {
		t.Fatalf("publish: %+v %v", res, err)
	}
	t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}) })
	return c.Done()
}
