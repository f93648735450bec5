package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
)

// healthy is a machine that lacks nothing.
type healthy struct{}

func (healthy) Kernel() string                          { return "Linux 6" }
func (healthy) FileSystem(string) (string, error)       { return "ext4", nil }
func (healthy) OpenFiles() (uint64, error)              { return 65536, nil }
func (healthy) Memory() (total, limit int64, err error) { return 16 << 30, 0, nil }
func (healthy) Synced() (bool, time.Duration, error)    { return true, time.Millisecond, nil }

// sick is one that lacks everything.
type sick struct{ healthy }

func (sick) FileSystem(string) (string, error)       { return "tmpfs", nil }
func (sick) OpenFiles() (uint64, error)              { return 1024, nil }
func (sick) Memory() (total, limit int64, err error) { return 16 << 30, 512 << 20, nil }
func (sick) Synced() (bool, time.Duration, error)    { return false, 0, nil }

// closed is a machine that tells nothing.
type closed struct{ healthy }

var errClosed = errors.New("not permitted")

func (closed) FileSystem(string) (string, error)       { return "", errClosed }
func (closed) OpenFiles() (uint64, error)              { return 0, errClosed }
func (closed) Memory() (total, limit int64, err error) { return 0, 0, errClosed }
func (closed) Synced() (bool, time.Duration, error)    { return false, 0, errClosed }

// disk is a file system with faults.
type disk struct {
	host.OS
	free   int64         // 0: plenty
	slow   time.Duration // each sync
	failed error         // each sync
	full   error         // each reservation
}

func (d disk) Space(string) (total, free int64, err error) {
	if d.free == 0 {
		return 1 << 40, 1 << 39, nil
	}
	return 1 << 40, d.free, nil
}

func (d disk) OpenFile(name string, flag int, perm fs.FileMode) (host.File, error) {
	f, err := d.OS.OpenFile(name, flag, perm)
	return diskFile{f, d}, err
}

type diskFile struct {
	host.File
	d disk
}

func (f diskFile) Sync() error {
	time.Sleep(f.d.slow)
	return f.d.failed
}

func (f diskFile) Allocate(int64) error { return f.d.full }

// examine makes all checks and returns their rows by name.
func examine(t *testing.T, change func(*Config)) map[string]Row {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := Config{Version: "v1", Data: dir, Cameras: 100, Budget: 512 << 20, Server: "http://127.0.0.1:1", FS: disk{}, Clock: host.System{},
		Machine: healthy{}, HTTP: http.DefaultClient, Measure: time.Millisecond, LookPath: func(string) (string, error) { return "/bin/true", nil }}
	change(&c)
	rows, failed := map[string]Row{}, 0
	n := Run(t.Context(), c, func(r Row) {
		if _, twice := rows[r.Check]; twice {
			t.Errorf("%s comes twice", r.Check)
		}
		if r.Detail == "" || (r.Status == OK) != (r.Try == "") {
			t.Errorf("%s: %q with %q to try", r.Check, r.Detail, r.Try)
		}
		if r.Status == Fail {
			failed++
		}
		rows[r.Check] = r
	})
	if n != failed {
		t.Errorf("%d failed, %d are told", failed, n)
	}
	if left, err := filepath.Glob(filepath.Join(c.Data, probeName+"*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	return rows
}

func want(t *testing.T, rows map[string]Row, check string, s Status, words string) {
	t.Helper()
	if r := rows[check]; r.Status != s || !strings.Contains(r.Detail+" | "+r.Try, words) {
		t.Errorf("%s: %+v, want %s and %q", check, r, s, words)
	}
}

func TestAMachineThatWillDo(t *testing.T) {
	rows := examine(t, func(c *Config) { c.Ports = []Port{{"http", "127.0.0.1:0"}} })
	for check, r := range rows {
		if r.Status != OK {
			t.Errorf("%s: %+v", check, r)
		}
	}
	want(t, rows, "running server", OK, "none at")
	want(t, rows, "free space", OK, "below 268 MB the oldest video is deleted")
	want(t, rows, "port of http", OK, "is free")
}

func TestWhatAMachineLacks(t *testing.T) {
	rows := examine(t, func(c *Config) {
		c.Machine, c.Cameras = sick{}, 1000
		c.Settings = errors.New("http: not HOST:PORT")
		c.LookPath = func(string) (string, error) { return "", errors.New("not found") }
		c.UDP = func(context.Context) (string, error) {
			return "the receive buffers are small: run `sysctl -w net.core.rmem_max=4194304`", nil
		}
		c.Store = func(context.Context) (string, error) {
			return "", fault.New(fault.NotFound, "probe", "b", "no such bucket").WithHint("make it first")
		}
		c.FS = disk{free: 100 << 20, full: syscall.ENOSPC}
	})
	want(t, rows, "settings", Fail, "http: not HOST:PORT")
	want(t, rows, "file system", Warn, "gone when the machine restarts")
	want(t, rows, "open files", Warn, "8256")
	want(t, rows, "memory", Warn, "537 MB for this process's group")
	want(t, rows, "clock kept right", Warn, "timedatectl")
	want(t, rows, "ffmpeg", Warn, "no stills")
	want(t, rows, "UDP buffers", Warn, "sysctl -w")
	want(t, rows, "S3 store", Fail, "make it first")
	want(t, rows, "free space", Fail, "make room")
	want(t, rows, "durable files", Fail, "reserve space: no space left")
}

func TestAMachineThatTellsNothingIsNoFault(t *testing.T) {
	rows := examine(t, func(c *Config) { c.Machine = closed{} })
	for _, check := range []string{"file system", "open files", "memory", "clock kept right"} {
		want(t, rows, check, OK, "not known here: not permitted")
	}
}

func TestSyncsAreMeasured(t *testing.T) {
	for _, c := range []struct {
		disk  disk
		s     Status
		words string
	}{
		{disk{slow: 2 * time.Millisecond}, OK, "p50 2ms, p99 2ms, over 500 syncs"},
		{disk{slow: 100 * time.Millisecond}, Warn, "p99 100ms, over 10 syncs of 4 KiB: it will do for video"},
		{disk{slow: 3 * time.Second}, Warn, "p50 3s, p99 3s, over 1 syncs of 4 KiB: media will wait"},
		{disk{failed: syscall.EIO}, Fail, "input/output error"},
	} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			rows := map[string]Row{}
			e := &examination{Config: Config{FS: c.disk, Clock: host.System{}, Measure: time.Second}, tell: func(r Row) { rows[r.Check] = r }}
			e.syncs(t.Context(), dir)
			want(t, rows, "sync latency", c.s, c.words)
		})
	}
}

func TestADirectoryThatIsNotThereYet(t *testing.T) {
	parent := t.TempDir()
	rows := examine(t, func(c *Config) { c.Data = filepath.Join(parent, "a", "b") })
	want(t, rows, "data directory", OK, "is not there yet, and can be made")
	left, err := os.ReadDir(parent)
	if err != nil || len(left) > 0 {
		t.Errorf("made %v %v", left, err)
	}
	file := filepath.Join(parent, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, examine(t, func(c *Config) { c.Data = file }), "data directory", Fail, "is no directory")
	open := filepath.Join(parent, "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	want(t, examine(t, func(c *Config) { c.Data = open }), "data directory", Warn, "chmod 700")
}

func TestTheMasterKey(t *testing.T) {
	dir := t.TempDir()
	at := func(env map[string]string) map[string]Row {
		return examine(t, func(c *Config) { c.Data, c.Getenv = dir, func(n string) string { return env[n] } })
	}
	want(t, at(nil), "master key", OK, "not needed yet")
	if err := os.WriteFile(filepath.Join(dir, "meta.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, at(nil), "master key", Fail, "backup")
	want(t, at(map[string]string{"PENSTOCK_MASTER_KEY": "x"}), "master key", OK, "environment")
	key := filepath.Join(dir, "master.key")
	if err := os.WriteFile(key, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	want(t, at(nil), "master key", Fail, "chmod 600")
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, at(nil), "master key", OK, "keep a copy")
}

func TestPortsAndTheServerThatHasThem(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := []Port{{"rtsp", l.Addr().String()}, {"mqtt", "203.0.113.7:1883"}}
	rows := examine(t, func(c *Config) { c.Ports = taken })
	want(t, rows, "port of rtsp", Fail, "--rtsp HOST:PORT")
	want(t, rows, "port of mqtt", Fail, "0.0.0.0 for all")
	for _, c := range []struct {
		title, version, ready string
		status                int
		s                     Status
		words                 string
	}{
		{"Penstock", "v1", "ok", 200, OK, "v1 at"},
		{"Penstock", "v0", "ok", 200, Warn, "restart the server"},
		{"Penstock", "v1", `{"error":{"message":"media cannot be persisted now"}}`, 503, Fail, "media cannot be persisted now"},
		{"Other", "v1", "ok", 200, OK, "another program answers"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text := "ok"
			switch r.URL.Path {
			case "/openapi.json":
				text = `{"info":{"title":"` + c.title + `","version":"` + c.version + `"}}`
			case "/readyz":
				w.WriteHeader(c.status)
				text = c.ready
			}
			_, _ = w.Write([]byte(text)) // the client tells
		}))
		rows := examine(t, func(conf *Config) { conf.Server, conf.Ports = s.URL, taken[:1] })
		want(t, rows, "running server", c.s, c.words)
		if c.title == "Penstock" {
			want(t, rows, "port of rtsp", OK, "as the server that runs here would")
		} else {
			want(t, rows, "port of rtsp", Fail, "in use")
		}
		s.Close()
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	day := 24 * time.Hour
	for _, c := range []struct {
		from, until time.Time
		host        string
		s           Status
		words       string
	}{
		{now.Add(-day), now.Add(90 * day), "penstock.example", OK, "until "},
		{now.Add(-day), now.Add(90 * day), "other.example", Warn, "not for other.example"},
		{now.Add(-day), now.Add(3 * day), "", Warn, "which is soon"},
		{now.Add(-9 * day), now.Add(-day), "", Fail, "it ended on"},
		{now.Add(day), now.Add(9 * day), "", Fail, "it begins only on"},
	} {
		made := Certificate{Setting: "tls.cert", Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), Host: c.host}
		makeCertificate(t, made, c.from, c.until)
		want(t, examine(t, func(conf *Config) { conf.Certificates = []Certificate{made} }), "certificate of tls.cert", c.s, c.words)
	}
	none := Certificate{Setting: "tls.cert", Cert: filepath.Join(dir, "none"), Key: filepath.Join(dir, "none")}
	want(t, examine(t, func(conf *Config) { conf.Certificates = []Certificate{none} }), "certificate of tls.cert", Fail, "no such file")
	none.SelfMade = true
	want(t, examine(t, func(conf *Config) { conf.Certificates = []Certificate{none} }), "certificate of tls.cert", OK, "made when the server starts")
}

func makeCertificate(t *testing.T, c Certificate, from, until time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "t"}, NotBefore: from, NotAfter: until, DNSNames: []string{"penstock.example"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{c.Cert: {Type: "CERTIFICATE", Bytes: der}, c.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheClock(t *testing.T) {
	rows := map[string]Row{}
	e := &examination{Config: Config{Clock: past{}, Machine: healthy{}, Measure: time.Millisecond}, tell: func(r Row) { rows[r.Check] = r }}
	e.clock(t.Context())
	want(t, rows, "clock", Fail, "this is in the past")
}

// past is a machine whose battery is empty.
type past struct{ host.System }

func (past) Now() time.Time { return time.Date(1970, 1, 1, 0, 0, 7, 0, time.UTC) }
