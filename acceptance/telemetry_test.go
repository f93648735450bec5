package acceptance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"penstock/producer"
)

// telemetryCrashes is how many times TestTelemetryCrash kills the server:
// PENSTOCK_TELEMETRY_CRASHES, else 40 in CI and a short form elsewhere.
func telemetryCrashes(t *testing.T) int { return setting(t, "PENSTOCK_TELEMETRY_CRASHES", 40, 6) }

// said is what a source was told is stored: numbers from 0, each after the one before.
type said struct {
	key string
	mu  sync.Mutex
	n   int // the next number
}

func (s *said) next() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *said) stored() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
}

// TestTelemetryCrash kills the server under sources that publish by MQTT, put over plain
// HTTP, and use the producer library: what was acknowledged is there, in order by key.
func TestTelemetryCrash(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	s := start(t, "--mqtt", address)
	var sources []*said
	source := func(key string) *said {
		sources = append(sources, &said{key: key})
		return sources[len(sources)-1]
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var work sync.WaitGroup
	for i := range 3 {
		x := source(fmt.Sprint("mqtt-", i))
		work.Go(func() { publishing(ctx, address, s.token, x, byte(1+i%2)) })
	}
	for i := range 2 {
		x := source(fmt.Sprint("http-", i))
		work.Go(func() { posting(ctx, s, x) })
	}
	library := source("library")
	p, err := producer.New(producer.Config{Stream: "crash", Endpoint: "http://" + s.http, Life: -1, BackoffMax: 100 * time.Millisecond, BufferedTime: 5 * time.Millisecond,
		Credentials: producer.Static(s.signer.AccessKey, s.signer.Secret, ""), PendingBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	work.Go(func() { _ = p.Run(ctx) }) // ends with ctx
	work.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			_ = p.Put(ctx, producer.Record{Key: library.key, Data: []byte(fmt.Sprint(n))}, func(r producer.Result) {
				if r.Err == nil {
					library.stored()
				}
			})
			time.Sleep(200 * time.Microsecond)
		}
	})
	rng := rand.New(rand.NewPCG(8, 83))
	cycles := telemetryCrashes(t)
	for n := range cycles {
		atWork(s, sources)
		time.Sleep(time.Duration(rng.IntN(600)) * time.Millisecond) // the instant is the experiment
		s.kill()
		s.up()
		if n%5 == 4 || n == cycles-1 {
			settled(s, sources)
		}
		if t.Failed() {
			break
		}
	}
	stop()
	work.Wait()
	for _, x := range sources {
		t.Logf("%s: %d acknowledged in %d lives", x.key, x.next(), cycles+1)
	}
}

// atWork waits until each source was told of one more that is stored.
func atWork(s *server, sources []*said) {
	s.t.Helper()
	for _, x := range sources {
		n := x.next()
		s.until(x.key+" is at work", 20*time.Second, func() error {
			if x.next() == n {
				return fmt.Errorf("%d were acknowledged, as before", n)
			}
			return nil
		})
	}
}

// settled checks that everything that was acknowledged until now can be read.
func settled(s *server, sources []*said) {
	s.t.Helper()
	want := map[string]int{}
	for _, x := range sources {
		want[x.key] = x.next()
	}
	status, body, _ := s.do(http.MethodGet, "/v1/data/crash/tail?from=horizon&follow=no", nil)
	if status != http.StatusOK {
		s.t.Fatalf("tail: %d %s", status, body)
	}
	first, last := map[string]map[int]int{}, map[string]map[int]int{}
	for at := 0; len(body) > 0; at++ {
		line, rest, _ := bytes.Cut(body, []byte{'\n'})
		body = rest
		var e struct {
			Key  string
			JSON int
			Err  any `json:"error"`
		}
		if err := json.Unmarshal(line, &e); len(line) > 0 && (err != nil || e.Err != nil) {
			s.t.Fatalf("%v: %s", err, line)
		}
		if first[e.Key] == nil {
			first[e.Key], last[e.Key] = map[int]int{}, map[int]int{}
		}
		if _, seen := first[e.Key][e.JSON]; !seen {
			first[e.Key][e.JSON] = at
		}
		last[e.Key][e.JSON] = at
	}
	for key, n := range want {
		for i := range n {
			at, ok := first[key][i]
			if !ok {
				s.t.Errorf("%s: %d was acknowledged, of %d, and is lost", key, i, n)
				break
			}
			if i > 0 && (at < first[key][i-1] || last[key][i] < last[key][i-1]) {
				s.t.Errorf("%s: %d ran over %d", key, i, i-1)
				break
			}
		}
	}
}

// publishing publishes number after number, each again until it is acknowledged.
func publishing(ctx context.Context, address, token string, x *said, qos byte) {
	for ctx.Err() == nil {
		if err := publishLife(ctx, address, token, x, qos); err != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func publishLife(ctx context.Context, address, token string, x *said, qos byte) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := paho.NewClient(paho.ClientConfig{Conn: conn, ClientID: x.key, PacketTimeout: time.Minute})
	short, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := c.Connect(short, &paho.Connect{ClientID: x.key, CleanStart: true, KeepAlive: 30, Username: "u", UsernameFlag: true, Password: []byte(token), PasswordFlag: true}); err != nil {
		return err
	}
	life, over := context.WithCancel(ctx)
	defer over()
	context.AfterFunc(life, func() { conn.Close() })
	go func() { <-c.Done(); over() }() // Publish does not notice by itself
	for ctx.Err() == nil {
		short, cancel := context.WithTimeout(life, time.Minute)
		res, err := c.Publish(short, &paho.Publish{Topic: "crash/" + x.key, QoS: qos, Payload: []byte(fmt.Sprint(x.next()))})
		cancel()
		if err != nil || res.ReasonCode != 0 {
			return errors.Join(err, errors.New("not acknowledged"))
		}
		x.stored()
	}
	return c.Disconnect(&paho.Disconnect{})
}

// posting puts number after number over plain HTTP.
func posting(ctx context.Context, s *server, x *said) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.http+"/v1/data/crash?key="+x.key, strings.NewReader(fmt.Sprint(x.next())))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Bearer "+s.token)
		res, err := client.Do(req)
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		line, _ := bufio.NewReader(res.Body).ReadString('\n')
		res.Body.Close()
		if res.StatusCode == http.StatusOK && strings.Contains(line, `"sequence_number"`) {
			x.stored()
		}
	}
}
