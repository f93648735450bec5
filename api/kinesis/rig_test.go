package kinesis

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/auth"
	"penstock/internal/host/hosttest"
	"penstock/records"
	"penstock/storage/mem"
	"penstock/storage/meta"
	"penstock/streams/datastream"
	"penstock/wire/sigv4"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testAccount = "000000000000"
	testRegion  = "us-east-1"
)

// handClock is moved by hand; its timers are real. Without a time it begins with the real
// one and runs.
type handClock struct {
	mu    sync.Mutex
	now   time.Time
	ahead time.Duration
	gate  hosttest.Gate
}

// stateDelay is a StateDelay that passes when the clock's gate is opened, and no time that
// anything else waits for.
const stateDelay = 77 * time.Hour

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now.IsZero() {
		return time.Now().Add(c.ahead)
	}
	return c.now
}

func (c *handClock) NewTimer(d time.Duration) *time.Timer {
	if d == stateDelay {
		return c.gate.NewTimer()
	}
	return time.NewTimer(d)
}

func (c *handClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ahead += d; !c.now.IsZero() {
		c.now = c.now.Add(d)
	}
}

// notes is the audit log.
type notes struct {
	mu   sync.Mutex
	list []auth.AuditEvent
}

func (n *notes) Record(_ context.Context, e auth.AuditEvent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, e)
}

func (n *notes) all() []auth.AuditEvent {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]auth.AuditEvent(nil), n.list...)
}

// options of a rig; the zero value means the defaults.
type options struct {
	kinesis Config
	streams datastream.Config
	dir     string // empty: a fresh one
	bucket  *mem.Bucket
	limits  bool // those of shards
	clock   *handClock
}

// rig is a whole service: accounts, streams, records, and the door.
type rig struct {
	t      testing.TB
	o      options
	clock  *handClock
	audit  *notes
	auth   *auth.Authority
	data   *datastream.Catalogue
	store  *records.Store
	server *Server
	http   *httptest.Server
	admin  auth.Issued
	stop   func()
	rand   io.Reader
}

func newRig(t testing.TB, o options) *rig {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	if o.clock == nil {
		o.clock = &handClock{now: time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)}
	}
	if o.bucket == nil {
		o.bucket = mem.New(mem.Config{})
	}
	r := &rig{t: t, o: o, clock: o.clock, audit: &notes{}, rand: rand.NewChaCha8([32]byte{1})}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// start opens everything, also again after stop.
func (r *rig) start() {
	t, o := r.t, r.o
	ctx, cancel := context.WithCancel(context.Background())
	db := must[*meta.DB](t)(meta.Open(ctx, meta.Config{Path: filepath.Join(o.dir, "meta.db"), Schemas: []meta.Schema{auth.Schema(), datastream.Schema()}}))
	key := must[auth.MasterKey](t)(auth.NewMasterKey([]byte("0123456789abcdef0123456789abcdef")))
	r.auth = must[*auth.Authority](t)(auth.Open(ctx, auth.Config{Meta: db, MasterKey: key, Clock: r.clock, Audit: r.audit, Poll: 20 * time.Millisecond}))
	o.streams.Meta, o.streams.Sealer, o.streams.Clock, o.streams.NoLimits = db, r.auth, r.clock, !o.limits
	o.streams.Rand = r.rand
	r.data = must[*datastream.Catalogue](t)(datastream.Open(ctx, o.streams))
	r.store = must[*records.Store](t)(records.Open(ctx, records.Config{Dir: o.dir, Bucket: o.bucket, Meta: db, Clock: r.clock, Keys: r.data, Retention: r.data.Retention, LaneFileSize: 1 << 20}))
	r.data.Attach(r.store)
	o.kinesis.Auth, o.kinesis.Catalogue, o.kinesis.Clock = r.auth, r.data, r.clock
	r.server = must[*Server](t)(New(ctx, o.kinesis))
	r.http = httptest.NewUnstartedServer(r.server)
	r.http.Config.Protocols = new(http.Protocols)
	r.http.Config.Protocols.SetHTTP1(true)
	r.http.Config.Protocols.SetUnencryptedHTTP2(true)
	r.http.Start()
	if r.admin.ID == "" {
		r.admin = r.key(auth.NewKey{Role: auth.RoleAdmin})
	}
	var done sync.WaitGroup
	upper, stopUpper := context.WithCancel(ctx)
	done.Go(func() {
		if err := r.store.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	var above sync.WaitGroup
	above.Go(func() { _ = r.auth.Run(upper) })
	above.Go(func() { _ = r.data.Run(upper) })
	r.stop = sync.OnceFunc(func() {
		r.http.CloseClientConnections()
		r.http.Close()
		stopUpper()
		above.Wait()
		cancel()
		done.Wait()
		_ = r.store.Close()
		_ = db.Close()
	})
}

func (r *rig) restart() {
	r.stop()
	r.start()
}

func (r *rig) key(n auth.NewKey) auth.Issued {
	r.t.Helper()
	return must[auth.Issued](r.t)(r.auth.CreateKey(context.Background(), n))
}

// request makes a signed request; zero key: unsigned.
func (r *rig) request(ctx context.Context, as auth.Issued, op, contentType string, body []byte) *http.Request {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, r.http.URL+"/", bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Content-Type", contentType)
	q.Header.Set("X-Amz-Target", "Kinesis_20131202."+op)
	if as.ID != "" {
		signer := sigv4.Signer{AccessKey: as.ID, Secret: as.Secret.Reveal(), Region: testRegion, Service: "kinesis"}
		signer.Sign(q, body, r.clock.Now())
	}
	return q
}

const jsonType = "application/x-amz-json-1.1"

// do sends one call and returns status and body.
func (r *rig) do(as auth.Issued, op, body string) (int, string) {
	r.t.Helper()
	answer, err := http.DefaultTransport.RoundTrip(r.request(context.Background(), as, op, jsonType, []byte(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// ok sends a call that must succeed, and decodes its answer.
func (r *rig) ok(op, body string) map[string]any {
	r.t.Helper()
	status, text := r.do(r.admin, op, body)
	if status != http.StatusOK {
		r.t.Fatalf("%s %s: %d %s", op, body, status, text)
	}
	out := map[string]any{}
	if text != "" {
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			r.t.Fatal(err)
		}
	}
	return out
}

// fails sends a call that must be refused with the exception, and returns its message.
func (r *rig) fails(as auth.Issued, op, body, exception string) string {
	r.t.Helper()
	_, text := r.do(as, op, body)
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil || e.Type != exception {
		r.t.Fatalf("%s %s: %s; want %s", op, body, text, exception)
	}
	return e.Message
}

func streamARN(name string) string { return datastream.ARN(testAccount, testRegion, name) }
