package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/gorilla/websocket"

	"penstock/internal/host/hosttest"
	"penstock/internal/repotest"
	"penstock/internal/testcam"
)

// counting listens and counts who comes; answer is what it says to each.
func counting(t *testing.T, address, answer string) (port string, came *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		repotest.Missing(t, "cannot listen on "+address+": "+err.Error())
	}
	came = new(atomic.Int64)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came.Add(1)
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(5 * time.Second)) // a socket just accepted takes deadlines
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					cseq := "1"
					for line := range strings.Lines(string(buf[:n])) {
						if v, ok := strings.CutPrefix(line, "CSeq:"); ok {
							cseq = strings.TrimSpace(v)
						}
					}
					if _, err := io.WriteString(c, strings.ReplaceAll(answer, "%CSEQ%", cseq)); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, came
}

// forbiddenHosts are spellings of addresses that a camera's URL must not reach.
func forbiddenHosts() []string {
	return []string{"127.0.0.1", "127.1", "127.0.1", "127.255.255.254", "localhost", "LOCALHOST", "localhost.", "2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001", "0177.0.0.1", "0177.0.0.01",
		"0.0.0.0", "0", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "[fe80::1]", "[fe80::1%25lo]", "[fd00:ec2::254]",
		"[::ffff:169.254.169.254]", "0xa9fea9fe", "2852039166", "127.0.0.1%00", "x@127.0.0.1", "127.0.0.1#@192.0.2.1", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "224.0.0.1", "255.255.255.255"}
}

func TestNoCameraAddressReachesThisMachine(t *testing.T) {
	port, came := counting(t, "127.0.0.1:0", "RTSP/1.0 200 OK\r\nCSeq: %CSEQ%\r\n\r\n")
	if l, err := net.Listen("tcp", "[::1]:"+port); err == nil { // machines without IPv6 have one door less
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				came.Add(1)
				_ = c.Close()
			}
		}()
	}
	// A camera that may be called sends its callers on to one that may not.
	away, called := counting(t, "127.0.0.2:0", "RTSP/1.0 302 Moved\r\nCSeq: %CSEQ%\r\nLocation: rtsp://127.0.0.1:"+port+"/x\r\n\r\n")
	s := startWith(t, &server{dir: t.TempDir(), strict: true, args: []string{"--allow-address", "127.0.0.2/32"}})
	work := make(chan string)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for address := range work {
				if status, body, _ := s.do("POST", "/v1/probe", map[string]any{"url": address, "username": "u", "password": "p"}); status >= 500 {
					t.Errorf("probe of %s: %d %s", address, status, body)
				}
			}
		})
	}
	made := 0
	for i, host := range forbiddenHosts() {
		for _, scheme := range []string{"rtsp", "rtsps", "http", "rtspt"} {
			work <- scheme + "://" + host + ":" + port + "/x"
		}
		status, _, _ := s.do("POST", "/v1/streams", map[string]any{"name": fmt.Sprint("c", i), "source": map[string]any{"url": "rtsp://" + host + ":" + port + "/x"}})
		if status == http.StatusCreated {
			made++
		} else if status != http.StatusBadRequest {
			t.Errorf("stream from %s: %d", host, status)
		}
	}
	for _, scheme := range []string{"rtsp", "http"} {
		work <- scheme + "://127.0.0.2:" + away + "/x"
	}
	close(work)
	if status, body, _ := s.do("POST", "/v1/streams", map[string]any{"name": "redirected", "source": map[string]any{"url": "rtsp://127.0.0.2:" + away + "/x"}}); status != http.StatusCreated {
		t.Fatalf("stream: %d %s", status, body)
	}
	wg.Wait()
	tried := map[string]bool{} // they are called again and again: each at its time
	s.until("each address was tried", 60*time.Second, func() error {
		var list struct{ Streams []streamInfo }
		s.get("/v1/streams", &list)
		if len(list.Streams) != made+1 {
			return fmt.Errorf("%d streams of %d", len(list.Streams), made+1)
		}
		var first error
		for _, st := range list.Streams {
			tried[st.Name] = tried[st.Name] || st.Reason != "" && st.State != "connecting" && st.State != "idle"
			if !tried[st.Name] && first == nil {
				first = fmt.Errorf("%s is %s without a reason", st.Name, st.State)
			}
		}
		return first
	})
	if n := came.Load(); n != 0 {
		t.Errorf("%d connections reached this machine", n)
	}
	if called.Load() == 0 {
		t.Error("the allowed address was not called: this test proves nothing")
	}
	if made < 10 {
		t.Errorf("only %d of %d addresses got as far as being dialled", made, len(forbiddenHosts()))
	}
	t.Logf("%d addresses dialled by the puller, %d probed, %d calls to the one that redirects", made, 4*len(forbiddenHosts()), called.Load())
}

func TestStrangersGetNothingAnywhere(t *testing.T) {
	s := startWith(t, &server{dir: t.TempDir(), strict: true, args: []string{"--demo"}})
	recorded(s, "demo", 2)
	number := s.fragments("demo")[0].Number.String()
	s.forStrangers("demo")
	res, err := http.Get("http://" + s.http + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil || len(doc.Paths) < 20 {
		t.Fatalf("openapi.json has %d paths: %v", len(doc.Paths), err)
	}
	open := map[string]bool{"GET /livez": true, "GET /readyz": true, "GET /openapi.json": true, "POST /v1/session": true}
	asked := 0
	for path, methods := range doc.Paths {
		for method := range methods {
			method = strings.ToUpper(method)
			for _, file := range []string{number + ".mp4", "init-" + number + ".mp4", "nonsense"} {
				at := strings.NewReplacer("{name}", "demo", "{file}", file, "{id}", "PSAKX", "{profile}", "heap").Replace(path)
				asked++
				s.stranger(t, method, at, open[method+" "+path])
			}
			s.stranger(t, http.MethodHead, strings.ReplaceAll(path, "{name}", "demo"), true)
		}
	}
	t.Logf("%d requests of %d paths", asked, len(doc.Paths))
	s.strangerSpeaksRTSP(t)
}

// stranger asks without any proof.
func (s *server) stranger(t *testing.T, method, path string, open bool) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+s.http+path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !open && res.StatusCode != http.StatusUnauthorized {
		t.Errorf("%s %s: %d", method, path, res.StatusCode)
	}
	if path == "/openapi.json" {
		return
	}
	for _, told := range []string{"moof", "ftyp", "#EXT", "arn:aws", "demo", s.dir, "\xff\xd8", told[0], told[1], told[2]} {
		if len(body) > 600 || bytes.Contains(body, []byte(told)) {
			t.Errorf("%s %s tells %d bytes: %.200q", method, path, len(body), body)
			break
		}
	}
}

func (s *server) strangerSpeaksRTSP(t *testing.T) {
	t.Helper()
	answers := map[string]string{}
	for _, method := range []string{"OPTIONS", "DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "PAUSE", "RECORD", "TEARDOWN", "GET_PARAMETER", "SET_PARAMETER", "REDIRECT"} {
		for _, name := range []string{"demo", "nosuch"} {
			for _, proof := range []string{"", basic("admin", "guess"), basic("key", "pst_guess"), `Authorization: Digest username="admin", realm="penstock", nonce="x", uri="x", response="x"`} {
				c, err := s.dialRTSP()
				if err != nil {
					t.Fatal(err)
				}
				header := []string{"Transport: RTP/AVP/TCP;unicast;interleaved=0-1"}
				if proof != "" {
					header = append(header, proof)
				}
				body := ""
				if method == "ANNOUNCE" {
					body = sdp("x")
				}
				address := "rtsp://" + s.rtsp + "/" + name
				if method == "SETUP" {
					address += "/trackID=0"
				}
				head, content, err := c.ask(method, address, header, body)
				if err == nil && strings.Contains(head, " 200 ") && method != "OPTIONS" && method != "GET_PARAMETER" && method != "SET_PARAMETER" {
					t.Errorf("%s of %s: %s", method, name, head)
				}
				if content != "" || strings.Contains(head, "demo") {
					t.Errorf("%s tells a stranger %q %q", method, head, content)
				}
				status, _, _ := strings.Cut(head, "\r\n")
				key := method + " " + proof
				if strings.Contains(status, "too many failed tries") {
					status = "RTSP/1.0 401 Unauthorized" // the guesses of this test, whichever came last
				}
				if before, ok := answers[key]; ok && before != status {
					t.Errorf("%s tells which streams there are: %q and %q", key, before, status)
				}
				answers[key] = status
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// within fails unless the channel is closed within 5 s of begin, and what the machine was
// late.
func within(t *testing.T, pulse *hosttest.Pulse, what string, ended <-chan struct{}, begin time.Time) {
	t.Helper()
	select {
	case <-ended:
	case <-time.After(time.Minute):
	}
	took := pulse.Took(begin)
	t.Logf("%s ended after %v", what, took.Round(time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("%s went on %v after its key was removed, want at most 5 s", what, took)
	}
}

func TestRemovingAKeyEndsWhatItStarted(t *testing.T) {
	mqtt := freeAddress(t)
	s := start(t, "--demo", "--mqtt", mqtt)
	pulse := s.machine()
	recorded(s, "demo", 2)
	var k struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
		Token  string
	}
	status, body, _ := s.do("POST", "/v1/keys", map[string]any{"role": "operator", "name": "leaving"})
	if err := json.Unmarshal(body, &k); status != http.StatusCreated || err != nil {
		t.Fatalf("key: %d %s", status, body)
	}
	running := map[string]<-chan struct{}{
		"the WebSocket":        s.keepSocket(t, k.Token),
		"the RTSP player":      s.keepPlaying(t, k.Token),
		"the player over UDP":  s.keepPlayingUDP(t, k.Token),
		"the RTSP producer":    s.keepPushing(t, k.Token),
		"the event stream":     s.keepReading(t, "/v1/events", k.Token),
		"the held playlists":   s.keepFollowing(t, k.Token),
		"the profile of 600 s": s.keepReading(t, "/debug/pprof/trace?seconds=600", k.Token),
		"the second WebSocket": s.keepSocket(t, mintAs(t, s, k.Token)),
		"SubscribeToShard":     s.keepSubscribed(t, "pushed", k.ID, k.Secret),
		"the MQTT publisher":   s.keepPublishing(t, mqtt, "published", k.Token),
		"the tail of records":  s.keepReading(t, "/v1/data/pushed/tail", k.Token),
		"reading by iterators": s.keepIterating(t, "pushed", k.ID, k.Secret),
	}
	<-time.After(time.Second) // what is refused at once has ended by then
	for what, ended := range running {
		select {
		case <-ended:
			t.Fatalf("%s ended by itself", what)
		default:
		}
	}
	if status, body, _ := s.do("DELETE", "/v1/keys/"+k.ID, nil); status != http.StatusNoContent {
		t.Fatalf("remove key: %d %s", status, body)
	}
	begin := time.Now()
	for what, ended := range running {
		within(t, pulse, what, ended, begin)
	}
	if status, _, _ := s.do("GET", "/v1/streams", nil, "Authorization", "Bearer "+k.Token); status != http.StatusUnauthorized {
		t.Errorf("the key itself: %d", status)
	}
}

// mintAs makes a media token with another key.
func mintAs(t *testing.T, s *server, token string) string {
	t.Helper()
	var v struct{ Token string }
	status, body, _ := s.do("POST", "/v1/streams/demo/token", map[string]any{"ttl": "10m"}, "Authorization", "Bearer "+token)
	if err := json.Unmarshal(body, &v); status != http.StatusOK || err != nil {
		t.Fatalf("media token: %d %s", status, body)
	}
	return v.Token
}

// keepSocket watches the demo; a media token goes into the URL.
func (s *server) keepSocket(t *testing.T, token string) <-chan struct{} {
	t.Helper()
	header, query := http.Header{"Authorization": {"Bearer " + token}}, ""
	if strings.HasPrefix(token, "psm_") {
		header, query = nil, "?token="+token
	}
	conn, _, err := websocket.DefaultDialer.Dial("ws://"+s.http+"/v1/streams/demo/ws"+query, header)
	if err != nil {
		t.Fatalf("socket: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	for kind := 0; kind != websocket.BinaryMessage; {
		if kind, _, err = conn.ReadMessage(); err != nil {
			t.Fatalf("socket: %v", err)
		}
	}
	return ending(func() error { _, _, err := conn.ReadMessage(); return err })
}

// ending closes its channel when step fails.
func ending(step func() error) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for step() == nil {
		}
	}()
	return ended
}

func (s *server) keepReading(t *testing.T, path, token string) <-chan struct{} {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+s.http+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return // the server cut it off
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body) // until it is cut off
	}()
	return ended
}

func (s *server) keepPlaying(t *testing.T, token string) <-chan struct{} {
	t.Helper()
	tcp := gortsplib.TransportTCP
	c := &gortsplib.Client{Transport: &tcp, ReadTimeout: time.Minute}
	u, err := base.ParseURL("rtsp://key:" + token + "@" + s.rtsp + "/demo")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(u.Scheme, u.Host); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	desc, _, err := c.Describe(u)
	if err == nil {
		err = c.SetupAll(desc.BaseURL, desc.Medias)
	}
	if err == nil {
		_, err = c.Play(nil)
	}
	if err != nil {
		t.Fatalf("play: %v", err)
	}
	return ending(func() error { return errors.Join(c.Wait(), errors.New("ended")) })
}

func (s *server) keepPushing(t *testing.T, token string) <-chan struct{} {
	t.Helper()
	picture := looped()
	track := picture.Tracks()[0]
	forma := &format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: track.SPS, PPS: track.PPS}
	media := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{forma}}
	tcp := gortsplib.TransportTCP
	c := &gortsplib.Client{Transport: &tcp}
	if err := c.StartRecording("rtsp://key:"+token+"@"+s.rtsp+"/pushed", &description.Session{Medias: []*description.Media{media}}); err != nil {
		t.Fatalf("push: %v", err)
	}
	t.Cleanup(c.Close)
	enc, err := forma.CreateEncoder()
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Second / testcam.FPS)
	t.Cleanup(tick.Stop)
	reel := picture.Reel(0)
	return ending(func() error {
		<-tick.C
		unit := reel.Next()
		packets, err := enc.Encode(unit.NALs)
		for _, p := range packets {
			p.Timestamp = uint32(unit.PTS)
			err = errors.Join(err, c.WritePacketRTP(media, p))
		}
		return err
	})
}
