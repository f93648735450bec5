package acceptance

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// rtspConn is a connection that says what a library would not.
type rtspConn struct {
	net.Conn
	r    *bufio.Reader
	cseq int
}

func (s *server) dialRTSP() (*rtspConn, error) {
	c, err := net.DialTimeout("tcp", s.rtsp, time.Minute)
	if err != nil {
		return nil, err
	}
	return &rtspConn{Conn: c, r: bufio.NewReader(c)}, c.SetDeadline(time.Now().Add(time.Minute))
}

// ask sends a request and returns status line with headers, and the body.
func (c *rtspConn) ask(method, address string, header []string, body string) (head, content string, err error) {
	c.cseq++
	text := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n", method, address, c.cseq)
	for _, h := range header {
		text += h + "\r\n"
	}
	if body != "" {
		text += fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
	}
	if _, err := io.WriteString(c, text+"\r\n"+body); err != nil {
		return "", "", err
	}
	size := 0
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return head, "", err
		}
		if line == "\r\n" {
			break
		}
		head += line
		if name, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(name, "content-length") {
			if _, err := fmt.Sscanf(strings.TrimSpace(value), "%d", &size); err != nil {
				return head, "", err
			}
		}
	}
	text2 := make([]byte, size)
	_, err = io.ReadFull(c.r, text2)
	return head, string(text2), err
}

func basic(user, password string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// sdp describes one H.264 track under a session name.
func sdp(name string) string {
	return "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=" + name + "\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n" +
		"a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\na=control:trackID=0\r\n"
}

// raw sends a request whose path is on the wire exactly as it is written here.
func (s *server) raw(method, path, body string) (status int, err error) {
	c, err := net.DialTimeout("tcp", s.http, time.Minute)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", method, path, s.http, s.token, len(body), body)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}

// mark stands in every nasty name, so that its files would be found.
const mark = "zqxwvu"

// nastyNames are n names that try to be more than a name.
func nastyNames(n int) []string {
	shapes := []string{"../../%s", "..\\..\\%s", "/etc/%s", "/tmp/%s", "%s/../../../x", "..%%2f..%%2f%s", "%%2e%%2e/%s", "..%%252f%s", "%s\x00.mp4", "%s%%00.mp4",
		"..%%c0%%af%s", "..\u2215..\u2215%s", "\uff0e\uff0e\uff0f%s", "%s\u202e4pm", "\u0000%s", "%s\n", "%s\r\nX-Injected: 1", "%s;rm -rf x", "$(touch %s)", "`touch %s`", "|touch %s",
		"CON.%s", "NUL.%s", "LPT1.%s", "%s.", "%s ", " %s", ".%s", "..%s", "...%s", "%s..", "~/%s", "~root/%s", "file:///tmp/%s", "C:\\%s", "\\\\host\\%s", "%s:stream", "%s?x=1", "%s#x", "%s*", "?%s",
		"%s'--", "%s\" OR 1=1", "%s'); DROP TABLE streams;--", "{{%s}}", "${%s}", "%%s%s", "%%n%s", "\xff\xfe%s", "%s\u0301", "e\u0301%s", "\U0001F4F7%s", "%s\t", "-%s", "--%s", "master.key/../%s", "meta.db-%s", "LOCK/%s",
		"%s" + strings.Repeat("a", 300), "%s" + strings.Repeat("/x", 2000), strings.Repeat("../", 60) + "%s", "%s" + strings.Repeat("\u00e9", 200), "proc/self/cwd/%s", "dev/stdout/%s"}
	names := []string{".", "..", "", " ", "/", "\\", "\x00", "...", "*", "%", "CON", "~", "-", "\n", "%2e%2e", "%00", "null", "undefined", "__proto__", "constructor"}
	for i := 0; len(names) < n; i++ {
		names = append(names, strings.Replace(strings.ReplaceAll(shapes[i%len(shapes)], "%%", "%"), "%s", fmt.Sprintf("%s%d", mark, i), 1))
	}
	return names
}

// marked lists what lies below dir under a name that the marks are in, and all paths.
func marked(t *testing.T, dir string) (found, all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server removed it meanwhile
		}
		all = append(all, path)
		if strings.Contains(path, mark) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, all
}

func TestNastyNamesBecomeNoFiles(t *testing.T) {
	parent := t.TempDir()
	outer := filepath.Join(parent, "outer")
	dir := filepath.Join(outer, "data")
	sentinel := filepath.Join(outer, "sentinel")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sentinel, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	mqtt := freeAddress(t)
	s := startWith(t, &server{dir: dir, strict: true, args: []string{"--mqtt", mqtt}})
	if status, body, _ := s.do("POST", "/v1/streams", map[string]any{"name": "good"}); status != http.StatusCreated {
		t.Fatalf("create: %d %s", status, body)
	}
	s.withData()
	var data tally
	names := nastyNames(500)
	work := make(chan string)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for name := range work {
				if err := errors.Join(s.tryName(name), s.tryDataName(name, data.add), s.tryTopic(t.Context(), mqtt, name, data.add)); err != nil {
					t.Errorf("%.60q: %v", name, err)
				}
			}
		})
	}
	for _, name := range names {
		work <- name
	}
	close(work)
	wg.Wait()
	t.Logf("data streams took %v", data.n)
	for _, where := range []string{parent, "."} {
		if found, _ := marked(t, where); len(found) > 0 {
			t.Errorf("files named by a caller: %q", found)
		}
	}
	for _, where := range []string{"/", os.TempDir(), filepath.Dir(binary)} {
		entries, err := os.ReadDir(where)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.Contains(e.Name(), mark) {
				t.Errorf("a file named by a caller in %s: %s", where, e.Name())
			}
		}
	}
	entries, err := os.ReadDir(outer)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(sentinel)
	if err != nil || string(text) != "untouched" || len(entries) != 2 {
		t.Errorf("around the data directory: %q %v, %d entries", text, err, len(entries))
	}
	ownFiles(t, dir, names)
	for _, path := range []string{"/livez", "/readyz", "/v1/streams/good", "/v1/streams?limit=1000", "/v1/keys", "/v1/data", "/v1/data/" + goodData} {
		if status, body, _ := s.do("GET", path, nil); status != http.StatusOK {
			t.Errorf("afterwards GET %s: %d %.200s", path, status, body)
		}
	}
}

// ownFiles checks that no file of the data directory is called like a name given, those
// without a mark too.
func ownFiles(t *testing.T, dir string, names []string) {
	t.Helper()
	given := map[string]bool{}
	for _, n := range names {
		given[strings.ToLower(n)] = true
	}
	_, all := marked(t, dir)
	for _, path := range all {
		if given[strings.ToLower(filepath.Base(path))] {
			t.Errorf("a file called as a caller wished: %s", path)
		}
	}
	if len(all) < 5 {
		t.Errorf("the data directory holds %q only: this test looks in the wrong place", all)
	}
}

// tryName goes through every path that takes a name. No answer may be the server's failing.
func (s *server) tryName(name string) error {
	text, err := json.Marshal(name)
	if err != nil {
		return err
	}
	esc := url.PathEscape(name)
	var errs []error
	for _, q := range [][3]string{
		{"POST", "/v1/streams", `{"name":` + string(text) + `}`},
		{"PATCH", "/v1/streams/good", `{"tags":{"k":` + string(text) + `,` + string(text) + `:"v"}}`},
		{"POST", "/v1/keys", `{"role":"viewer","name":` + string(text) + `}`},
		{"POST", "/v1/keys", `{"role":"viewer","streams":[` + string(text) + `]}`},
		{"GET", "/v1/streams/good/fragments/" + esc, ""},
		{"GET", "/v1/streams/good/live/" + esc, ""},
		{"GET", "/v1/streams/good/fragments?token=" + url.QueryEscape(name), ""},
		{"GET", "/v1/streams/" + esc, ""},
		{"GET", "/debug/pprof/" + esc, ""},
		{"GET", "/" + strings.ReplaceAll(esc, "%2F", "/"), ""},
	} {
		status, err := s.raw(q[0], q[1], q[2])
		if err != nil || status >= 500 {
			errs = append(errs, fmt.Errorf("%s %.80s: %d %w", q[0], q[1], status, err))
		}
	}
	c, err := s.dialRTSP()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	defer c.Close()
	// The library drops connections whose request it cannot read: that is an answer too.
	head, _, err := c.ask("ANNOUNCE", "rtsp://"+s.rtsp+"/"+esc, []string{basic("key", s.token)}, sdp(mark))
	if err == nil && strings.HasPrefix(head, "RTSP/1.0 5") && !strings.HasPrefix(head, "RTSP/1.0 503") {
		errs = append(errs, fmt.Errorf("ANNOUNCE: %s", head))
	}
	return errors.Join(errs...)
}

func TestAPasswordWithColonAndAtPushesWithBasic(t *testing.T) {
	s := start(t)
	const password = "p:a@s:s/w?rd%"
	if status, body, _ := s.do("POST", "/v1/password", map[string]string{"password": password}); status != http.StatusNoContent {
		t.Fatalf("set password: %d %s", status, body)
	}
	for want, pass := range map[string]string{"RTSP/1.0 200 ": password, "RTSP/1.0 401 ": "p:a@s:s"} {
		c, err := s.dialRTSP()
		if err != nil {
			t.Fatal(err)
		}
		head, _, err := c.ask("ANNOUNCE", "rtsp://"+s.rtsp+"/gate", []string{basic("admin", pass)}, sdp("x"))
		if err != nil || !strings.HasPrefix(head, want) {
			t.Errorf("ANNOUNCE with %q: %q %v, want %s", pass, head, err, want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// secretsOf plants secrets in every place that takes one and returns them by what they are.
func secretsOf(t *testing.T, s *server, master, s3 string) map[string]string {
	t.Helper()
	planted := map[string]string{"master key": master, "S3 secret": s3, "admin token": s.token}
	for _, role := range []string{"viewer", "producer", "worker", "operator"} {
		var k struct {
			Secret string `json:"secret_access_key"`
			Token  string `json:"token"`
		}
		status, body, _ := s.do("POST", "/v1/keys", map[string]any{"role": role})
		if err := json.Unmarshal(body, &k); status != http.StatusCreated || err != nil {
			t.Fatalf("key: %d %s", status, body)
		}
		planted[role+"'s token"], planted[role+"'s secret"] = k.Token, k.Secret
	}
	planted["password"] = "Plant-password-5309"
	if status, body, _ := s.do("POST", "/v1/password", map[string]string{"password": planted["password"]}); status != http.StatusNoContent {
		t.Fatalf("password: %d %s", status, body)
	}
	for i, camera := range []string{"planted-camera-1-4711", "planted:camera@2/4712", "planted-camera-3-4713"} {
		planted[fmt.Sprint("password of camera ", i)] = camera
		name := fmt.Sprint("cam", i)
		status, body, _ := s.do("POST", "/v1/streams", map[string]any{"name": name, "source": map[string]any{"url": "rtsp://127.0.0.1:1/x", "username": "admin", "password": camera}})
		if status != http.StatusCreated {
			t.Fatalf("camera: %d %s", status, body)
		}
	}
	planted["password in a camera's URL"] = "planted-in-url-4714"
	s.do("POST", "/v1/streams", map[string]any{"name": "cam-url", "source": map[string]any{"url": "rtsp://admin:planted-in-url-4714@127.0.0.1:1/x"}})
	planted["changed password of a camera"] = "planted-patch-4715"
	s.do("PATCH", "/v1/streams/cam0", map[string]any{"source": map[string]any{"url": "rtsp://127.0.0.1:1/y", "username": "admin", "password": "planted-patch-4715"}})
	planted["password of a probe"] = "planted-probe-4716"
	s.do("POST", "/v1/probe", map[string]any{"url": "rtsp://127.0.0.1:1/z", "username": "admin", "password": "planted-probe-4716"})
	planted["password in a probe's URL"] = "planted-probe-url-4717"
	s.do("POST", "/v1/probe", map[string]any{"url": "rtsp://admin:planted-probe-url-4717@127.0.0.1:1/z"})
	planted["media token"] = mint(t, s, "cam0")
	planted["sign-in link"] = link(t, s)
	res, err := http.Post("http://"+s.http+"/v1/session", "application/json", strings.NewReader(`{"password":"`+planted["password"]+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, c := range res.Cookies() {
		planted["cookie"] = c.Value
	}
	return planted
}

func mint(t *testing.T, s *server, stream string) string {
	t.Helper()
	var v struct{ Token string }
	status, body, _ := s.do("POST", "/v1/streams/"+stream+"/token", map[string]any{"ttl": "10m"})
	if err := json.Unmarshal(body, &v); status != http.StatusOK || err != nil {
		t.Fatalf("media token: %d %s", status, body)
	}
	return v.Token
}

// link is the secret of a new one-time link.
func link(t *testing.T, s *server) string {
	t.Helper()
	cmd := exec.Command(binary, "link", "--data", s.dir)
	cmd.Env = append(os.Environ(), s.env...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("link: %v %s", err, stderr(err))
	}
	_, secret, ok := strings.Cut(strings.TrimSpace(string(out)), "#link=")
	if !ok {
		t.Fatalf("link printed %q", out)
	}
	return secret
}

func TestPlantedSecretsAppearNowhere(t *testing.T) {
	master, s3 := strings.Repeat("5f0c1d2e", 8), "planted-s3-secret-4718"
	mqtt := freeAddress(t)
	s := startWith(t, &server{dir: t.TempDir(), args: []string{"--mqtt", mqtt}, env: []string{"PENSTOCK_MASTER_KEY=" + master, "PENSTOCK_S3_SECRET_KEY=" + s3, "PENSTOCK_LOG_LEVEL=debug"}})
	planted := secretsOf(t, s, master, s3)
	if len(planted) < 20 {
		t.Fatalf("%d secrets were planted", len(planted))
	}
	outputs := map[string][]byte{}
	sealed, open := plantRecords(t, s, mqtt)
	maps.Copy(planted, sealed)
	refusedRecords(s, sealed, outputs)
	refusedRecords(s, open, outputs)
	// Wrong requests that carry secrets: their errors must not repeat them.
	for what, secret := range planted {
		for i, q := range [][3]string{
			{"POST", "/v1/streams", fmt.Sprintf(`{"name":"x","source":{"url":"ftp://a:%s@h/","password":%q}}`, url.QueryEscape(secret), secret)},
			{"POST", "/v1/streams", fmt.Sprintf(`{"name":"x","source":{"url":"rtsp://127.0.0.1:1/","password":%q,"transport":"pigeon"}}`, secret)},
			{"POST", "/v1/session", fmt.Sprintf(`{"password":%q,"user":"nobody"}`, secret+"x")},
		} {
			status, body, _ := s.do(q[0], q[1], json.RawMessage(q[2]))
			if status < 400 && q[1] != "/v1/session" {
				t.Errorf("%s %s with %s: %d", q[0], q[1], what, status)
			}
			outputs[fmt.Sprintf("error %d on %s", i, what)] = body
		}
		_, body, _ := s.do("GET", "/v1/streams", nil, "Authorization", "Bearer "+secret+"x")
		outputs["refusal of "+what] = body
		_, body, _ = s.do("GET", "/v1/streams/cam0/live.m3u8?token="+url.QueryEscape(secret)+"x", nil, "Authorization", "")
		outputs["refusal of the media token "+what] = body
		if c, err := s.dialRTSP(); err == nil {
			head, content, _ := c.ask("DESCRIBE", "rtsp://"+s.rtsp+"/cam0", []string{basic("admin", secret+"x")}, "") // refused is what is wanted
			outputs["RTSP refusal of "+what] = []byte(head + content)
			_ = c.Close()
		}
		if _, ack, err := speaksMQTT(t.Context(), mqtt, "guesser", "admin", secret+"x"); err == nil {
			t.Errorf("%s and more is let in by MQTT", what)
		} else {
			outputs["MQTT refusal of "+what] = fmt.Append(nil, ack, err)
		}
	}
	collect(t, s, outputs)
	if !bytes.Contains(outputs["GET /v1/streams/cam0"], []byte("rtsp://127.0.0.1:1/y")) || !bytes.Contains(outputs["log"], []byte("cam0")) {
		t.Error("what is no secret does not appear either: this test looks in the wrong place")
	}
	maps.Copy(planted, dataKeys(t, s, master))
	inFiles := 0
	for name, text := range outputs {
		for what, data := range open {
			switch found := bytes.Contains(text, []byte(data)); {
			case found && strings.HasPrefix(name, "file "+filepath.Join(s.dir, "wal")):
				inFiles++ // there it belongs
			case found:
				t.Errorf("%s stands in %s", what, name)
			}
		}
	}
	if inFiles < len(open) {
		t.Error("records that are not encrypted are in no file of a lane: this test looks in the wrong place")
	}
	for what, secret := range planted {
		if secret == "" {
			t.Errorf("%s: nothing was planted", what)
		}
		forms := []string{secret, url.QueryEscape(secret), url.PathEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret)), fmt.Sprintf("%x", secret)}
		for name, text := range outputs {
			for _, form := range forms {
				if bytes.Contains(text, []byte(form)) {
					at := bytes.Index(text, []byte(form))
					t.Errorf("%s stands in %s: ...%.80s", what, name, text[max(0, at-60):at])
					break
				}
			}
		}
	}
	t.Logf("%d secrets looked for in %d outputs", len(planted), len(outputs))
}

// collect gathers everything that the server says, to others and to its files.
func collect(t *testing.T, s *server, outputs map[string][]byte) {
	t.Helper()
	for _, path := range []string{"/v1/session", "/v1/system", "/v1/keys", "/v1/streams", "/v1/streams/cam0", "/v1/streams/cam1", "/v1/streams/cam-url", "/v1/streams/cam0/timeline", "/metrics",
		"/openapi.json", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/pprof/allocs", "/debug/pprof/heap?debug=1"} {
		status, body, _ := s.do("GET", path, nil)
		if status != http.StatusOK && path != "/v1/streams/cam-url" {
			t.Errorf("GET %s: %d", path, status)
		}
		if z, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
			if body, err = io.ReadAll(z); err != nil {
				t.Error(err)
			}
		}
		outputs["GET "+path] = body
	}
	argv, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	outputs["argv"] = argv
	show := exec.Command(binary, "config", "print")
	show.Env = append(os.Environ(), s.env...)
	if outputs["config print"], err = show.CombinedOutput(); err != nil || !bytes.Contains(outputs["config print"], []byte("***")) {
		t.Errorf("config print: %v %s", err, outputs["config print"])
	}
	ls := exec.Command(binary, "key", "ls", "--data", s.dir)
	ls.Env = append(os.Environ(), s.env...)
	if outputs["key ls"], err = ls.CombinedOutput(); err != nil {
		t.Errorf("key ls: %v %s", err, outputs["key ls"])
	}
	s.stop() // the last lines of the log and the audit log
	outputs["log"] = []byte(s.words())
	if len(outputs["log"]) < 500 {
		t.Errorf("the log has %d bytes: it is not on", len(outputs["log"]))
	}
	files := 0
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		outputs["file "+path], err = os.ReadFile(path)
		return err
	})
	if err != nil || files < 4 {
		t.Errorf("%d files in the data directory: %v", files, err)
	}
}
