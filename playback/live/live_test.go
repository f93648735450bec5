package live

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"penstock/internal/fault"
	"penstock/internal/host/hosttest"
	"penstock/media"
	"penstock/playback/internal/playtest"
	"penstock/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a viewer's socket.
type client struct {
	t    *testing.T
	conn *websocket.Conn
	text []message         // all text messages so far
	file map[uint16][]byte // media by subscription, the newest initialization section first
	last map[uint16]time.Time
	sync map[uint16]bool // whether the first part after it began with a sync sample
}

func open(t *testing.T, rig *playtest.Rig, c Config, query string) *client {
	t.Helper()
	c.Hub, c.Clock = rig.Hub, rig.Clock
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	authorize := func(_ context.Context, name string) (streams.Stream, error) {
		if name == "secret" {
			return streams.Stream{}, fault.New(fault.NotFound, "find stream", name, "no such stream").WithHint("ask the operator")
		}
		st := rig.Stream
		st.Name = name
		if name != rig.Stream.Name {
			st.ID = name
		}
		return st, nil
	}
	server := httptest.NewServer(playtest.Handler(func(w http.ResponseWriter, r *http.Request) error {
		return s.ServeSocket(w, r, rig.Stream, authorize)
	}))
	conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/ws"+query, nil)
	if err != nil {
		t.Fatalf("%v: %v", err, res)
	}
	t.Cleanup(func() { conn.Close(); server.Close() })
	return &client{t: t, conn: conn, file: map[uint16][]byte{}, last: map[uint16]time.Time{}, sync: map[uint16]bool{}}
}

// read takes messages until done says so.
func (c *client) read(done func() bool) {
	c.t.Helper()
	for !done() {
		if err := c.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			c.t.Fatal(err)
		}
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			c.t.Fatalf("after %+v: %v", c.text, err)
		}
		if kind == websocket.TextMessage {
			var m message
			if err := json.Unmarshal(data, &m); err != nil {
				c.t.Fatalf("%s: %v", data, err)
			}
			c.text = append(c.text, m)
			continue
		}
		id := binary.BigEndian.Uint16(data[2:])
		c.last[id] = time.UnixMicro(int64(binary.BigEndian.Uint64(data[4:])))
		switch data[0] {
		case kindInit:
			c.file[id] = append([]byte(nil), data[headerSize:]...)
			delete(c.sync, id)
		case kindMedia:
			if _, ok := c.sync[id]; !ok {
				c.sync[id] = data[1]&flagSync != 0
			}
			c.file[id] = append(c.file[id], data[headerSize:]...)
		default:
			c.t.Fatalf("a message of kind %d", data[0])
		}
	}
}

func (c *client) say(v string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(websocket.TextMessage, []byte(v)); err != nil {
		c.t.Fatal(err)
	}
}

// heard reports whether a text message of a kind came for a subscription.
func (c *client) heard(kind string, id int) func() bool {
	return func() bool {
		for _, m := range c.text {
			if m.Type == kind && m.ID == id {
				return true
			}
		}
		return false
	}
}

// has reports whether a subscription got n samples of the first track.
func (c *client) has(id uint16, n int) func() bool {
	return func() bool {
		if len(c.file[id]) == 0 || !c.heard("init", int(id))() {
			return false
		}
		s := playtest.Parse(c.t, c.file[id])
		return len(s.Of(s.Tracks[0].ID)) >= n
	}
}

func TestASocketCarriesTheSourceSampleBySample(t *testing.T) {
	for name, kind := range map[string][]string{"h264": playtest.H264, "b-frames": playtest.H264B, "h265": playtest.H265, "sound": playtest.Sound} {
		t.Run(name, func(t *testing.T) {
			src := playtest.Make(t, kind, 3*time.Second)
			rig := playtest.Open(t)
			session := rig.Publish(src.Tracks)
			defer rig.End(session, nil)
			c := open(t, rig, Config{}, "")
			c.read(c.heard("state", 0))
			for rig.Hub.State(rig.Stream.ID).Viewers == 0 {
				time.Sleep(time.Millisecond)
			}
			rig.Play(session, src)
			c.read(c.has(0, len(src.Of(src.Tracks[0].ID))))
			got := playtest.Parse(t, c.file[0])
			want := playtest.Source{Tracks: src.Tracks}
			for _, track := range src.Tracks {
				want.Samples = append(want.Samples, src.Of(track.ID)[:len(got.Of(track.ID))]...)
			}
			if len(src.Tracks) == 2 && len(got.Of(src.Tracks[1].ID)) == 0 {
				t.Error("no sound came")
			}
			playtest.Compare(t, got, want)
			playtest.Frames(t, c.file[0], ".mp4")
			if !c.sync[0] {
				t.Error("the first part is not marked as one to start with")
			}
			init := c.text[0]
			for _, m := range c.text {
				if m.Type == "init" {
					init = m
				}
			}
			if !strings.Contains(init.MIME, `codecs="`) || init.Stream != rig.Stream.Name || init.StartUS == 0 {
				t.Errorf("init says %+v", init)
			}
		})
	}
}

func TestAWallSharesASocket(t *testing.T) {
	src := playtest.Make(t, playtest.H264, 2*time.Second)
	rig := playtest.Open(t)
	session := rig.Publish(src.Tracks)
	defer rig.End(session, nil)
	rig.Play(session, src)
	c := open(t, rig, Config{}, "?audio=false") // as the console writes it
	c.say(`{"add":"front-door","id":7,"audio":true}`)
	c.say(`{"add":"secret","id":8}`)
	c.say(`{"add":"front-door","id":7}`)
	c.read(c.has(0, 1))
	c.read(c.has(7, 1))
	c.read(c.heard("error", 8))
	c.read(c.heard("error", 7))
	if n := len(playtest.Parse(t, c.file[0]).Tracks); n != 1 {
		t.Errorf("without sound: %d tracks", n)
	}
	if n := len(playtest.Parse(t, c.file[7]).Tracks); n != 2 {
		t.Errorf("with sound: %d tracks", n)
	}
	for _, m := range c.text {
		if m.Type == "error" && m.ID == 8 && (!strings.Contains(m.Message, "no such stream") || m.Hint != "ask the operator") {
			t.Errorf("refused with %+v", m)
		}
	}
	c.say(`{"remove":7}`)
	c.say(`{"remove":99}`)
	c.text = nil
	c.say(`{"add":"front-door","id":7}`)
	c.read(c.heard("init", 7))
	for i := range SubscriptionsMax {
		c.say(`{"add":"cam` + strconv.Itoa(i) + `","id":` + strconv.Itoa(100+i) + `}`)
	}
	c.read(c.heard("error", 100+SubscriptionsMax-1))
}

func TestNonsenseIsAnsweredAndTooMuchHangsUp(t *testing.T) {
	rig := playtest.Open(t)
	c := open(t, rig, Config{}, "")
	for _, text := range []string{"", "{", "[]", `{"add":"x"}`, `{"id":1}`, `{"add":"x","id":-1}`, `{"add":"x","id":65536}`, `{"add":"x","id":1,"remove":2}`, `{"remove":"x"}`, `{"add":"` + strings.Repeat("x", 300) + `","id":1}`} {
		c.text = nil
		c.say(text)
		c.read(func() bool {
			for _, m := range c.text {
				if m.Type == "error" {
					return true
				}
			}
			return false
		})
	}
	c.say(`{"add":"` + strings.Repeat("x", MessageMax) + `"}`)
	for {
		if _, _, err := c.conn.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
				t.Errorf("hung up with %v", err)
			}
			break
		}
	}
}

func TestASlowClientSkipsAndHearsHowMuch(t *testing.T) {
	track := media.Track{ID: 1, Timescale: 90000, Codec: playtest.Make(t, playtest.H264, time.Second).Tracks[0].Codec}
	rig := playtest.Open(t)
	session := rig.Publish([]media.Track{track})
	defer rig.End(session, nil)
	c := open(t, rig, Config{ListenerBytes: 1 << 20}, "")
	c.read(c.heard("state", 0))
	for rig.Hub.State(rig.Stream.ID).Viewers == 0 {
		time.Sleep(time.Millisecond)
	}
	// More than the ring and all socket buffers hold, while nobody reads.
	const frames = 800
	pulse := hosttest.Feel(t)
	send := func(i int) {
		rig.Clock.Set(playtest.Epoch.Add(time.Duration(i) * 40 * time.Millisecond))
		data := make([]byte, 30_000)
		binary.BigEndian.PutUint32(data, uint32(len(data)-4))
		data[4] = 0x65
		began := time.Now()
		if err := session.Write(media.Sample{Track: 1, DTS: int64(i) * 3600, Sync: i%25 == 0, Data: data}); err != nil {
			t.Error(err)
		}
		if took := pulse.Took(began); took > time.Second {
			t.Errorf("a slow viewer held the producer up for %v", took)
		}
	}
	for i := range frames {
		send(i)
	}
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() { // it goes on, so that there is a key frame to skip to
		for i := frames; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				send(i)
			}
		}
	})
	skipped := func() (n int) {
		for _, m := range c.text {
			if m.Type == "skipped" {
				n += m.Samples
			}
		}
		return n
	}
	c.read(func() bool { return skipped() > 0 && c.last[0].After(playtest.Epoch.Add(frames*40*time.Millisecond)) })
	close(stop)
	sending.Wait()
	got := playtest.Parse(t, c.file[0]).Samples
	if last := int(got[len(got)-1].DTS / 3600); len(got)+skipped() != last+1 {
		t.Errorf("%d came, %d skipped, %d were sent by then", len(got), skipped(), last+1)
	}
	for i := 1; i < len(got); i++ {
		if got[i].DTS != got[i-1].DTS+3600 && !got[i].Sync {
			t.Errorf("after a skip sample %d is not one to start with", i)
		}
	}
}

func TestPlainHTTPAndTooManySocketsAreRefused(t *testing.T) {
	rig := playtest.Open(t)
	s, err := New(Config{Hub: rig.Hub, Clock: rig.Clock, Sockets: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := playtest.Handler(func(w http.ResponseWriter, r *http.Request) error { return s.ServeSocket(w, r, rig.Stream, nil) })
	if res, _ := playtest.Get(t, h, "/ws"); res.StatusCode != 400 {
		t.Errorf("plain HTTP: %s", res.Status)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	address := "ws" + strings.TrimPrefix(server.URL, "http")
	first, _, err := websocket.DefaultDialer.Dial(address, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if second, res, err := websocket.DefaultDialer.Dial(address, nil); err == nil || res == nil || res.StatusCode != 429 {
		t.Errorf("a second socket: %v", err)
		if second != nil {
			second.Close()
		}
	}
}

func TestAServerThatStopsSaysGoodbye(t *testing.T) {
	rig := playtest.Open(t)
	s, err := New(Config{Hub: rig.Hub, Clock: rig.Clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	server := httptest.NewServer(playtest.Handler(func(w http.ResponseWriter, r *http.Request) error {
		running.Add(1)
		defer running.Done()
		return s.ServeSocket(w, r.WithContext(ctx), rig.Stream, nil)
	}))
	defer server.Close()
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, _, err := conn.ReadMessage(); err != nil { // the state
		t.Fatal(err)
	}
	cancel()
	for {
		if _, _, err = conn.ReadMessage(); err != nil {
			break
		}
	}
	if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("it said %v", err)
	}
	running.Wait()
}
