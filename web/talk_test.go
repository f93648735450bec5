package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pion/rtp"

	"penstock/auth"
	"penstock/ingest/talk"
	"penstock/internal/camsim"
	"penstock/internal/fault"
	"penstock/streams"
)

// doorbell is a site with a camera that has a loudspeaker.
type doorbell struct {
	*site
	front  streams.Stream
	camera *camsim.Server
	http   *httptest.Server
	heard  chan *rtp.Packet
}

func newDoorbell(t *testing.T, c camsim.ServerConfig, change ...func(*auth.Config)) *doorbell {
	t.Helper()
	d := &doorbell{site: newSite(t, change...), heard: make(chan *rtp.Packet, 1000)}
	c.Material = camsim.Record(camsim.NewDemo(), time.Second)
	c.Speaker = func(p *rtp.Packet) { d.heard <- p }
	var err error
	d.camera, err = camsim.Serve(c)
	check(t, err)
	d.server.c.Talk = talk.New(talk.Config{})
	d.front, err = d.server.c.Catalogue.Create(t.Context(), streams.Stream{Account: auth.DefaultAccount, Name: "front", Retention: time.Hour,
		Source: &streams.Source{URL: d.camera.URL(0), Transport: streams.Auto}})
	check(t, err)
	d.http = httptest.NewServer(d.server)
	t.Cleanup(func() { d.http.Close(); d.camera.Close() })
	return d
}

// call opens the socket.
func (d *doorbell) call(token string, header ...string) (*websocket.Conn, *http.Response, error) {
	d.t.Helper()
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	conn, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(d.http.URL, "http")+"/v1/streams/front/talk", h)
	if err == nil {
		d.t.Cleanup(func() { conn.Close() })
		check(d.t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
	}
	return conn, res, err
}

// hello reads the first message.
func (d *doorbell) hello(conn *websocket.Conn) string {
	d.t.Helper()
	kind, text, err := conn.ReadMessage()
	check(d.t, err)
	if kind != websocket.TextMessage {
		d.t.Fatalf("a message of kind %d", kind)
	}
	return string(text)
}

// quiet waits until nobody talks to the camera.
func (d *doorbell) quiet() {
	for _, _, busy := d.server.c.Talk.Talking(d.front); busy; _, _, busy = d.server.c.Talk.Talking(d.front) {
		time.Sleep(time.Millisecond) // what is waited for has no event of its own
	}
}

func (d *doorbell) get(token string) (int, talkView) {
	d.t.Helper()
	req := httptest.NewRequest("GET", "/v1/streams/front/talk", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	rec := httptest.NewRecorder()
	d.server.ServeHTTP(rec, req)
	var v talkView
	check(d.t, json.Unmarshal(rec.Body.Bytes(), &v))
	return rec.Code, v
}

func TestAVoiceGoesToTheCamera(t *testing.T) {
	d := newDoorbell(t, camsim.ServerConfig{Back: camsim.PCMU})
	operator := d.key(auth.NewKey{Name: "anna", Role: auth.RoleOperator})
	if v := d.server.view(t.Context(), d.front); v.Talk != nil {
		t.Errorf("known before anybody asked: %+v", v.Talk)
	}
	if status, v := d.get(operator); status != 200 || v.Talk == nil || v.Talk.Codec != "PCMU" || v.Talk.Rate != 8000 || v.Busy != nil {
		t.Errorf("%d %+v", status, v)
	}
	if v := d.server.view(t.Context(), d.front); v.Talk == nil || v.Talk.Codec != "PCMU" {
		t.Errorf("the stream does not show it: %+v", v.Talk)
	}
	conn, _, err := d.call(operator)
	check(t, err)
	if got := d.hello(conn); got != `{"codec":"PCMU","rate":8000}` {
		t.Errorf("first message %s", got)
	}
	want := bytes.Repeat([]byte{7}, talk.Frame)
	check(t, conn.WriteMessage(websocket.BinaryMessage, want))
	if p := <-d.heard; !bytes.Equal(p.Payload, want) || p.PayloadType != 0 {
		t.Errorf("heard %+v", p)
	}
	if status, v := d.get(operator); status != 200 || v.Busy == nil || v.Busy.Who != "anna" || v.Busy.Since.IsZero() {
		t.Errorf("%d %+v", status, v)
	}
	second, _, err := d.call(operator)
	check(t, err)
	if got := d.hello(second); !strings.Contains(got, `"code":"in_use"`) || !strings.Contains(got, "anna talks to it since") || !strings.Contains(got, `"hint"`) {
		t.Errorf("the second hears %s", got)
	}
	if _, _, err := second.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("and then %v", err)
	}
	conn.Close()
	d.quiet()
	if n := d.camera.Plays(); n != 0 {
		t.Errorf("%d sessions for pictures were opened", n)
	}
}

func TestWhoMayTalk(t *testing.T) {
	d := newDoorbell(t, camsim.ServerConfig{Back: camsim.PCMA})
	for role, want := range map[string]int{auth.RoleAdmin: 101, auth.RoleOperator: 101, auth.RoleViewer: 403, auth.RoleWorker: 403, auth.RoleProducer: 403} {
		conn, res, err := d.call(d.key(auth.NewKey{Role: role}))
		if res == nil || res.StatusCode != want {
			t.Errorf("%s: %v %v, want %d", role, res, err, want)
		}
		if err == nil {
			d.hello(conn)
			conn.Close()
		}
		d.quiet()
	}
	if _, res, err := d.call(""); err == nil || res.StatusCode != 401 {
		t.Errorf("nobody: %v %v", res, err)
	}
}

func TestCallsAreAudited(t *testing.T) {
	lines := &trail{}
	d := newDoorbell(t, camsim.ServerConfig{Back: camsim.PCMU}, func(c *auth.Config) { c.Audit = lines })
	operator, viewer := d.key(auth.NewKey{Role: auth.RoleOperator}), d.key(auth.NewKey{Role: auth.RoleViewer})
	lines.take()
	await := func(want string, n int) {
		t.Helper()
		var all []string
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			all = append(all, lines.take()...)
			if len(all) >= n {
				break
			}
		}
		if got := strings.Join(all, "; "); got != want {
			t.Errorf("the audit log has %q, want %q", got, want)
		}
	}
	line := " penstock:Talk " + d.front.ARN()
	conn, _, err := d.call(operator)
	check(t, err)
	d.hello(conn)
	await("allow"+line, 1)
	second, _, err := d.call(operator)
	check(t, err)
	d.hello(second)
	await("fail"+line, 1)
	conn.Close()
	await("allow"+line, 1)
	if _, _, err := d.call(viewer); err == nil {
		t.Error("a viewer talks")
	}
	await("deny penstock:Talk front", 1)
	d.get(operator)
	await("", 0)
}

func TestAnotherSiteCannotTalk(t *testing.T) {
	d := newDoorbell(t, camsim.ServerConfig{Back: camsim.PCMU})
	p, err := d.server.c.Auth.Bearer(t.Context(), d.key(auth.NewKey{Role: auth.RoleOperator}), "")
	check(t, err)
	s, err := d.server.c.Auth.SignIn(t.Context(), p, "192.0.2.1:9")
	check(t, err)
	cookie := cookiePlain + "=" + s.Cookie.Reveal()
	for origin, want := range map[string]int{"https://evil.example": 403, "": 403, d.http.URL: 101} {
		header := []string{"Cookie", cookie}
		if origin != "" {
			header = append(header, "Origin", origin)
		}
		conn, res, err := d.call("", header...)
		if res == nil || res.StatusCode != want {
			t.Errorf("from %q: %v %v, want %d", origin, res, err, want)
		}
		if err == nil {
			d.hello(conn)
		}
	}
}

func TestCallsEndWithAReason(t *testing.T) {
	for _, c := range []struct {
		name   string
		camera camsim.ServerConfig
		do     func(d *doorbell, conn *websocket.Conn, id string)
		want   []string
	}{
		{"key removed", camsim.ServerConfig{Back: camsim.PCMU}, func(d *doorbell, _ *websocket.Conn, id string) {
			check(d.t, d.server.c.Auth.RemoveKey(d.t.Context(), id))
		}, []string{`"error"`, "penstock:Talk"}},
		{"camera gone", camsim.ServerConfig{Back: camsim.PCMU}, func(d *doorbell, _ *websocket.Conn, _ string) { d.camera.Close() },
			[]string{`"unavailable"`, "ended the connection", `"hint"`}},
		{"camera changed", camsim.ServerConfig{Back: camsim.PCMU}, func(d *doorbell, _ *websocket.Conn, _ string) {
			_, err := d.server.c.Catalogue.Update(d.t.Context(), d.front.Account, d.front.Name, func(st *streams.Stream) error {
				st.Source = &streams.Source{URL: "rtsp://127.0.0.1:1/", Transport: streams.Auto}
				return nil
			})
			check(d.t, err)
		}, []string{`"expired"`, "changed or removed"}},
		{"text", camsim.ServerConfig{Back: camsim.PCMU}, func(d *doorbell, conn *websocket.Conn, _ string) {
			check(d.t, conn.WriteMessage(websocket.TextMessage, []byte("hello")))
		}, []string{`"invalid"`, "takes sound"}},
		{"too large", camsim.ServerConfig{Back: camsim.PCMU}, func(d *doorbell, conn *websocket.Conn, _ string) {
			check(d.t, conn.WriteMessage(websocket.BinaryMessage, make([]byte, talk.FrameMax+1)))
		}, []string{`"invalid"`, "961 octets"}},
		{"too fast", camsim.ServerConfig{Back: camsim.PCMU}, func(_ *doorbell, conn *websocket.Conn, _ string) {
			for range 2000 {
				if conn.WriteMessage(websocket.BinaryMessage, make([]byte, talk.FrameMax)) != nil {
					return
				}
			}
		}, []string{`"throttled"`, "faster"}},
		{"no back channel", camsim.ServerConfig{}, nil, []string{`"unavailable"`, "no two-way audio", `"hint"`}},
		{"551", camsim.ServerConfig{Back: camsim.PCMU, Faults: camsim.Faults{RefuseRequire: 551}}, nil, []string{"551", `"hint"`}},
		{"codec", camsim.ServerConfig{Back: camsim.BackAAC}, nil, []string{"G.711", `"hint"`}},
		{"busy", camsim.ServerConfig{Back: camsim.PCMU, Faults: camsim.Faults{BackBusy: true}}, nil, []string{"another voice", `"hint"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoorbell(t, c.camera)
			issued, err := d.server.c.Auth.CreateKey(t.Context(), auth.NewKey{Role: auth.RoleOperator})
			check(t, err)
			conn, _, err := d.call(issued.Token.Reveal())
			check(t, err)
			if c.do != nil {
				if got := d.hello(conn); !strings.Contains(got, "codec") {
					t.Fatalf("first message %s", got)
				}
				c.do(d, conn, issued.ID)
			}
			got := d.hello(conn)
			for _, w := range c.want {
				if !strings.Contains(got, w) {
					t.Errorf("it ends with %s, want %s in it", got, w)
				}
			}
			if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) && c.name != "too fast" {
				t.Errorf("and then %v", err)
			}
		})
	}
}

func TestCamerasWithoutALoudspeakerAreNoError(t *testing.T) {
	d := newDoorbell(t, camsim.ServerConfig{})
	operator := d.key(auth.NewKey{Role: auth.RoleOperator})
	if status, v := d.get(operator); status != 200 || v.Talk != nil || !strings.Contains(v.Reason, "no two-way audio") || v.Hint == "" {
		t.Errorf("%d %+v", status, v)
	}
	site := newSite(t)
	site.create(auth.DefaultAccount, "front")
	req := httptest.NewRequest("GET", "/v1/streams/front/talk", nil)
	req.Header.Set("Authorization", "Bearer "+site.key(auth.NewKey{Role: auth.RoleAdmin}))
	rec := httptest.NewRecorder()
	site.server.ServeHTTP(rec, req)
	if text, err := io.ReadAll(rec.Body); err != nil || rec.Code != 503 || !strings.Contains(string(text), fault.Unavailable.String()) {
		t.Errorf("a server that calls nobody: %d %s", rec.Code, text)
	}
}
