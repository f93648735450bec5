package datastream

import (
	"context"
	"errors"
	"fmt"
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
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a catalogue with its records, on disk.
type rig struct {
	t      testing.TB
	config Config
	dir    string
	bucket *mem.Bucket
	data   *Catalogue
	store  *records.Store
	stop   func()
	run    func() // begins Run of the catalogue
	idle   bool   // start leaves that to the test
}

func newRig(t testing.TB, c Config) *rig {
	t.Helper()
	r := &rig{t: t, config: c, dir: t.TempDir(), bucket: mem.New(mem.Config{})}
	r.start()
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// start opens all, also again after stop.
func (r *rig) start() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	db, err := meta.Open(ctx, meta.Config{Path: filepath.Join(r.dir, "meta.db"), Schemas: []meta.Schema{auth.Schema(), Schema()}, Readers: 1})
	r.must(err)
	key, err := auth.NewMasterKey([]byte("0123456789abcdef0123456789abcdef"))
	r.must(err)
	sealer, err := auth.Open(ctx, auth.Config{Meta: db, MasterKey: key})
	r.must(err)
	c := r.config
	c.Meta, c.Sealer = db, sealer
	r.data, err = Open(ctx, c)
	r.must(err)
	r.store, err = records.Open(ctx, records.Config{Dir: r.dir, Bucket: r.bucket, Meta: db, Clock: c.Clock, Keys: r.data, Retention: r.data.Retention, LaneFileSize: 1 << 20, Plain: true})
	r.must(err)
	r.data.Attach(r.store)
	upper, stopUpper := context.WithCancel(ctx)
	var above, below sync.WaitGroup
	r.run = sync.OnceFunc(func() { above.Go(func() { _ = r.data.Run(upper) }) })
	if !r.idle {
		r.run()
	}
	below.Go(func() { _ = r.store.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		stopUpper()
		above.Wait()
		cancel()
		below.Wait()
		r.must(errors.Join(r.store.Close(), db.Close()))
	})
}

func (r *rig) restart() {
	r.stop()
	r.start()
}

const account, region = "000000000000", "us-east-1"

func (r *rig) create(n New) *Stream {
	r.t.Helper()
	n.Account, n.Region = account, region
	s, err := r.data.Create(context.Background(), n)
	r.must(err)
	return s
}

func (r *rig) get(name string) *Stream {
	r.t.Helper()
	s, err := r.data.Get(context.Background(), account, region, name)
	r.must(err)
	return s
}

// put puts n records of size bytes under keys that differ, and counts what was refused.
func (r *rig) put(s *Stream, n, size int, hash func(i int) records.HashKey) (refused int) {
	r.t.Helper()
	in, out := make([]records.Input, n), make([]records.Placed, n)
	for i := range in {
		key := fmt.Sprint("key ", i)
		in[i] = records.Input{Key: key, Hash: records.HashOf(key), Data: make([]byte, size)}
		if hash != nil {
			in[i].Hash = hash(i)
		}
	}
	r.must(s.Put(context.Background(), in, out))
	for i := range out {
		if out[i].Err != nil {
			refused++
		}
	}
	return refused
}

// read returns all records of the first shard.
func (r *rig) read(s *Stream) (all []records.Record) {
	r.t.Helper()
	var page records.Page
	for p := (records.Position{}); ; p = page.Next {
		r.must(s.Read(context.Background(), 0, p, 0, 0, &page))
		if all = append(all, page.Records...); len(page.Records) == 0 && page.Next == p {
			return all
		}
	}
}

// reason is what a call was refused for; 0: it was not.
func (r *rig) reason(err error) Reason {
	r.t.Helper()
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	r.must(err)
	return 0
}

func newClock() *hosttest.Clock {
	return hosttest.NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
}
