// Command bench measures Penstock from outside: the real binary under many cameras,
// beside the floor (read and append the same bytes) in the same run, and beside a peer
// (MediaMTX) when its binary is given. It prints a table, and the same figures as JSON
// to bench.json. docs/design/performance.md says what they are and how they are taken.
//
//	go run ./bench                      every figure; about ten minutes
//	go run ./bench -cameras 100@3 -only ingest -peer /path/to/mediamtx
//	go run ./bench -only records -peer-kinesis 127.0.0.1:4567
//	go run ./bench -long                 clips of ten million stored fragments, and 10 GB of records, too
package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"penstock/internal/loadgen"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// figure is one line of the result.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Floor float64 `json:"floor,omitempty"` // the same measured on the floor
	Peer  float64 `json:"peer,omitempty"`  // the same measured on the peer, if one was given
	// Target is the most that it may be, Least the least; 0: none was set.
	Target float64 `json:"target,omitempty"`
	Least  float64 `json:"at_least,omitempty"`
	Note   string  `json:"note,omitempty"`
	// Detail and PeerDetail are what else was seen meanwhile, by name and unit.
	Detail     map[string]float64 `json:"detail,omitempty"`
	PeerDetail map[string]float64 `json:"peer_detail,omitempty"`
}

// ratio is by what the value is more than another, nil when there is no other.
func (f figure) ratio(other float64) *float64 {
	if other == 0 {
		return nil
	}
	r := f.Value / other
	return &r
}

// missed reports whether a target was set and is not met.
func (f figure) missed() bool {
	return f.Target > 0 && f.Value > f.Target || f.Least > 0 && f.Value < f.Least
}

// target is what the table shows.
func (f figure) target() string {
	s := ""
	switch {
	case f.Target > 0:
		s = fmt.Sprintf("<= %.6g", f.Target)
	case f.Least > 0:
		s = fmt.Sprintf(">= %.6g", f.Least)
	}
	if f.missed() {
		s += " MISSED"
	}
	return s
}

// note is the words and the details, in one line.
func (f figure) note() string {
	parts := []string{}
	if f.Note != "" {
		parts = append(parts, f.Note)
	}
	of := func(d map[string]float64, prefix string) {
		if len(d) == 0 {
			return
		}
		var all []string
		for _, k := range slices.Sorted(maps.Keys(d)) {
			all = append(all, fmt.Sprintf("%s %.6g", k, d[k]))
		}
		parts = append(parts, prefix+strings.Join(all, ", "))
	}
	of(f.Detail, "")
	of(f.PeerDetail, "peer: ")
	return strings.Join(parts, "; ")
}

// MarshalJSON adds the ratios.
func (f figure) MarshalJSON() ([]byte, error) {
	type plain figure
	return json.Marshal(struct {
		plain
		ToFloor  *float64 `json:"ratio_to_floor,omitempty"`
		ToPeer   *float64 `json:"ratio_to_peer,omitempty"`
		ToTarget *float64 `json:"ratio_to_target,omitempty"`
		Missed   bool     `json:"missed,omitempty"`
	}{plain(f), f.ratio(f.Floor), f.ratio(f.Peer), f.ratio(max(f.Target, f.Least)), f.missed()})
}

type bench struct {
	dir     string    // of binaries and data, removed at the end
	keep    string    // results
	peer    string    // the peer's binary; empty: none
	other   *endpoint // a peer of data streams; nil: none
	long    bool
	seconds time.Duration
	records time.Duration
	warm    time.Duration
	figures []figure
}

func run(args []string) error {
	if len(args) > 0 && args[0] == "sink" {
		return sink(args[1], args[2])
	}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	counts := fs.String("cameras", "10,50,100,200,100@3", "numbers of cameras to measure, with @ the Mb/s of each (4)")
	small := fs.Int("small", 1000, "number of small cameras that connect at once; 0 leaves that out")
	only := fs.String("only", "", "start, ingest, small, picture, play, history, glass, records or one section of these (records/puts, gets, delivery, wide, restart, bare); empty is all")
	seconds := fs.Duration("for", 20*time.Second, "window of each measurement of video")
	recordsFor := fs.Duration("records-for", 3*time.Second, "window of each measurement of records")
	data := fs.String("dir", "", "where data is written: a directory on the disk to measure (a temporary one)")
	peer := fs.String("peer", "", "a MediaMTX binary to measure beside, on loopback, with a configuration made for it")
	kinesis := fs.String("peer-kinesis", "", "host:port of another server of the Kinesis API, to put to and get from beside")
	kinesisKey := fs.String("peer-kinesis-key", "AKIDPEER:secret", "its access key and secret, with a colon between")
	kinesisPID := fs.Int("peer-kinesis-pid", 0, "its process, to say what it takes; 0: nothing is said")
	long := fs.Bool("long", false, "also clips of ten million stored fragments, and a restart over 10 GB of records: some minutes, and 13 GB more")
	out := fs.String("json", "bench.json", "where the figures go")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp(*data, "penstock-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, keep: *out, peer: *peer, long: *long, seconds: *seconds, records: *recordsFor, warm: 6 * time.Second}
	if *kinesis != "" {
		b.other = newEndpoint(strings.TrimSuffix(strings.TrimPrefix(*kinesis, "http://"), "/"), *kinesisPID, *kinesisKey)
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	part, section, _ := strings.Cut(*only, "/")
	known := part == ""
	for _, what := range []struct {
		name    string
		measure func(context.Context) error
	}{
		{"start", b.startUp},
		{"ingest", func(ctx context.Context) error { return b.fleets(ctx, *counts) }},
		{"small", func(ctx context.Context) error { return b.smallCameras(ctx, *small) }},
		{"picture", b.pictures},
		{"play", b.play},
		{"history", b.history},
		{"glass", b.glass},
		{"records", func(ctx context.Context) error { return b.dataStreams(ctx, section) }},
	} {
		if part == "" || part == what.name {
			known = true
			if err := what.measure(ctx); err != nil {
				return errors.Join(err, b.print())
			}
		}
	}
	if !known {
		return fmt.Errorf("-only %s: no such part, see -h", *only)
	}
	return b.print()
}

// fleets measures each number of cameras that counts names.
func (b *bench) fleets(ctx context.Context, counts string) error {
	for text := range strings.SplitSeq(counts, ",") {
		n, rate, err := fleetOf(text)
		if err != nil {
			return err
		}
		if err := b.ingest(ctx, n, loadgen.Load{Bitrate: int(rate * 1e6), FPS: 25, GOP: 50, Audio: true}, fmt.Sprintf("%d x 1080p %.3g Mb/s", n, rate)); err != nil {
			return err
		}
	}
	return nil
}

// smallCameras measures n cameras that send little and connect at once; 0: none.
func (b *bench) smallCameras(ctx context.Context, n int) error {
	if n == 0 {
		return nil
	}
	return b.ingest(ctx, n, loadgen.Load{Bitrate: 64_000, FPS: 5, GOP: 10}, fmt.Sprintf("%d x 64 kb/s", n))
}

// fleetOf reads a number of cameras and their Mb/s.
func fleetOf(text string) (n int, rate float64, err error) {
	number, each, ok := strings.Cut(text, "@")
	if !ok {
		each = "4"
	}
	if n, err = strconv.Atoi(number); err != nil {
		return 0, 0, err
	}
	rate, err = strconv.ParseFloat(each, 64)
	return n, rate, err
}

func (b *bench) add(f figure) {
	b.figures = append(b.figures, f)
	fmt.Fprintf(os.Stderr, "%s: %.4g %s (floor %.4g, peer %.4g) %s\n", f.Name, f.Value, f.Unit, f.Floor, f.Peer, f.note())
}

func (b *bench) build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.dir+"/penstock", "penstock/cmd/penstock")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	st, err := os.Stat(b.dir + "/penstock")
	if err != nil {
		return err
	}
	b.add(figure{Name: "binary, stripped", Value: float64(st.Size()) / 1e6, Unit: "MB", Target: 60})
	return nil
}

// server is a running Penstock, or the floor in its place.
type server struct {
	cmd        *exec.Cmd
	http, rtsp string
	token      string
	key        string // access key and secret, with a colon between
	dir        string
	took       time.Duration // from its start until it was ready
}

func (s *server) end() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (b *bench) serve(ctx context.Context, dir string, args ...string) (*server, error) {
	s := &server{dir: dir}
	var err error
	if s.http, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.rtsp, err = freeAddress(); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, b.dir+"/penstock", "key", "create", "--admin", "-o", "json", "--data", dir).Output()
	if err != nil {
		return nil, fmt.Errorf("key create: %w", err)
	}
	var k struct {
		Token  string
		Access string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	if err := json.Unmarshal(out, &k); err != nil {
		return nil, err
	}
	s.token, s.key = k.Token, k.Access+":"+k.Secret
	s.cmd = exec.Command(b.dir+"/penstock", append([]string{"serve", "--data", dir, "--http", s.http, "--rtsp", s.rtsp}, args...)...)
	log, err := os.Create(filepath.Join(b.dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd.Stderr, s.cmd.Stdout = log, log
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	err = s.ready(ctx)
	s.took = time.Since(began)
	return s, err
}

func (s *server) ready(ctx context.Context) error {
	for range 5000 {
		res, err := http.Get("http://" + s.http + "/readyz")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		if !loadgen.Sleep(ctx, 2*time.Millisecond) {
			return ctx.Err()
		}
	}
	return errors.New("the server was not ready in 10 s")
}

func (s *server) auth() string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("key:"+s.token)) + "\r\n"
}

func (b *bench) floor(ctx context.Context) (*server, error) {
	s := &server{dir: filepath.Join(b.dir, "floor")}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if s.rtsp, err = freeAddress(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.cmd = exec.Command(self, "sink", s.rtsp, s.dir)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if !listens(ctx, s.rtsp) {
		return nil, errors.New("the floor did not listen")
	}
	return s, nil
}

// listens waits for as long as a start may take until somebody listens at address.
func listens(ctx context.Context, address string) bool {
	for range 1000 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close() // that it came was all
			return true
		}
		if !loadgen.Sleep(ctx, 5*time.Millisecond) {
			break
		}
	}
	return false
}

// startUp measures from the start of the process to the first 200 of /readyz.
func (b *bench) startUp(ctx context.Context) error {
	dir := filepath.Join(b.dir, "start")
	var best time.Duration
	for range 5 {
		begin := time.Now()
		s, err := b.serve(ctx, dir)
		if err != nil {
			return err
		}
		took := time.Since(begin)
		s.end()
		if best == 0 || took < best {
			best = took
		}
	}
	b.add(figure{Name: "key create, then start to ready", Value: float64(best.Milliseconds()), Unit: "ms", Target: 300, Note: "two processes, best of 5"})
	return nil
}

func (b *bench) print() error {
	text, err := json.MarshalIndent(b.figures, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.keep, append(text, '\n'), 0o644); err != nil {
		return err
	}
	var buf bytes.Buffer
	w := tabwriter.NewWriter(&buf, 0, 4, 3, ' ', 0)
	fmt.Fprintln(w, "WHAT\tHERE\tTARGET\tFLOOR\tRATIO\tPEER\tRATIO\t")
	cell := func(v float64, unit string) string {
		if v == 0 {
			return ""
		}
		return strings.TrimSpace(fmt.Sprintf("%.4g %s", v, unit))
	}
	ratio := func(r *float64) string {
		if r == nil {
			return ""
		}
		return fmt.Sprintf("%.2f", *r)
	}
	for _, f := range b.figures {
		fmt.Fprintf(w, "%s\t%.4g %s\t%s\t%s\t%s\t%s\t%s\t%s\n", f.Name, f.Value, f.Unit, f.target(), cell(f.Floor, f.Unit),
			ratio(f.ratio(f.Floor)), cell(f.Peer, f.Unit), ratio(f.ratio(f.Peer)), f.note())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = os.Stdout.Write(buf.Bytes())
	return err
}
