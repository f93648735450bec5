package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"penstock/auth"
	"penstock/cmd/penstock/capacity"
	"penstock/internal/fault"
	"penstock/internal/loadgen"
)

// ownServer is a server that a benchmark started as a process of its own, on loopback.
type ownServer struct {
	cmd    *exec.Cmd
	dir    string
	url    string
	key    auth.Issued
	ended  chan error
	thrown chan struct{} // closed when all that it printed is read
}

// Patience with a server of one's own.
const (
	ownStart = 2 * time.Minute
	ownEnd   = time.Minute
)

// startOwn starts a server with its data in a new folder in dir.
func startOwn(ctx context.Context, t *terminal, dir string) (s *ownServer, err error) {
	s = &ownServer{ended: make(chan error, 1), thrown: make(chan struct{})}
	if s.dir, err = os.MkdirTemp(dir, ".penstock-bench-"); err != nil {
		return nil, err
	}
	if err := s.start(ctx, t); err != nil {
		return nil, fmt.Errorf("start a server: %w", errors.Join(err, s.end()))
	}
	return s, nil
}

func (s *ownServer) start(ctx context.Context, t *terminal) error {
	nobody := func(string) (string, bool) { return "", false } // settings of the user's server are not for this one
	a, done, err := (&local{t: &terminal{out: io.Discard, err: io.Discard, env: nobody}, data: filepath.Join(s.dir, "data")}).authority(ctx)
	if err != nil {
		return err
	}
	s.key, err = a.CreateKey(ctx, auth.NewKey{Name: "bench", Role: auth.RoleAdmin})
	if err := errors.Join(err, done()); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(self, "serve", "--data", filepath.Join(s.dir, "data"), "--http", "127.0.0.1:0", "--rtsp", "127.0.0.1:0", "--mqtt", "off")
	s.cmd.Stderr = log
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PENSTOCK_") {
			s.cmd.Env = append(s.cmd.Env, v)
		}
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	greeted := make(chan string, 1)
	go s.listen(out, greeted)
	go func() {
		<-s.thrown
		s.ended <- s.cmd.Wait()
	}()
	late := time.NewTimer(ownStart)
	defer late.Stop()
	select {
	case s.url = <-greeted:
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
	}
	if s.url == "" {
		text, _ := os.ReadFile(log.Name())
		return fault.New(fault.Unavailable, "", "", "it did not come up: "+oneLine(string(text[max(0, len(text)-500):]))).WithHint("penstock doctor")
	}
	return nil
}

// listen finds the address in the greeting, and throws the rest away.
func (s *ownServer) listen(out io.Reader, greeted chan<- string) {
	defer close(s.thrown)
	defer close(greeted)
	console := regexp.MustCompile(`^\s*console\s+(http://\S+)\s*$`)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := console.FindStringSubmatch(lines.Text()); m != nil {
			greeted <- m[1]
			break
		}
	}
	_, _ = io.Copy(io.Discard, out)
}

// client talks to it.
func (s *ownServer) client(t *terminal) *client {
	return &client{t: t, server: s.url, token: s.key.Token.Reveal(), settled: true, http: http.DefaultClient}
}

// end stops the process and removes its data. A server that hears nothing is killed.
func (s *ownServer) end() error {
	if s.cmd != nil {
		if runtime.GOOS == "windows" || s.cmd.Process.Signal(syscall.SIGTERM) != nil {
			_ = s.cmd.Process.Kill() // it has ended
		}
		late := time.AfterFunc(ownEnd, func() { _ = s.cmd.Process.Kill() })
		<-s.ended
		late.Stop()
	}
	return os.RemoveAll(s.dir)
}

// sample is what the server used so far; ok: it told.
func (tg *target) sample(ctx context.Context) (s capacity.Server, ok bool) {
	res, err := tg.open(ctx, http.MethodGet, "/metrics", nil, nil, nil)
	if err == nil {
		text, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
		s, ok = capacity.ParseMetrics(string(text), time.Now()), err == nil
		_ = res.Body.Close() // it was read
	}
	if tg.own != nil { // the kernel tells more, and sooner
		if c, err := loadgen.ReadProcess(tg.own.cmd.Process.Pid); err == nil {
			s.CPU, s.RSS, s.At, ok = c.CPU.Seconds(), float64(c.RSS), c.At, true
		}
	}
	return s, ok
}

// meter is what was used between two samples.
type meter struct {
	tg          *target
	from        capacity.Server
	told        bool
	own, busy   float64
	began       time.Time
	server      capacity.Usage
	known       bool    // what the server used is
	generator   float64 // cores of this process
	machine     float64 // cores in use on this machine; 0: not known
	cores       float64 // of this machine
	measuredFor float64 // s
}

// begin takes the first sample.
func (tg *target) begin(ctx context.Context) *meter {
	m := &meter{tg: tg, cores: float64(runtime.NumCPU())}
	m.from, m.told = tg.sample(ctx)
	m.own, m.busy, m.began = loadgen.OwnCPU(), loadgen.MachineCPU(), time.Now()
	return m
}

// end takes the second.
func (m *meter) end(ctx context.Context) {
	m.measuredFor = max(time.Since(m.began).Seconds(), 1e-3)
	m.generator = max(0, loadgen.OwnCPU()-m.own) / m.measuredFor
	m.machine = max(0, loadgen.MachineCPU()-m.busy) / m.measuredFor
	to, ok := m.tg.sample(ctx)
	if m.known = ok && m.told; m.known {
		m.server = to.Since(m.from)
	}
}

// others is what else runs on this machine.
func (m *meter) others() float64 {
	n := m.machine - m.generator
	if m.tg.local && m.known {
		n -= m.server.Cores
	}
	return max(0, n)
}

// cpu is how much of the processors was used, where the server is and here.
func (m *meter) cpu() []capacity.Share {
	if m.tg.local {
		return []capacity.Share{m.local()}
	}
	shares := []capacity.Share{{Bound: capacity.Generator, Used: m.machine / m.cores,
		Words: fmt.Sprintf("this machine, which makes the load: %.1f of its %.0f cores are busy", m.machine, m.cores)}}
	if m.known && m.server.Of > 0 {
		shares = append(shares, capacity.Share{Bound: capacity.CPU, Used: m.server.Cores / m.server.Of,
			Words: fmt.Sprintf("CPU: the server takes %.1f of its %.0f cores", m.server.Cores, m.server.Of)})
	}
	return shares
}

// local is how much of this machine's processors was used, where the server is on it.
func (m *meter) local() capacity.Share {
	s := capacity.Share{Bound: capacity.CPU, Used: m.machine / m.cores, Words: fmt.Sprintf("CPU: of %.0f cores this load takes %.2f, others %.2f", m.cores, m.generator, m.others())}
	if !m.known {
		return s
	}
	if m.others() > m.generator+m.server.Cores {
		s.Bound = capacity.Others
		s.Words = fmt.Sprintf("what else runs here: it takes %.2f of %.0f cores, so ask again when it rests", m.others(), m.cores)
		return s
	}
	s.Words = fmt.Sprintf("CPU: of %.0f cores the server takes %.2f, making the load %.2f, others %.2f", m.cores, m.server.Cores, m.generator, m.others())
	return s
}

// document is what the meter says in JSON.
func (m *meter) document() map[string]any {
	d := map[string]any{"generator_cores": loadgen.Rounded(m.generator), "machine_cores": m.cores, "busy_cores": loadgen.Rounded(m.machine)}
	if m.known {
		d["server_cores"], d["server_bytes"] = loadgen.Rounded(m.server.Cores), m.server.RSS
	}
	return d
}

// row is what the meter says in words.
func (m *meter) row() [2]string {
	words := fmt.Sprintf("making the load %.2f", m.generator)
	switch {
	case m.tg.local && m.known:
		words = fmt.Sprintf("of %.0f cores: server %.2f, %s, others %.2f", m.cores, m.server.Cores, words, m.others())
	case m.tg.local:
		words = fmt.Sprintf("of %.0f cores: %s, others %.2f (the key may not ask for the server's)", m.cores, words, m.others())
	case m.known:
		words = fmt.Sprintf("server %.2f cores; %s of %.0f here", m.server.Cores, words, m.cores)
	default:
		words += fmt.Sprintf(" of %.0f cores here; the key may not ask for the server's", m.cores)
	}
	return [2]string{"CPU", words}
}

// where says what was measured.
func (tg *target) where() string {
	if tg.own != nil {
		return "a server of its own"
	}
	return tg.server
}
