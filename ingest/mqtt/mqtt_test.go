package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/internal/repotest"
)

func TestMessagesAreRecords(t *testing.T) {
	r := newRig(t)
	c := r.must("meter-1", r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal())
	for qos, topic := range []string{"home/kitchen/temperature", "home/bath", "home"} {
		if code, words, err := publish(t, c, topic, byte(qos), fmt.Sprint("qos", qos)); err != nil || code != 0 {
			t.Errorf("%s: code %#x %s %v", topic, code, words, err)
		}
	}
	if got := sorted(r.held("home")); got != "bath=qos1 kitchen/temperature=qos0 meter-1=qos2" {
		t.Errorf("there is %s", got)
	}
}

func TestOrderIsKeptAndAcksMeanStored(t *testing.T) {
	r := newRig(t)
	c := r.must("m", r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal())
	const each = 200
	var all sync.WaitGroup
	for k := range 4 {
		all.Go(func() {
			for n := range each {
				if code, _, err := publish(t, c, fmt.Sprint("s/k", k), byte(1+n%2), fmt.Sprint(n)); err != nil || code != 0 {
					t.Errorf("%d: %#x %v", n, code, err)
					return
				}
			}
		})
	}
	all.Wait()
	next := map[string]int{}
	for _, line := range r.held("s") {
		key, text, _ := strings.Cut(line, "=")
		if text != fmt.Sprint(next[key]) {
			t.Fatalf("%s after %d", line, next[key])
		}
		next[key]++
	}
	for k := range 4 {
		if next[fmt.Sprint("k", k)] != each {
			t.Errorf("key %d has %d", k, next[fmt.Sprint("k", k)])
		}
	}
}

func TestWhoMayNotHearsWhy(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Topics = []Rule{{Topic: "secret/#"}, {Topic: "factory/+/machine/#", Stream: "factory-$1", Key: "$2"}}
	})
	narrow := r.must("n", r.key(auth.NewKey{Role: auth.RoleProducer, Streams: []string{"mine", "factory-*"}}).Token.Reveal())
	viewer := r.must("v", r.key(auth.NewKey{Role: auth.RoleViewer}).Token.Reveal())
	for _, c := range []struct {
		as    *paho.Client
		topic string
		code  byte
		words string
	}{
		{narrow, "mine/a", 0, ""},
		{narrow, "other/a", 0x87, "may not create it"},
		{viewer, "mine/a", 0x87, "no such data stream"},
		{narrow, "secret/a/b", 0x87, "settings refuse"},
		{narrow, "bad name/x", 0x90, "letters, digits"},
		{narrow, "mine/" + strings.Repeat("k", 300), 0x90, "256 characters"},
		{narrow, "factory/north/machine/7/axis", 0, ""},
		{narrow, "mine/again", 0, ""}, // the connection goes on
	} {
		code, words, _ := publish(t, c.as, c.topic, 1, "x")
		if code != c.code || !strings.Contains(words, c.words) {
			t.Errorf("%s: %#x %q", c.topic, code, words)
		}
	}
	if got := sorted(r.held("factory-north")); got != "7/axis=x" {
		t.Errorf("the rule made %s", got)
	}
	if got := sorted(r.held("mine")); got != "a=x again=x" {
		t.Errorf("mine holds %s", got)
	}
}

func TestSubscriptionsAreRefusedWithAReason(t *testing.T) {
	r := newRig(t)
	c := r.must("m", r.key(auth.NewKey{Role: auth.RoleAdmin}).Token.Reveal())
	ack, _ := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "a/b", QoS: 1}}})
	if ack == nil || ack.Reasons[0] != 0x87 || ack.Properties == nil || !strings.Contains(ack.Properties.ReasonString, "/tail") {
		t.Errorf("got %+v", ack)
	}
}

func TestSigningIn(t *testing.T) {
	r := newRig(t)
	check(t, r.auth.SetPassword(t.Context(), auth.AdminName, "correct horse battery"))
	for name, c := range map[string]struct {
		user, password string
		ok             bool
	}{
		"a token":       {"x", r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal(), true},
		"a person":      {auth.AdminName, "correct horse battery", true},
		"a wrong token": {"x", "pst_nonsense", false},
		"nothing":       {"", "", false},
	} {
		_, ack, err := r.client("id-"+name, "", func(_ *paho.ClientConfig, cp *paho.Connect) {
			cp.Username, cp.Password = c.user, []byte(c.password)
			cp.UsernameFlag, cp.PasswordFlag = c.user != "", c.password != ""
		})
		if (err == nil) != c.ok || !c.ok && (ack == nil || ack.ReasonCode != 0x86) {
			t.Errorf("%s: %v %+v", name, err, ack)
		}
	}
}

func TestARevokedKeyIsDisconnected(t *testing.T) {
	for _, published := range []bool{true, false} {
		r := newRig(t)
		issued := r.key(auth.NewKey{Role: auth.RoleProducer})
		told := make(chan byte, 1)
		c, _, err := r.client("m", issued.Token.Reveal(), func(cc *paho.ClientConfig, _ *paho.Connect) {
			cc.OnServerDisconnect = func(d *paho.Disconnect) { told <- d.ReasonCode }
		})
		check(t, err)
		if published {
			if _, _, err := publish(t, c, "s/k", 1, "x"); err != nil {
				t.Fatal(err)
			}
		}
		check(t, r.auth.RemoveKey(t.Context(), issued.ID))
		select {
		case code := <-told:
			if code != 0x87 {
				t.Errorf("told %#x", code)
			}
		case <-time.After(time.Minute):
			t.Error("still connected after a minute")
		}
	}
}

func TestTwoKeysMayUseOneIdentifier(t *testing.T) {
	r := newRig(t)
	a, b := r.key(auth.NewKey{Role: auth.RoleProducer, Name: "a"}), r.key(auth.NewKey{Role: auth.RoleProducer, Name: "b"})
	one, two := r.must("same", a.Token.Reveal()), r.must("same", b.Token.Reveal())
	for _, c := range []*paho.Client{one, two} {
		if code, _, err := publish(t, c, "s/k", 1, "x"); err != nil || code != 0 {
			t.Errorf("%#x %v", code, err)
		}
	}
}

func TestAWillIsARecord(t *testing.T) {
	r := newRig(t)
	token := r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal()
	conn, err := net.Dial("tcp", r.addr)
	check(t, err)
	c := paho.NewClient(paho.ClientConfig{Conn: conn, ClientID: "w"})
	_, err = c.Connect(t.Context(), &paho.Connect{ClientID: "w", CleanStart: true, KeepAlive: 30, Username: "u", UsernameFlag: true, Password: []byte(token), PasswordFlag: true,
		WillMessage: &paho.WillMessage{Topic: "s/status", Payload: []byte("gone"), QoS: 1, Retain: true}})
	check(t, err)
	check(t, conn.Close())
	<-c.Done()
	for late := time.Now().Add(time.Minute); sorted(r.held("s")) != "status=gone"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("there is %s", sorted(r.held("s")))
		}
	}
}

// TestWhatAShardRefusesWaits publishes more than a shard takes: nothing that was
// acknowledged is missing, and order is kept.
func TestWhatAShardRefusesWaits(t *testing.T) {
	r := newRig(t)
	st, err := r.data.Create(t.Context(), newNarrow)
	check(t, err)
	check(t, st.Settled(t.Context()))
	c := r.must("m", r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal())
	big := strings.Repeat("x", 200<<10)
	for n := range 8 { // 1.6 MiB into 1 MiB a second
		if code, words, err := publish(t, c, "narrow/k", 1, fmt.Sprint(n, big)); err != nil || code != 0 {
			t.Fatalf("%d: %#x %s %v", n, code, words, err)
		}
	}
	if got := r.held("narrow"); len(got) != 8 {
		t.Errorf("%d are there", len(got))
	}
}

func TestRawConnections(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxPacket = 4096 })
	token := r.key(auth.NewKey{Role: auth.RoleProducer, Streams: []string{"mine"}}).Token.Reveal()
	connect := func(version byte) []byte {
		body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', version, 0xc2, 0, 30}, 0, 1, 'c', 0, 1, 'u', 0, byte(len(token)))
		body = append(body, token...)
		return append([]byte{0x10, byte(len(body))}, body...)
	}
	pub := func(topic string, qos, id byte, data string) []byte {
		body := append([]byte{0, byte(len(topic))}, topic...)
		if qos > 0 {
			body = append(body, 0, id)
		}
		body = append(body, data...)
		return append([]byte{0x30 | qos<<1, byte(len(body))}, body...)
	}
	for name, c := range map[string]struct {
		send []byte
		want string // what is answered, in hexadecimal; then the end
		open bool
	}{
		"version 3.1.1 is acknowledged":    {append(connect(4), pub("mine/k", 1, 7, "x")...), "20020000" + "40020007", true},
		"version 3.1.1 with QoS 2":         {append(append(connect(4), pub("mine/k", 2, 8, "x")...), 0x62, 2, 0, 8), "20020000" + "50020008" + "70020008", true},
		"a refusal ends 3.1.1":             {append(connect(4), pub("other/k", 1, 7, "x")...), "20020000", false},
		"QoS 2 refused ends 3.1.1":         {append(connect(4), pub("other/k", 2, 7, "x")...), "20020000", false},
		"a refused QoS 0 is dropped":       {append(append(connect(4), pub("other/k", 0, 0, "x")...), 0xc0, 0), "20020000" + "d000", true},
		"a topic with a wildcard ends it":  {append(connect(4), pub("mine/+", 1, 7, "x")...), "20020000", false},
		"version 3.1 is too old":           {connect(3), "20020082", false},
		"no CONNECT first":                 {pub("mine/k", 1, 1, "x"), "", false},
		"a packet that is too large":       {append(connect(4), 0x30, 0xff, 0xff, 0xff, 0x7f), "20020000", false},
		"a subscription in 3.1.1":          {append(connect(4), 0x82, 8, 0, 9, 0, 3, 'a', '/', 'b', 1), "20020000" + "9003000980", true},
		"a first packet that is too large": {[]byte{0x10, 0xff, 0xff, 0xff, 0x7f}, "", false},
		"nonsense":                         {[]byte("GET / HTTP/1.1\r\n\r\n"), "", false},
	} {
		conn, err := net.Dial("tcp", r.addr)
		check(t, err)
		_, err = conn.Write(c.send)
		check(t, err)
		check(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
		got := make([]byte, len(c.want)/2)
		if _, err := io.ReadFull(conn, got); err != nil || fmt.Sprintf("%x", got) != c.want {
			t.Errorf("%s: answered %x, %v; want %s", name, got, err, c.want)
		}
		if c.open {
			_, err = conn.Write([]byte{0xc0, 0})
			check(t, err)
			pong := make([]byte, 2)
			if _, err := io.ReadFull(conn, pong); err != nil || pong[0] != 0xd0 {
				t.Errorf("%s: then a ping is answered %x, %v", name, pong, err)
			}
		} else if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: then %d bytes, %v; want the end", name, n, err)
		}
		check(t, conn.Close())
	}
}

func TestOverTLS(t *testing.T) {
	cert := certificate(t)
	r := newRig(t, func(c *Config) {
		c.Address, c.TLSAddress, c.TLS = "", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}}
	})
	token := r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal()
	conn, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true})
	check(t, err)
	// The client's first ping would else be written into the middle of its first message.
	c := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn), ClientID: "t"})
	_, err = c.Connect(t.Context(), &paho.Connect{ClientID: "t", CleanStart: true, KeepAlive: 30, Username: "u", UsernameFlag: true, Password: []byte(token), PasswordFlag: true})
	check(t, err)
	if code, _, err := publish(t, c, "s/k", 1, "x"); err != nil || code != 0 {
		t.Errorf("%#x %v", code, err)
	}
	check(t, c.Disconnect(&paho.Disconnect{}))
	<-c.Done()
}

// TestMosquitto is a client that somebody else wrote, in both versions.
func TestMosquitto(t *testing.T) {
	tool := repotest.Need(t, "mosquitto_pub")
	r := newRig(t)
	host, port, err := net.SplitHostPort(r.addr)
	check(t, err)
	token := r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal()
	var want []string
	for _, version := range []string{"mqttv311", "mqttv5"} {
		for _, qos := range []string{"0", "1", "2"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			cmd := exec.CommandContext(ctx, tool, "-h", host, "-p", port, "-V", version, "-u", "any", "-P", token, "-q", qos, "-t", "s/"+version+"/"+qos, "-l", "-i", "mosquitto")
			cmd.Stdin = strings.NewReader("one\ntwo\n")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s %s: %v\n%s", version, qos, err, out)
			}
			cancel()
			want = append(want, version+"/"+qos+"=one", version+"/"+qos+"=two")
		}
	}
	late := time.Now().Add(time.Minute)
	for sorted(r.held("s")) != sorted(want) && time.Now().Before(late) {
		time.Sleep(10 * time.Millisecond) // QoS 0 is not acknowledged
	}
	if got := sorted(r.held("s")); got != sorted(want) {
		t.Errorf("there is\n%s, want\n%s", got, sorted(want))
	}
}

func TestRulesAreChecked(t *testing.T) {
	for _, rule := range []Rule{{Topic: ""}, {Topic: "a/b+", Stream: "x"}, {Topic: "#/a", Stream: "x"}, {Topic: "a/+", Stream: "$2"}, {Topic: "a/+", Stream: "x", Key: "$x"}, {Topic: "a", Stream: "a$"}} {
		if _, err := compile([]Rule{rule}); err == nil {
			t.Errorf("%+v is taken", rule)
		}
	}
	rules, err := compile([]Rule{{Topic: "a/+/c/#", Stream: "$1", Key: "$2"}, {Topic: "x/#", Stream: "all", Key: "$1"}, {Topic: "+", Stream: "one", Key: "$1"}})
	check(t, err)
	s := &Server{topics: rules}
	for topic, want := range map[string]string{"a/b/c/d/e": "b d/e", "a/b/c": "b client", "x": "all client", "x/y/z": "all y/z", "q": "one q", "q/r": "q r", "a/b/d": "a b/d"} {
		stream, key, err := s.place(topic, "client")
		if got := stream + " " + key; err != nil || got != want {
			t.Errorf("%s means %s, want %s: %v", topic, got, want, err)
		}
	}
	for _, topic := range []string{"/a", "a b/c", "a/\xff"} {
		if _, _, err := s.place(topic, "client"); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", topic, err)
		}
	}
}

func FuzzPlace(f *testing.F) {
	f.Add("a/+/#", "$1", "$2", "a/b/c")
	f.Add("#", "x", "$1", "")
	f.Fuzz(func(t *testing.T, filter, stream, key, topic string) {
		rules, err := compile([]Rule{{Topic: filter, Stream: stream, Key: key}})
		if err != nil {
			return
		}
		name, k, err := (&Server{topics: rules}).place(topic, "c")
		if err == nil && (name == "" || k == "" || strings.ContainsAny(name, "/ ")) {
			t.Errorf("%q becomes %q %q", topic, name, k)
		}
	})
}

func TestConnectionsAndMessagesUnderWayAreBounded(t *testing.T) {
	r := newRig(t, func(c *Config) { c.MaxConnsPerAddress, c.InFlight, c.MaxPacket = 2, 5, 5000 })
	token := r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal()
	_, ack, err := r.client("one", token)
	check(t, err)
	if p := ack.Properties; p == nil || p.ReceiveMaximum == nil || *p.ReceiveMaximum != 5 || p.MaximumPacketSize == nil || *p.MaximumPacketSize != 5000 {
		t.Errorf("the client is told %+v", p)
	}
	r.must("two", token)
	conn, err := net.Dial("tcp", r.addr)
	check(t, err)
	defer conn.Close()
	check(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("a third connection from one address is let in")
	} else if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
		t.Error("a third connection from one address is held open")
	}
}

// TestAClientThatSendsFastIsHeldUpNotDropped sends far more than may be under way, in
// version 3.1.1, which knows no such limit.
func TestAClientThatSendsFastIsHeldUpNotDropped(t *testing.T) {
	r := newRig(t, func(c *Config) { c.InFlight = 4 })
	token := r.key(auth.NewKey{Role: auth.RoleProducer}).Token.Reveal()
	conn, err := net.Dial("tcp", r.addr)
	check(t, err)
	defer conn.Close()
	body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0xc2, 0, 30, 0, 1, 'c', 0, 1, 'u', 0, byte(len(token))}, token...)
	send := append([]byte{0x10, byte(len(body))}, body...)
	const n = 2000
	for i := range n {
		send = append(send, 0x32, 9, 0, 3, 's', '/', 'k', byte((i+1)>>8), byte(i+1), 'x', 'y')
	}
	go func() { _, _ = conn.Write(send) }() // what does not arrive is missing below
	check(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	got := make([]byte, 4+4*n)
	_, err = io.ReadFull(conn, got)
	check(t, err)
	for i := range n {
		if ack := got[4+4*i:]; ack[0] != 0x40 || int(ack[2])<<8|int(ack[3]) != i+1 {
			t.Fatalf("acknowledgement %d is %x", i, ack[:4])
		}
	}
	if held := r.held("s"); len(held) != n {
		t.Errorf("%d are there", len(held))
	}
}
