package fragments

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
	"penstock/storage/disk"
	"penstock/storage/mem"
	"penstock/storage/meta"
)

func TestDamageHidesOnlyItself(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	bucket, err := disk.Open(ctx, disk.Config{Dir: filepath.Join(dir, "bucket")})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, nil, func(c *Config) { c.Dir, c.Bucket = filepath.Join(dir, "open"), bucket }).mustStart()
	l := r.s.Log("cam", nil)
	start := time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC()
	var heads []Head
	for i := range 9 {
		heads = append(heads, r.store(l, testFragment(start.Add(time.Duration(i)*2*time.Second), 50, uint64(i)))...)
		if i%3 == 2 {
			r.sealAll()
		}
	}
	var keys []string
	for o, err := range bucket.List(ctx, "v/", "") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, bucket.Path(o.Key))
	}
	if len(keys) != 3 {
		t.Fatal(keys)
	}
	// One byte of the second fragment's media; all of the third chunk.
	b, err := os.ReadFile(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	b[r.offsetOf(l, heads[1].Number)+5000] ^= 1
	if err := errors.Join(os.WriteFile(keys[0], b, 0o600), os.WriteFile(keys[2], nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	var found []Finding
	cfg := r.s.cfg
	r.mustStop()
	r.mustStart()
	cfg.Meta = r.db
	sum, err := Verify(ctx, cfg, false, func(f Finding) { found = append(found, f) })
	if err != nil || len(found) != 4 || sum.Damaged != 2 || sum.Fragments != 5 {
		t.Errorf("verify: %+v, %v, %v", sum, found, err)
	}
	l = r.s.Log("cam", nil)
	bad := map[Number]bool{}
	for i, h := range heads {
		f, err := l.Read(ctx, h.Number)
		if want := i == 1 || i > 5; (err != nil) != want || want && !fault.Is(err, fault.Unavailable) {
			t.Errorf("fragment %d: %v", i, err)
		}
		if err == nil && sumOf(f) == 0 {
			t.Error("nothing in it")
		}
		bad[h.Number] = err != nil
	}
	if err := r.s.writeDamage(ctx); err != nil {
		t.Fatal(err)
	}
	got := r.heads(l, Range{})
	if len(got) != 5 || got[1].Gap != CauseDamaged {
		t.Errorf("%d heads, %v", len(got), got[1])
	}
	tl, err := l.Coverage(ctx, start, start.Add(18*time.Second), 0)
	if err != nil || len(tl.Spans) != 2 || len(tl.Gaps) != 2 || tl.Gaps[0].Cause != CauseDamaged {
		t.Errorf("%+v %v", tl, err)
	}
}

// sealAll closes every open chunk and waits until it is in the bucket.
func (r *rig) sealAll() {
	r.t.Helper()
	for _, l := range r.s.allLogs() {
		l.mu.Lock()
		for _, c := range l.chunks {
			if !c.full {
				r.s.retire(c)
			}
		}
		l.mu.Unlock()
	}
	for range 1000 {
		rows, err := queryChunks(context.Background(), r.db.Read(), "WHERE state = 0")
		if err != nil {
			r.t.Fatal(err)
		}
		busy := len(rows)
		for _, l := range r.s.allLogs() {
			busy += len(l.live())
		}
		if busy == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Fatal("the chunks did not reach the bucket")
}

func (r *rig) offsetOf(l *Log, n Number) int64 {
	r.t.Helper()
	p, err := l.locate(context.Background(), n)
	if err != nil {
		r.t.Fatal(err)
	}
	return p.off
}

func TestReindexFindsEverythingAgain(t *testing.T) {
	ctx := context.Background()
	fsys := crashfs.New(crashfs.Config{})
	r := newRig(t, fsys, nil).mustStart()
	start := time.Now().Add(-26 * time.Hour).Truncate(time.Microsecond).UTC()
	var want []Head
	l := r.s.Log("cam", nil)
	for i := range 30 {
		want = append(want, r.store(l, testFragment(start.Add(time.Duration(i)*20*time.Minute), 25, uint64(i)))...)
		if i%4 == 3 {
			r.sealAll()
		}
	}
	if err := r.s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	want = r.heads(l, Range{})
	cfg := r.s.cfg
	r.mustStop()
	r.path = filepath.Join(t.TempDir(), "meta.db") // the database is lost
	db, err := meta.Open(ctx, meta.Config{Path: r.path})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Meta = db
	sum, err := Reindex(ctx, cfg, func(f Finding) { t.Error(f) })
	if err != nil || sum.Chunks != 7 {
		t.Fatal(sum, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r.cfg.Bucket = nil
	r.mustStart()
	got := r.heads(r.s.Log("cam", nil), Range{})
	for i := range got {
		got[i].Persisted = true // the open chunk is on its way
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d heads, %d before", len(got), len(want))
	}
	if err := r.s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
}

// flaky is a bucket in memory that can be away.
type flaky struct {
	*mem.Bucket
	mu   sync.Mutex
	away bool
}

func (f *flaky) Put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	f.mu.Lock()
	away := f.away
	f.mu.Unlock()
	if away {
		return fault.New(fault.Unavailable, "put", key, "the store is away")
	}
	return f.Bucket.Put(ctx, key, r, size)
}

func TestTheSpoolOutlivesAnOutage(t *testing.T) {
	ctx := context.Background()
	bucket := &flaky{Bucket: mem.New(mem.Config{}), away: true}
	r := newRig(t, crashfs.New(crashfs.Config{}), func(c *Config) {
		c.Bucket, c.SpoolLimit = bucket, 60_000
	}).mustStart()
	l := r.s.Log("cam", nil)
	start := time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC()
	want := map[Number]uint32{}
	refused := 0
	for i := range 12 {
		f := testFragment(start.Add(time.Duration(i)*2*time.Second), 50, uint64(i))
		sum := sumOf(f)
		done := make(chan Head, 1)
		err := l.Append(f, func(h Head, err error) { done <- h })
		if err != nil {
			if !fault.Is(err, fault.Throttled) {
				t.Fatal(err)
			}
			refused++
			continue
		}
		h := <-done
		want[h.Number] = sum
		l.mu.Lock()
		r.s.retire(l.chunks[len(l.chunks)-1])
		l.mu.Unlock()
		for r.s.Status().Spool < int64(len(want))*5000 {
			time.Sleep(time.Millisecond)
		}
	}
	if refused == 0 || len(want) < 5 {
		t.Fatalf("%d refused, %d taken: the spool has no bound", refused, len(want))
	}
	check := func() {
		t.Helper()
		heads := r.heads(l, Range{})
		if len(heads) != len(want) {
			t.Fatalf("%d heads, want %d", len(heads), len(want))
		}
		for _, h := range heads {
			f, err := l.Read(ctx, h.Number)
			if err != nil || sumOf(f) != want[h.Number] {
				t.Fatal(err)
			}
		}
	}
	check()
	r.mustStop()
	r.mustStart() // the outage outlives the process
	l = r.s.Log("cam", nil)
	check()
	bucket.mu.Lock()
	bucket.away = false
	bucket.mu.Unlock()
	for r.s.Status().Spool > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	check()
	left, err := r.fs.ReadDir("data/open")
	if err != nil || len(left) != 0 {
		t.Errorf("%d files are left in the spool, %v", len(left), err)
	}
	f := testFragment(start.Add(time.Hour), 25, 77)
	if h := r.store(l, f)[0]; h.Gap == CauseNone {
		t.Error("nothing says why media is missing")
	}
}

func TestVerifyReadsWhatIsNotYetAnObject(t *testing.T) {
	ctx := context.Background()
	dir, left := t.TempDir(), t.TempDir()
	bucket, err := disk.Open(ctx, disk.Config{Dir: filepath.Join(dir, "bucket")})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, nil, func(c *Config) { c.Dir, c.Bucket = filepath.Join(dir, "open"), bucket }).mustStart()
	l := r.s.Log("cam", nil)
	start := time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC()
	var heads []Head
	for i := range 5 {
		heads = append(heads, r.store(l, testFragment(start.Add(time.Duration(i)*2*time.Second), 50, uint64(i)))...)
	}
	// What a killed process leaves: the open chunk as it is on the disk, and no row of it.
	files, err := os.ReadDir(filepath.Join(dir, "open"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "open", files[0].Name()))
	if err != nil {
		t.Fatal(err)
	}
	at := r.offsetOf(l, heads[1].Number) + 5000
	cfg := r.s.cfg
	cfg.Dir = left
	verify := func(b []byte) (Report, []Finding) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(left, files[0].Name()), b, 0o600); err != nil {
			t.Fatal(err)
		}
		var found []Finding
		sum, err := Verify(ctx, cfg, false, func(f Finding) { found = append(found, f) })
		if err != nil {
			t.Fatal(err)
		}
		return sum, found
	}
	if sum, found := verify(b); sum.Streams != 1 || sum.Chunks != 1 || sum.Fragments != 5 || sum.Damaged != 0 || len(found) != 0 {
		t.Errorf("whole: %+v, %v", sum, found)
	}
	torn := r.offsetOf(l, heads[4].Number) + 100
	if sum, found := verify(b[:torn]); sum.Fragments != 4 || sum.Damaged != 0 || len(found) != 0 {
		t.Errorf("torn in the last record: %+v, %v", sum, found)
	}
	b[at] ^= 1
	if sum, found := verify(b); sum.Fragments != 4 || sum.Damaged != 1 || len(found) != 1 || found[0].Offset <= 0 {
		t.Errorf("one bit of the second: %+v, %v", sum, found)
	}
	r.mustStop()
}
