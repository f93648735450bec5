package fragments

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/crashfs"
	"penstock/internal/host"
	"penstock/media"
	"penstock/storage"
	"penstock/storage/disk"
	"penstock/storage/meta"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a store on a crashable disk with its metadata on a real one.
type rig struct {
	t      testing.TB
	fs     host.FS
	db     *meta.DB
	path   string
	bucket storage.Bucket
	cfg    Config
	s      *Store

	reserve int64 // of the metadata
	stop    func() error
}

func newRig(t testing.TB, fsys host.FS, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, fs: fsys, path: filepath.Join(t.TempDir(), "meta.db"), reserve: -1}
	r.cfg = Config{Dir: "data/open", FS: fsys}
	if change != nil {
		change(&r.cfg)
	}
	return r
}

// start opens the metadata and the store and runs it.
func (r *rig) start() error {
	ctx := context.Background()
	db, err := meta.Open(ctx, meta.Config{Path: r.path, Reserve: r.reserve})
	if err != nil {
		return err
	}
	r.db = db
	cfg := r.cfg
	cfg.Meta, cfg.FS = db, r.fs
	if cfg.Bucket == nil {
		b, err := disk.Open(ctx, disk.Config{Dir: "data/bucket", FS: r.fs})
		if err != nil {
			return errors.Join(err, db.Close())
		}
		cfg.Bucket = b
	}
	r.bucket = cfg.Bucket
	if r.s, err = Open(ctx, cfg); err != nil {
		return errors.Join(err, db.Close())
	}
	run, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- r.s.Run(run) }()
	r.stop = func() error {
		cancel()
		err := <-ended
		r.stop = func() error { return nil }
		return errors.Join(err, db.Close())
	}
	return nil
}

func (r *rig) mustStart() *rig {
	r.t.Helper()
	if err := r.start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = r.stop() })
	return r
}

func (r *rig) mustStop() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
}

func testTracks() []media.Track {
	return []media.Track{
		{ID: 1, Timescale: 90000, Codec: &media.H264{SPS: []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47, 0xfe, 0x88}, PPS: []byte{0x68, 0xce, 0x38, 0x80}}},
		{ID: 2, Timescale: 8000, Codec: &media.G711{SampleRate: 8000, Channels: 1}},
	}
}

// testFragment makes a fragment of n video samples of 40 ms, each with its own bytes.
func testFragment(start time.Time, n int, seed uint64) *Fragment {
	rng := rand.New(rand.NewPCG(seed, uint64(start.UnixMicro())))
	f := &Fragment{Tracks: testTracks()}
	f.Start, f.End, f.Run = start, start.Add(time.Duration(n)*40*time.Millisecond), 1
	f.Producer = start.Add(-time.Second)
	base := start.UnixMilli() * 90
	for i := range n {
		s := media.Sample{Track: 1, DTS: base + int64(i)*3600, Sync: i == 0, Data: make([]byte, 50+rng.IntN(200))}
		if i%3 == 1 {
			s.CTO = 3600
		}
		if i == 0 {
			s.Wall = f.Producer
		}
		for k := range s.Data {
			s.Data[k] = byte(rng.Uint32())
		}
		f.Samples = append(f.Samples, s)
		f.Samples = append(f.Samples, media.Sample{Track: 2, DTS: base/90*8 + int64(i)*320, Sync: true, Data: s.Data[:10:10]})
	}
	f.Ends = []int64{base + int64(n)*3600, base/90*8 + int64(n)*320}
	return f
}

func sumOf(f *Fragment) uint32 {
	crc := uint32(0)
	for _, s := range f.Samples {
		crc = crc32.Update(crc, castagnoli(), fmt.Appendf(nil, "%d %d %d %t %d|", s.Track, s.DTS, s.CTO, s.Sync, s.Wall.UnixMicro()))
		crc = crc32.Update(crc, castagnoli(), s.Data)
	}
	return crc32.Update(crc, castagnoli(), fmt.Append(nil, f.Ends, f.Start.UnixMicro(), f.End.UnixMicro()))
}

// store appends fragments and waits for them.
func (r *rig) store(l *Log, all ...*Fragment) []Head {
	r.t.Helper()
	type fate struct {
		h   Head
		err error
	}
	fates := make(chan fate, len(all))
	for _, f := range all {
		if err := l.Append(f, func(h Head, err error) { fates <- fate{h, err} }); err != nil {
			r.t.Fatal(err)
		}
	}
	var heads []Head
	for range all {
		got := <-fates
		if got.err != nil {
			r.t.Fatal(got.err)
		}
		heads = append(heads, got.h)
	}
	return heads
}

func (r *rig) heads(l *Log, rg Range) []Head {
	r.t.Helper()
	var out []Head
	for h, err := range l.Select(context.Background(), rg) {
		if err != nil {
			r.t.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

func TestStoredFragmentsReadBackTheSame(t *testing.T) {
	for _, fsys := range []struct {
		name string
		fs   host.FS
		dir  string
	}{{"in memory", crashfs.New(crashfs.Config{}), "data"}, {"on disk", host.OS{}, t.TempDir()}} {
		t.Run(fsys.name, func(t *testing.T) {
			ctx := context.Background()
			r := newRig(t, fsys.fs, func(c *Config) {
				c.Dir = fsys.dir + "/open"
				b, err := disk.Open(ctx, disk.Config{Dir: fsys.dir + "/bucket", FS: fsys.fs})
				if err != nil {
					t.Fatal(err)
				}
				c.Bucket = b
			}).mustStart()
			start := time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC()
			want := map[Number]uint32{}
			l := r.s.Log("cam", nil)
			for i := range 20 {
				f := testFragment(start.Add(time.Duration(i)*2*time.Second), 50, uint64(i))
				sum := sumOf(f)
				h := r.store(l, f)[0]
				if !h.Persisted {
					t.Fatal("acknowledged, and not persisted")
				}
				want[h.Number] = sum
				if i == 9 { // half in a sealed chunk
					l.mu.Lock()
					r.s.retire(l.chunks[0])
					l.mu.Unlock()
				}
			}
			check := func() {
				t.Helper()
				heads := r.heads(l, Range{})
				if len(heads) != len(want) {
					t.Fatalf("%d heads, want %d", len(heads), len(want))
				}
				for _, h := range heads {
					f, err := l.Read(ctx, h.Number)
					if err != nil {
						t.Fatal(err)
					}
					if sumOf(f) != want[h.Number] {
						t.Fatalf("fragment %d is not what was stored", h.Number)
					}
					ix, err := l.ReadIndex(ctx, h.Number)
					if err != nil || len(ix.Sizes) != len(f.Samples) {
						t.Fatal(err, len(ix.Sizes))
					}
					data, n, err := l.OpenData(ctx, h.Number)
					if err != nil || n != h.Size {
						t.Fatal(err, n)
					}
					off := int64(0)
					for i, size := range ix.Sizes {
						b := make([]byte, size)
						if _, err := data.ReadAt(b, off); err != nil || string(b) != string(f.Samples[i].Data) {
							t.Fatal("the data is not where the index says", err)
						}
						off += int64(size)
					}
				}
				tl, err := l.Coverage(ctx, start.Add(-time.Minute), start.Add(time.Minute), 0)
				if err != nil || len(tl.Spans) != 1 || tl.Spans[0].Fragments != 20 {
					t.Fatal(tl, err)
				}
			}
			check()
			r.mustStop()
			r.mustStart()
			l = r.s.Log("cam", nil)
			check()
			f := testFragment(start.Add(time.Minute), 25, 99)
			h := r.store(l, f)[0]
			if h.Gap != CauseServerStopped {
				t.Fatalf("after a clean stop the gap is %q", h.Gap)
			}
			tl, err := l.Coverage(ctx, start, start.Add(2*time.Minute), 0)
			if err != nil || len(tl.Spans) != 2 || len(tl.Gaps) != 2 || tl.Gaps[0].Cause != CauseServerStopped {
				t.Fatal(tl, err)
			}
		})
	}
}
