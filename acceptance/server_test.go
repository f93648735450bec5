package acceptance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"penstock/internal/host/hosttest"
	"penstock/internal/repotest"
	"penstock/wire/sigv4"
)

// binary is the program under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "penstock-acceptance-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "penstock")
	build := exec.Command("go", "build", "-o", binary, "penstock/cmd/penstock")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	// Most of these tests wait for real time to pass: more of them than processors fit.
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// server is one running Penstock.
type server struct {
	t      testing.TB
	dir    string // data directory
	http   string // host:port
	rtsp   string
	link   string
	token  string       // of an admin key
	signer sigv4.Signer // the same key, as AWS clients use it
	args   []string
	env    []string
	strict bool // cameras on the loopback interface are refused, as they are by default

	log  *journal
	cmd  *exec.Cmd
	done chan struct{}

	pulse *hosttest.Pulse // see machine
}

// start runs the server on ports of its own until the test ends.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	return startWith(t, &server{dir: t.TempDir(), args: args})
}

// startWith runs a server whose directory, environment and arguments are set already.
func startWith(t testing.TB, s *server) *server {
	t.Helper()
	s.t, s.http, s.rtsp, s.log = t, freeAddress(t), freeAddress(t), &journal{}
	s.newKey()
	s.up()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the server's last words:\n%s", tail(s.words(), 6000))
		}
	})
	return s
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// givenPorts are those of freeAddress: a test whose server is not up yet, or down for a
// moment, has its port all the same.
var givenPorts sync.Map

// freeAddress finds a port that nobody listens on and no other test got, below those that
// the system hands out to clients: tests run beside each other, and a server comes back to
// its port.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(22000)))
		if err != nil {
			continue // somebody has it
		}
		address := l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, given := givenPorts.LoadOrStore(address, true); !given {
			return address
		}
	}
	t.Fatal("no free port between 10000 and 32000")
	return ""
}

func (s *server) newKey() {
	s.t.Helper()
	create := exec.Command(binary, "key", "create", "--admin", "-o", "json", "--data", s.dir)
	create.Env = append(os.Environ(), s.env...)
	out, err := create.Output()
	if err != nil {
		s.t.Fatalf("key create: %v\n%s", err, stderr(err))
	}
	var k struct {
		Token  string
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	if err := json.Unmarshal(out, &k); err != nil || k.Token == "" {
		s.t.Fatalf("key create printed %q: %v", out, err)
	}
	s.token = k.Token
	s.signer = sigv4.Signer{AccessKey: k.ID, Secret: k.Secret, Region: "us-east-1", Service: "kinesis"}
}

func stderr(err error) []byte {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.Stderr
	}
	return nil
}

// launch starts the process and returns where the link that it prints arrives.
func (s *server) launch() <-chan string {
	s.t.Helper()
	args := append([]string{"serve", "--data", s.dir, "--http", s.http, "--rtsp", s.rtsp}, s.args...)
	if !s.strict {
		args = append(args, "--allow-address", "127.0.0.0/8")
	}
	s.cmd = exec.Command(binary, args...)
	s.cmd.Env = append(os.Environ(), s.env...)
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan struct{})
	links := make(chan string, 1)
	go func() {
		defer close(s.done)
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			fmt.Fprintln(s.log, sc.Text())
			if m := linkPattern.FindString(sc.Text()); m != "" {
				links <- m
			}
		}
		_ = s.cmd.Wait() // how it ended is told by its words
	}()
	return links
}

// up starts the process and waits until it is ready.
func (s *server) up() {
	s.t.Helper()
	links := s.launch()
	select {
	case s.link = <-links:
	case <-s.done:
		s.t.Fatalf("the server ended at once:\n%s", s.words())
	case <-time.After(patience * 30 * time.Second):
		s.t.Fatalf("the server printed no link in 30 s:\n%s", s.words())
	}
	s.until("ready", 10*time.Second, func() error {
		res, err := http.Get("http://" + s.http + "/readyz")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

var linkPattern = regexp.MustCompile(`https?://\S+/#link=\S+`)

// journal is what the server writes to its standard output and error.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

// String returns all of it.
func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (s *server) words() string { return s.log.String() }

// as is the same server for a subtest.
func (s *server) as(t testing.TB) *server {
	c := *s
	c.t = t
	return &c
}

// kill is kill -9.
func (s *server) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Fatal(err)
	}
	<-s.done
}

// stop is SIGTERM; it returns how long the server took.
func (s *server) stop() time.Duration {
	begin := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		<-s.done
		return 0
	}
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		s.t.Errorf("the server did not end within a minute of SIGTERM")
		s.kill()
	}
	return time.Since(begin)
}

// patience multiplies how long tests wait for what comes soon on an idle machine: who
// gets it goes on at once, and a machine that does much else is no reason to fail.
const patience = 4

// until waits for ask to return nil.
func (s *server) until(what string, most time.Duration, ask func() error) {
	s.t.Helper()
	most *= patience
	deadline := time.Now().Add(most)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within %v: %v\n%s", what, most, err, tail(s.words(), 4000))
		}
		time.Sleep(50 * time.Millisecond) // another process: there is no event to wait for
	}
}

// do sends a request with the admin token and returns status and body.
func (s *server) do(method, path string, body any, header ...string) (int, []byte, http.Header) {
	s.t.Helper()
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://"+s.http+path, r)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, text, res.Header
}

// get decodes a JSON answer.
func (s *server) get(path string, v any) {
	s.t.Helper()
	status, body, _ := s.do(http.MethodGet, path, nil)
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		s.t.Fatalf("GET %s: %v\n%s", path, err, body)
	}
}

// pushURL is where a producer pushes a stream.
func (s *server) pushURL(name string) string {
	return (&url.URL{Scheme: "rtsp", User: url.UserPassword("key", s.token), Host: s.rtsp, Path: "/" + name}).String()
}

type streamInfo struct {
	Name, State, Reason string
	Live                bool
	Bytes               int64
	Fragments           int64 `json:"fragment_count"`
	First, Last         time.Time
	Lost                uint64
}

func (s *server) stream(name string) streamInfo {
	var v streamInfo
	s.get("/v1/streams/"+name, &v)
	return v
}

type head struct {
	Number     json.Number
	Start, End time.Time
	Bytes      int64
	Samples    int
	Gap        string
}

// fragments lists all heads of the last hour.
func (s *server) fragments(name string) []head {
	s.t.Helper()
	var all []head
	next := ""
	for {
		var page struct {
			Fragments []head
			Next      string
		}
		s.get("/v1/streams/"+name+"/fragments?start=-1h&limit=1000&next="+url.QueryEscape(next), &page)
		all = append(all, page.Fragments...)
		if next = page.Next; next == "" {
			return all
		}
	}
}

// decodes counts the packets of a media file's picture and fails on any decoding error.
func decodes(t testing.TB, file string) int {
	t.Helper()
	ffmpeg, ffprobe := repotest.Need(t, "ffmpeg"), repotest.Need(t, "ffprobe")
	var errs bytes.Buffer
	// In the file's own time scale: rounded to frames, pictures of a camera that was late fall
	// on each other.
	cmd := repotest.Command(t, ffmpeg, "-v", "error", "-xerror", "-i", file, "-map", "0", "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-")
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("ffmpeg on %s: %v\n%s", file, err, errs.String())
	}
	out, err := repotest.Command(t, ffprobe, "-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", file).Output()
	if err != nil {
		t.Fatalf("ffprobe on %s: %v", file, err)
	}
	n := 0
	if _, err := fmt.Sscanf(strings.TrimSpace(string(out)), "%d", &n); err != nil {
		t.Fatalf("ffprobe on %s says %q", file, out)
	}
	return n
}

// save writes bytes to a file of the test.
func save(t testing.TB, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// outputs is where screenshots are kept for people to look at.
func outputs(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(repotest.Root(t), "test-output")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
