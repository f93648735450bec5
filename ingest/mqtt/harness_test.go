package mqtt

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"penstock/auth"
	"penstock/records"
	"penstock/streams/datastream"
	"penstock/streams/datastream/datastreamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a door with real floors below it.
type rig struct {
	t    testing.TB
	auth *auth.Authority
	data *datastream.Catalogue
	door *Server
	addr string
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	floors := datastreamtest.Open(t, nil)
	c := Config{Address: "127.0.0.1:0", Auth: floors.Auth, Catalogue: floors.Data, Region: auth.DefaultRegion, Registerer: prometheus.NewRegistry()}
	for _, f := range change {
		f(&c)
	}
	door, err := New(c)
	check(t, err)
	check(t, door.Open(t.Context()))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 2)
	for _, run := range []func(context.Context) error{floors.Auth.Run, door.Run} {
		go func() { ended <- run(ctx) }()
	}
	t.Cleanup(func() {
		stop()
		check(t, errors.Join(<-ended, <-ended))
	})
	return &rig{t, floors.Auth, floors.Data, door, door.Addrs()[0].String()}
}

func (r *rig) key(k auth.NewKey) auth.Issued {
	r.t.Helper()
	issued, err := r.auth.CreateKey(r.t.Context(), k)
	check(r.t, err)
	return issued
}

// client connects with MQTT 5.
func (r *rig) client(id, token string, more ...func(*paho.ClientConfig, *paho.Connect)) (*paho.Client, *paho.Connack, error) {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	check(r.t, err)
	conf := paho.ClientConfig{Conn: conn, ClientID: id}
	connect := &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 30, Username: "any", UsernameFlag: true, Password: []byte(token), PasswordFlag: true}
	for _, f := range more {
		f(&conf, connect)
	}
	c := paho.NewClient(conf)
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	ack, err := c.Connect(ctx, connect)
	if err == nil {
		r.t.Cleanup(func() { _ = c.Disconnect(&paho.Disconnect{}); <-c.Done() })
	} else {
		_ = conn.Close()
	}
	return c, ack, err
}

func (r *rig) must(id, token string) *paho.Client {
	r.t.Helper()
	c, _, err := r.client(id, token)
	check(r.t, err)
	return c
}

// publish publishes and returns the reason code of the acknowledgement.
func publish(t *testing.T, c *paho.Client, topic string, qos byte, data string) (byte, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := c.Publish(ctx, &paho.Publish{Topic: topic, QoS: qos, Payload: []byte(data)})
	if res == nil {
		return 0, "", err
	}
	words := ""
	if res.Properties != nil {
		words = res.Properties.ReasonString
	}
	return res.ReasonCode, words, err
}

// held is what a data stream holds, as key=data, sorted by nothing but its shards.
func (r *rig) held(name string) []string {
	r.t.Helper()
	st, err := r.data.Get(r.t.Context(), auth.DefaultAccount, auth.DefaultRegion, name)
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range st.Shards() {
		var p records.Position
		for {
			var page records.Page
			check(r.t, st.Read(r.t.Context(), s.ID, p, 0, 0, &page))
			for _, rec := range page.Records {
				out = append(out, rec.Key+"="+string(rec.Data))
			}
			if len(page.Records) == 0 {
				break
			}
			p = page.Next
		}
	}
	return out
}

func sorted(list []string) string {
	list = slices.Clone(list)
	slices.Sort(list)
	return strings.Join(list, " ")
}

// journal keeps what is logged.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// fuzzRig is a rig that writes what goes wrong into log.
func fuzzRig(f *testing.F, log io.Writer) *rig {
	return newRig(f, func(c *Config) {
		c.MaxConnsPerAddress = -1
		c.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))
	})
}
