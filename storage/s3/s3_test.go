package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/fault"
	"penstock/internal/host/hosttest"
	"penstock/internal/secret"
	"penstock/storage"
	"penstock/storage/retry"
	"penstock/storage/s3"
	"penstock/storage/storagetest"
	"penstock/storage/storagetest/versity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, cfg s3.Config) *s3.Bucket {
	t.Helper()
	b, err := s3.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBucketOnVersitygw(t *testing.T) {
	cfg := versity.Start(t)
	for _, probed := range []bool{false, true} {
		t.Run(fmt.Sprintf("probed=%v", probed), func(t *testing.T) {
			n := 0
			storagetest.Run(t, func(t *testing.T) storage.Bucket {
				n++
				cfg.Prefix = fmt.Sprintf("p%v/case-%d", probed, n)
				b := open(t, cfg)
				if probed {
					rep, err := b.Probe(t.Context())
					if err != nil || rep.Err() != nil || !rep.Conditional {
						t.Fatalf("Probe = %v, %v\n%s", err, rep.Err(), rep)
					}
				}
				// Around it goes what goes around it in service: see meaning for why
				// this server needs it.
				return retry.New(retry.Config{Bucket: b, Attempts: 6, First: time.Millisecond, Max: 20 * time.Millisecond})
			})
		})
	}
}

func TestAnObjectBiggerThanAPartIsOneObject(t *testing.T) {
	cfg := versity.Start(t)
	cfg.PartSize = 5 << 20
	b := open(t, cfg)
	data := storagetest.Bytes(5, 12<<20)
	storagetest.Put(t, b, "big", data)
	if got := storagetest.Get(t, b, "big", 0, -1); !bytes.Equal(got, data) {
		t.Error("other bytes came back")
	}
	storagetest.Want(t, "second Put", b.Put(t.Context(), "big", bytes.NewReader(data), int64(len(data))), fault.InUse)
}

func TestStrangersObjectsAreNotListed(t *testing.T) {
	srv := versity.Run(t)
	cfg := srv.Config
	cfg.Prefix = "ours"
	b := open(t, cfg)
	storagetest.Put(t, b, "k", nil)
	for _, name := range []string{"ours/two words", "ours/.hidden", "oursnot", "other"} {
		if err := os.WriteFile(filepath.Join(srv.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if keys := storagetest.Keys(t, b, "", ""); len(keys) != 1 || keys[0] != "k" {
		t.Errorf("List = %q", keys)
	}
}

func TestProbeSaysWhatToDo(t *testing.T) {
	good := versity.Start(t)
	for _, c := range []struct {
		name   string
		change func(*s3.Config)
		kind   fault.Kind
		hint   string
	}{
		{"wrong secret", func(c *s3.Config) { c.SecretKey = secret.New("wrong") }, fault.Unauthentic, "check the access key"},
		{"unknown key", func(c *s3.Config) { c.AccessKey = "nobody" }, fault.Unauthentic, "check the access key"},
		{"no such bucket", func(c *s3.Config) { c.Bucket = "nowhere" }, fault.Unavailable, "make the bucket"},
		{"nobody listens", func(c *s3.Config) { c.Endpoint = "127.0.0.1:1" }, fault.Unavailable, "can be reached"},
		{"TLS to a plain server", func(c *s3.Config) { c.Endpoint = strings.Replace(c.Endpoint, "http:", "https:", 1) }, fault.Unavailable, "can be reached"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := good
			c.change(&cfg)
			rep, err := open(t, cfg).Probe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			storagetest.Want(t, "Probe", rep.Err(), c.kind)
			if !strings.Contains(fault.HintOf(rep.Err()), c.hint) || !strings.Contains(rep.String(), "FAIL put: ") {
				t.Errorf("hint %q\n%s", fault.HintOf(rep.Err()), rep)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v %v", cfg, cfg, cfg, rep), cfg.SecretKey.Reveal()) {
				t.Error("the secret is printed")
			}
		})
	}
	rep, err := open(t, good).Probe(t.Context())
	if err != nil || rep.Err() != nil {
		t.Fatal(err, rep.Err())
	}
	if keys := storagetest.Keys(t, open(t, good), "", ""); len(keys) != 0 {
		t.Errorf("the probe left %v", keys)
	}
}

// unconditional goes to the server through a proxy that answers 200 to a conditional put
// and stores nothing.
func unconditional(t *testing.T, cfg s3.Config) s3.Config {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The signature covers If-None-Match, so a proxy cannot take it away: it answers
		// such a put itself.
		req := r.Clone(r.Context())
		req.RequestURI, req.URL.Scheme = "", "http"
		req.URL.Host = strings.TrimPrefix(cfg.Endpoint, "http://")
		if r.Method == http.MethodPut && r.Header.Get("If-None-Match") != "" {
			w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.StatusCode)
		_, _ = io.Copy(w, res.Body)
	}))
	t.Cleanup(srv.Close)
	cfg.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		// The signature covers the host name: keep it and go to the proxy.
		return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
	}
	return cfg
}

func TestAServerThatIgnoresConditionsIsAskedBeforeEachPut(t *testing.T) {
	cfg := unconditional(t, versity.Start(t))
	b := open(t, cfg)
	rep, err := b.Probe(t.Context())
	if err != nil || rep.Err() != nil || rep.Conditional {
		t.Fatalf("Probe = %v, %v, conditional %v", err, rep.Err(), rep.Conditional)
	}
	if !strings.Contains(rep.String(), "asks first") {
		t.Errorf("the report does not say what it means:\n%s", rep)
	}
	storagetest.Put(t, b, "k", []byte("first"))
	storagetest.Want(t, "second Put", b.Put(t.Context(), "k", strings.NewReader("other"), 5), fault.InUse)
	if got := storagetest.Get(t, b, "k", 0, -1); string(got) != "first" {
		t.Errorf("the object is %q", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	ok := s3.Config{Endpoint: "127.0.0.1:9000", Bucket: "b", AccessKey: "a", SecretKey: secret.New("s")}
	if err := ok.Validate(); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*s3.Config){
		"Endpoint":  func(c *s3.Config) { c.Endpoint = "" },
		"https://":  func(c *s3.Config) { c.Endpoint = "ftp://x" },
		"Bucket":    func(c *s3.Config) { c.Bucket = "" },
		"SecretKey": func(c *s3.Config) { c.SecretKey = secret.Text{} },
		"Prefix":    func(c *s3.Config) { c.Prefix = "../x" },
		"Stall":     func(c *s3.Config) { c.Stall = -1 },
		"PartSize":  func(c *s3.Config) { c.PartSize = 1 },
	} {
		cfg := ok
		change(&cfg)
		if err := cfg.Validate(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestAnOutageLosesNothing kills the server under uploads, starts it again, and freezes
// it, while eight writers put through storage/retry.
func TestAnOutageLosesNothing(t *testing.T) {
	srv := versity.Run(t)
	cfg := srv.Config
	cfg.Stall = 300 * time.Millisecond
	var failures atomic.Int64
	failed := make(chan struct{}, 1)
	b := retry.New(retry.Config{
		Bucket: open(t, cfg), Attempts: -1, First: 5 * time.Millisecond, Max: 50 * time.Millisecond,
		Notify: func(retry.Failure) {
			failures.Add(1)
			select {
			case failed <- struct{}{}:
			default:
			}
		},
	})
	var (
		wg     sync.WaitGroup
		stored = make(chan struct{}, 16)
		stop   = make(chan struct{})
		mu     sync.Mutex
		keys   = map[string]byte{}
	)
	const size = 300_000
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key, seed := fmt.Sprintf("w%d/%04d", w, i), byte(w*31+i)
				if err := b.Put(t.Context(), key, bytes.NewReader(storagetest.Bytes(seed, size)), size); err != nil {
					t.Errorf("put %s: %v", key, err)
					return
				}
				mu.Lock()
				keys[key] = seed
				mu.Unlock()
				select {
				case stored <- struct{}{}:
				default: // nobody counts just now
				}
			}
		})
	}
	progress := func() {
		t.Helper()
		deadline := time.After(2 * time.Minute)
		for range 2 * cap(stored) { // half of them may be from before
			select {
			case <-stored:
			case <-deadline:
				t.Fatal("uploads do not go on")
			}
		}
	}
	outage := func(begin, end func()) {
		t.Helper()
		begin()
		select {
		case <-failed:
		default:
		}
		<-failed
		end()
		progress()
	}
	progress()
	for range 3 {
		outage(srv.Stop, srv.Start)
		outage(srv.Freeze, srv.Thaw)
	}
	close(stop)
	wg.Wait()
	if failures.Load() != b.Retries() || failures.Load() == 0 {
		t.Errorf("%d failures were told, %d retries counted", failures.Load(), b.Retries())
	}
	listed := storagetest.Keys(t, b, "", "")
	if len(listed) != len(keys) {
		t.Errorf("%d objects were acknowledged, %d are there", len(keys), len(listed))
	}
	for key, seed := range keys {
		if got := storagetest.Get(t, b, key, 0, -1); !bytes.Equal(got, storagetest.Bytes(seed, size)) {
			t.Errorf("%s holds other bytes", key)
		}
	}
	t.Logf("%d objects, %d retries over 3 kills and 3 freezes", len(keys), b.Retries())
}

func TestAFrozenServerIsGivenUpInTime(t *testing.T) {
	srv := versity.Run(t)
	cfg := srv.Config
	cfg.Stall = 200 * time.Millisecond
	b, patient := open(t, cfg), open(t, srv.Config)
	storagetest.Put(t, patient, "k", storagetest.Bytes(1, 8<<20))
	r, err := b.Get(t.Context(), "k", 0, -1)
	for try := 0; err != nil && try < 20; try++ { // a machine that stands still is a server that does
		r, err = b.Get(t.Context(), "k", 0, -1)
	}
	if err != nil {
		t.Fatal(err)
	}
	srv.Freeze()
	defer srv.Thaw()
	pulse, began := hosttest.Feel(t), time.Now()
	_, err = io.ReadAll(r)
	storagetest.Want(t, "reading", err, fault.Unavailable)
	r.Close()
	err = b.Put(t.Context(), "other", bytes.NewReader(make([]byte, 8<<20)), 8<<20)
	storagetest.Want(t, "Put", err, fault.Unavailable)
	if took := pulse.Took(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := patient.Put(ctx, "third", strings.NewReader("x"), 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a Put whose context ended = %v", err)
	}
}
