package lane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/storage"
	"penstock/storage/lane/lanetest"
)

// image is a closed lane of a few files.
type image struct {
	fsys  *crashfs.FS
	files map[string][]byte
	used  map[string]int64 // bytes of batches
	next  storage.LSN
	said  atomic.Int64 // warnings and errors logged since it was set to 0
}

// Enabled, Handle, WithAttrs and WithGroup make image a slog.Handler that counts.
func (im *image) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle counts.
func (im *image) Handle(context.Context, slog.Record) error { im.said.Add(1); return nil }

// WithAttrs returns im.
func (im *image) WithAttrs([]slog.Attr) slog.Handler { return im }

// WithGroup returns im.
func (im *image) WithGroup(string) slog.Handler { return im }

func (im *image) config() Config {
	cfg := small(im.fsys, "l")
	cfg.Logger = slog.New(im)
	return cfg
}

func makeImage(t testing.TB, batches int) *image {
	t.Helper()
	im := &image{fsys: crashfs.New(crashfs.Config{}), files: map[string][]byte{}, used: map[string]int64{}}
	f := open(t, small(im.fsys, "l"))
	lanetest.Fill(t, f, 1, batches)
	for _, file := range f.files {
		im.used[file.name] = file.end
	}
	im.used[idName] = idSize
	_, im.next = f.Bounds()
	closeLane(t, f)
	for name := range im.used {
		data, err := im.fsys.ReadFile("l/" + name)
		if err != nil {
			t.Fatal(err)
		}
		im.files[name] = data
	}
	return im
}

func (im *image) set(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := im.fsys.WriteFile("l/"+name, data); err != nil {
		t.Fatal(err)
	}
}

// reread opens the lane and returns which batches were lost; it fails the test when one
// is wrong, is missing without a word, or comes twice.
func (im *image) reread(t testing.TB) (lost []*storage.Damage, r Recovery) {
	t.Helper()
	f, err := Open(t.Context(), im.config())
	if err != nil {
		t.Fatal(err)
	}
	defer closeLane(t, f)
	if _, next := f.Bounds(); next != im.next {
		t.Fatalf("the next batch would be %d, want %d", next, im.next)
	}
	at := storage.LSN(1)
	for b, err := range f.Replay(t.Context(), 1) {
		var d *storage.Damage
		switch {
		case errors.As(err, &d):
			if d.First != at || d.Last < d.First || d.File == "" || b.LSN != d.First {
				t.Fatalf("at batch %d: %v", at, d)
			}
			lost = append(lost, d)
			at = d.Last + 1
			if err := f.ReadAt(t.Context(), d.First, 0, make([]byte, 1)); !errors.As(err, &d) {
				t.Fatalf("reading the lost batch %d: %v", d.First, err)
			}
		case err != nil:
			t.Fatal(err)
		default:
			if b.LSN != at {
				t.Fatalf("batch %d, want %d", b.LSN, at)
			}
			lanetest.Check(t, b, 1)
			at++
		}
	}
	if at != im.next {
		t.Fatalf("the replay ended at %d of %d", at, im.next)
	}
	return lost, f.Recovery()
}

// TestEachFlippedBitIsFound flips one bit at a time, over all files: a batch that it
// touched is reported and refused, all others come back whole, and the lane opens.
// PENSTOCK_LANE_FLIPS says how many bits.
func TestEachFlippedBitIsFound(t *testing.T) {
	im := makeImage(t, 40)
	if lost, _ := im.reread(t); len(lost) > 0 || im.said.Load() > 0 {
		t.Fatalf("a whole lane: %v, %d warnings", lost, im.said.Load())
	}
	var total int64
	for _, n := range im.used {
		total += n * 8
	}
	every := max(1, total/int64(points(t, "PENSTOCK_LANE_FLIPS", 2000)))
	rng := rand.New(rand.NewPCG(5, 5))
	flips, refused := 0, 0
	for name, used := range im.used {
		for bit := rng.Int64N(every); bit < used*8; bit += 1 + rng.Int64N(2*every-1) {
			flips++
			data := bytes.Clone(im.files[name])
			data[bit/8] ^= 1 << (bit % 8)
			im.set(t, name, data)
			im.said.Store(0)
			if lost, _ := im.reread(t); len(lost) == 1 && lost[0].First == lost[0].Last {
				refused++
			} else if len(lost) > 0 {
				t.Fatalf("%s: bit %d flipped: %v", name, bit, lost)
			}
			if im.said.Load() == 0 {
				t.Fatalf("%s: bit %d flipped and nobody noticed", name, bit)
			}
			im.set(t, name, im.files[name])
			im.set(t, idName, im.files[idName])
		}
	}
	t.Logf("%d of %d bits, each found; %d cost a batch", flips, total, refused)
	if refused < flips/8 {
		t.Errorf("only %d of %d cost a batch: the flips miss the batches", refused, flips)
	}
}

// TestDamageIsNotATornTail: what a crash leaves is cut off without a word of damage; the
// same bytes with a batch behind them, a successor, or a floor above, are damage.
func TestDamageIsNotATornTail(t *testing.T) {
	im := makeImage(t, 40)
	var names []string
	for name := range im.used {
		if name != idName {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	newest := names[len(names)-1]
	ruin := func(name string, from, to int64) {
		data := bytes.Clone(im.files[name])
		for i := from; i < to; i++ {
			data[i] ^= 0x5a
		}
		im.set(t, name, data)
	}
	restore := func() {
		for name, data := range im.files {
			im.set(t, name, data)
		}
	}
	t.Run("the end of a file that has a successor", func(t *testing.T) {
		defer restore()
		name := names[1]
		ruin(name, im.used[name]-pageSize, im.used[name])
		if lost, _ := im.reread(t); len(lost) != 1 || filepath.Base(lost[0].File) != name {
			t.Errorf("lost %v", lost)
		}
	})
	t.Run("a whole file", func(t *testing.T) {
		defer restore()
		ruin(names[1], 0, int64(len(im.files[names[1]])))
		if lost, _ := im.reread(t); len(lost) != 1 || lost[0].Offset != 0 {
			t.Errorf("lost %v", lost)
		}
	})
	t.Run("a file that is gone", func(t *testing.T) {
		for _, i := range []int{0, 1, len(names) - 1} {
			if err := im.fsys.Remove("l/" + names[i]); err != nil {
				t.Fatal(err)
			}
			if lost, _ := im.reread(t); len(lost) != 1 {
				t.Errorf("without %s: lost %v", names[i], lost)
			}
			restore()
		}
	})
	t.Run("a file that is cut short", func(t *testing.T) {
		defer restore()
		im.set(t, names[2], im.files[names[2]][:pageSize/2])
		if lost, _ := im.reread(t); len(lost) != 1 {
			t.Errorf("lost %v", lost)
		}
	})
	t.Run("the first header of the newest file", func(t *testing.T) {
		defer restore()
		ruin(newest, 0, 10)
		if lost, r := im.reread(t); len(lost) != 1 || r.Torn != 0 {
			t.Errorf("lost %v, torn %d", lost, r.Torn)
		}
	})
	t.Run("the last batch after a clean end", func(t *testing.T) {
		defer restore()
		ruin(newest, im.used[newest]-pageSize, im.used[newest])
		lost, r := im.reread(t)
		if len(lost) != 1 || r.Torn != 0 || lost[0].Last != im.next-1 {
			t.Fatalf("lost %v, torn %d", lost, r.Torn)
		}
		f := open(t, small(im.fsys, "l"))
		lanetest.Fill(t, f, 2, 20) // goes on behind the damage
		closeLane(t, f)
		f = open(t, small(im.fsys, "l"))
		seen := 0
		for _, err := range f.Replay(t.Context(), im.next) {
			if err != nil {
				t.Fatal(err)
			}
			seen++
		}
		if seen != 20 {
			t.Errorf("%d of 20 batches behind the damage", seen)
		}
	})
}

// TestATornTailIsCutOff ends the last batch at each of its pages, as an unsynced commit
// may, after an end that was not clean.
func TestATornTailIsCutOff(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	cfg := small(fsys, "l")
	cfg.FileSize = 64 * pageSize
	f := open(t, cfg)
	lanetest.Fill(t, f, 1, 10)
	body := bytes.Repeat([]byte("x"), 5*pageSize)
	from := f.files[0].end
	if _, err := f.Append(t.Context(), 1, time.Now(), 1, [][]byte{body}); err != nil {
		t.Fatal(err)
	}
	end := f.files[0].end
	whole, err := fsys.ReadFile("l/" + f.files[0].name)
	if err != nil {
		t.Fatal(err)
	}
	fsys = fsys.Kill()
	cfg.FS = fsys
	for cut := from; cut <= end; cut += 512 {
		data := bytes.Clone(whole)
		clear(data[cut:end])
		if err := fsys.WriteFile("l/"+logName(1), data); err != nil {
			t.Fatal(err)
		}
		f, err := Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		want := storage.LSN(11)
		if cut > end-pageSize/2 || cut >= from+headSize+int64(len(body)) {
			want = 12
		}
		if r := f.Recovery(); len(r.Damage) > 0 || (r.Torn > 0) != (want == 11 && cut > from) {
			t.Errorf("cut at %d of %d..%d: %+v", cut, from, end, r)
		}
		if _, next := f.Bounds(); next != want {
			t.Errorf("cut at %d of %d..%d: the next is %d, want %d", cut, from, end, next, want)
		}
		for _, file := range f.files { // without Close, which would raise the floor
			f.closeFile(file)
		}
		if err := f.id.h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatClientsStoreIsNoBatch: bodies that look like the batch that is due, at every
// page of a file that is used again, are never taken for it.
func TestWhatClientsStoreIsNoBatch(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	f := open(t, small(fsys, "l"))
	lanetest.Fill(t, f, 1, 0)
	body := make([]byte, 4*pageSize-headSize)
	for n := storage.LSN(1); n < 200; n++ {
		for p := range int64(3) {
			h := head{tag: tagOf(f.secret, 1), epoch: 1, lsn: n + storage.LSN(p), entries: 1, length: 1, crc: crc32.Checksum([]byte{0}, castagnoli())}
			h.put(body[(p+1)*pageSize-headSize:])
		}
		if _, err := f.Append(t.Context(), 1, time.Now(), 1, [][]byte{body}); err != nil {
			t.Fatal(err)
		}
		if err := f.Trim(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if n%9 != 0 {
			continue
		}
		fsys = fsys.Crash(rand.New(rand.NewPCG(uint64(n), 1)))
		f = open(t, small(fsys, "l"))
		if _, next := f.Bounds(); next != n+1 || len(f.Recovery().Damage) > 0 {
			t.Fatalf("the next is %d, want %d; %+v", next, n+1, f.Recovery())
		}
	}
}

// FuzzLogFile gives the walker any bytes, with headers mended or not: it ends, never shows a batch that its checksum
// does not cover, and numbers rise.
func FuzzLogFile(f *testing.F) {
	f.Add(smallFile(1, 2, 3), uint64(0), true)
	f.Add(smallFile(1, 3), uint64(6), true)
	f.Add(smallFile(1, 2)[:pageSize+70], uint64(0), true)
	f.Add([]byte{}, uint64(2), false)
	f.Fuzz(func(t *testing.T, data []byte, until uint64, mend bool) {
		if len(data) > 1<<20 {
			return
		}
		if data = bytes.Clone(data); mend { // let what is in the headers through
			for at := 0; at+headSize <= len(data); at += pageSize {
				copy(data[at:], batchMagic)
				copy(data[at+8:at+16], data[8:16])
				binary.LittleEndian.PutUint32(data[at+4:], crc32.Checksum(data[at+8:at+headSize], castagnoli()))
			}
		}
		var tag uint64
		if len(data) >= headSize {
			tag = binary.LittleEndian.Uint64(data[8:])
		}
		for _, bodies := range []bool{true, false} {
			w := newWalker(bytes.NewReader(data), int64(len(data)), "fuzz", tag, 1, storage.LSN(until), bodies)
			at := storage.LSN(1)
			for {
				b, d, err := w.step()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if d != nil {
					if d.First != at || d.Last < d.First || d.Offset < 0 || d.Length < 0 || d.Offset+d.Length > int64(len(data)) {
						t.Fatalf("at %d: %v", at, d)
					}
					at = d.Last + 1
					continue
				}
				if b.lsn != at || until != 0 && b.lsn >= storage.LSN(until) {
					t.Fatalf("batch %d, want %d below %d", b.lsn, at, until)
				}
				if bodies && crc32.Checksum(b.body, castagnoli()) != b.crc {
					t.Fatal("a body with a wrong checksum")
				}
				at++
			}
			if until != 0 && at < storage.LSN(until) {
				t.Fatalf("ended at %d of %d without a word", at, until)
			}
		}
	})
}

// smallFile is a log file with one short batch of each number.
func smallFile(lsns ...storage.LSN) []byte {
	var out []byte
	for _, lsn := range lsns {
		page := make([]byte, pageSize)
		body := []byte("body")
		h := head{tag: 5, epoch: 1, lsn: lsn, wall: 1, entries: 1, length: uint32(len(body)), crc: crc32.Checksum(body, castagnoli())}
		h.put(page)
		copy(page[headSize:], body)
		out = append(out, page...)
	}
	return out
}

// FuzzIdentity gives the reader of the file lane any bytes.
func FuzzIdentity(f *testing.F) {
	im := makeImage(f, 1)
	f.Add(im.files[idName])
	f.Add([]byte(idMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, worse, _, err := readIdentity(bytes.NewReader(data), "fuzz")
		if err != nil {
			return
		}
		better := (1 - worse) * pageSize
		if !bytes.Equal(id.page()[:12], data[better:better+12]) || id.first == 0 || id.floor == 0 {
			t.Fatalf("%+v", id)
		}
	})
}

// badSectors is a file of which some bytes cannot be read.
type badSectors struct {
	*bytes.Reader
	from, to int64
}

// ReadAt fails as a disk does that lost a sector.
func (b badSectors) ReadAt(p []byte, off int64) (int, error) {
	if off < b.to && off+int64(len(p)) > b.from {
		return 0, syscall.EIO
	}
	return b.Reader.ReadAt(p, off)
}

func TestALostSectorCostsItsBatch(t *testing.T) {
	data := smallFile(1, 2, 3, 4, 5)
	for page := range int64(5) {
		for _, until := range []storage.LSN{0, 6} {
			w := newWalker(badSectors{bytes.NewReader(data), page * pageSize, page*pageSize + 512}, int64(len(data)), "bad", 5, 1, until, true)
			var lost, whole []storage.LSN
			var err error
			for {
				var b found
				var d *storage.Damage
				if b, d, err = w.step(); err != nil {
					break
				}
				if d != nil {
					lost = append(lost, d.First)
					if d.First != d.Last {
						t.Errorf("page %d: %v", page, d)
					}
					continue
				}
				whole = append(whole, b.lsn)
			}
			if until == 0 && page == 4 {
				if !errors.Is(err, syscall.EIO) { // where the log ends is not known
					t.Errorf("the newest batch cannot be read: %v", err)
				}
				continue
			}
			if !errors.Is(err, io.EOF) || len(lost) != 1 || lost[0] != storage.LSN(page+1) || len(whole) != 4 {
				t.Errorf("page %d: lost %v, whole %v, %v", page, lost, whole, err)
			}
		}
	}
}
