package records

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/host"
	"penstock/storage/mem"
	"penstock/storage/meta"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a Store with what is under it, which outlives it.
type rig struct {
	t      testing.TB
	cfg    Config
	meta   *meta.DB
	store  *Store
	cancel context.CancelFunc
	done   chan error
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	dir := t.TempDir()
	db, err := meta.Open(t.Context(), meta.Config{Path: filepath.Join(dir, "meta.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, db.Close()) })
	r := &rig{t: t, meta: db}
	r.cfg = Config{FS: host.OS{}, Dir: dir, Bucket: mem.New(mem.Config{}), Meta: db, LaneFileSize: 1 << 20}
	for _, c := range change {
		c(&r.cfg)
	}
	r.open()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) open() {
	r.t.Helper()
	s, err := Open(context.Background(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.store, r.cancel, r.done = s, cancel, make(chan error, 1)
	done := r.done
	go func() { done <- s.Run(ctx) }()
}

func (r *rig) stop() {
	if r.store == nil {
		return
	}
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Errorf("Run: %v", err)
	}
	must(r.t, r.store.Close())
	r.store = nil
}

func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.open()
}

func (r *rig) log(id string) *Log {
	r.t.Helper()
	l, ok := r.store.Log(id)
	if !ok {
		r.t.Fatalf("no log %s", id)
	}
	return l
}

func (r *rig) create(id string, shards int) *Log {
	r.t.Helper()
	l, err := r.store.Create(context.Background(), id, time.Now(), shards)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put stores one record a text, all under their own keys.
func put(t testing.TB, l *Log, texts ...string) []Placed {
	t.Helper()
	in, out := make([]Input, len(texts)), make([]Placed, len(texts))
	for i, s := range texts {
		in[i] = Input{Key: s, Hash: HashOf(s), Data: []byte(s)}
	}
	must(t, l.Put(context.Background(), in, out, nil))
	return out
}

// readAll reads a shard from the position on, to its end or where nothing is left.
func readAll(t testing.TB, l *Log, id ShardID, p Position) (out []Record, at Page) {
	t.Helper()
	var page Page
	for {
		must(t, l.Read(context.Background(), id, p, 7, 0, &page))
		out = append(out, page.Records...)
		if len(page.Records) == 0 {
			return out, page
		}
		p = page.Next
	}
}

// lines are n texts.
func lines(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s-%04d", prefix, i)
	}
	return out
}

// testKeys has a key for each stream.
type testKeys struct{}

func (testKeys) Current(_ context.Context, id string) (string, cipher.AEAD, error) {
	a, err := testKeys{}.Key(context.Background(), "key of "+id)
	return "key of " + id, a, err
}

func (testKeys) Key(_ context.Context, id string) (cipher.AEAD, error) {
	sum := sha256.Sum256([]byte(id))
	b, err := aes.NewCipher(sum[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}
