package lane

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
	"penstock/storage/lane/lanetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is a lane whose files hold a few batches.
func small(fsys host.FS, dir string) Config {
	return Config{FS: fsys, Dir: dir, FileSize: 8 * pageSize, Logger: slog.New(slog.DiscardHandler)}
}

// open opens a lane or ends the test; it is closed at the end.
func open(t testing.TB, cfg Config) *Files {
	t.Helper()
	f, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // a broken one says so again
	return f
}

func closeLane(t testing.TB, f *Files) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreALane(t *testing.T) {
	t.Run("on the disk", func(t *testing.T) {
		lanetest.Run(t, func(t *testing.T) storage.Lane { return open(t, small(nil, t.TempDir()+"/wal/0")) })
	})
	t.Run("in memory", func(t *testing.T) {
		lanetest.Run(t, func(t *testing.T) storage.Lane { return open(t, small(crashfs.New(crashfs.Config{}), "wal/0")) })
	})
	t.Run("in large files", func(t *testing.T) {
		lanetest.Run(t, func(t *testing.T) storage.Lane { return open(t, Config{Dir: t.TempDir(), FS: noSync{}}) })
	})
}

// checkAll replays the lane and expects exactly the batches of lanetest.Fill from first
// up to next, of any epoch.
func checkAll(t testing.TB, f *Files, first, next storage.LSN) {
	t.Helper()
	if a, b := f.Bounds(); a != first || b != next {
		t.Fatalf("bounds %d, %d, want %d, %d", a, b, first, next)
	}
	want := first
	for b, err := range f.Replay(t.Context(), 1) {
		if err != nil {
			t.Fatal(err)
		}
		if b.LSN != want {
			t.Fatalf("batch %d, want %d", b.LSN, want)
		}
		lanetest.Check(t, b, b.Epoch)
		want++
	}
	if want != next {
		t.Fatalf("the replay ended at %d, want %d", want, next)
	}
}

func TestALaneIsThereAfterARestart(t *testing.T) {
	cfg := small(nil, t.TempDir())
	for round := range uint64(4) {
		f := open(t, cfg)
		checkAll(t, f, 1, storage.LSN(round*25+1))
		lanetest.Fill(t, f, round+1, 25)
		checkAll(t, f, 1, storage.LSN(round*25+26))
		closeLane(t, f)
		closeLane(t, f)
	}
	f := open(t, cfg)
	if err := f.Fence(t.Context(), 3); !fault.Is(err, fault.Denied) {
		t.Errorf("the epoch 4 is forgotten: %v", err)
	}
	if r := f.Recovery(); r.Torn != 0 || len(r.Damage) != 0 || r.Repaired {
		t.Errorf("recovery of a clean lane: %+v", r)
	}
}

func TestTrimmedFilesAreUsedAgain(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	f := open(t, small(fsys, "l"))
	lanetest.Fill(t, f, 1, 0)
	created := 0
	fsys.Hook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Create {
			created++
		}
		return nil
	})
	var next storage.LSN
	for range 100 {
		lanetest.Fill(t, f, 1, 10)
		_, next = f.Bounds()
		if err := f.Trim(t.Context(), next-3); err != nil {
			t.Fatal(err)
		}
	}
	fsys.Hook(nil)
	first, _ := f.Bounds()
	checkAll(t, f, first, next)
	closeLane(t, f)
	f = open(t, small(fsys.Crash(rand.New(rand.NewPCG(1, 1))), "l"))
	checkAll(t, f, first, next)
	if created > 10 {
		t.Errorf("%d files were made for 1000 batches", created)
	}
}

func TestABatchLargerThanAFileHasOneOfItsOwn(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	f := open(t, small(fsys, "l"))
	lanetest.Fill(t, f, 1, 3)
	big := make([]byte, 30*pageSize)
	big[len(big)-1] = 1
	lsn, err := f.Append(t.Context(), 1, time.Now(), 1, [][]byte{big})
	if err != nil {
		t.Fatal(err)
	}
	lanetest.Fill(t, f, 1, 30)
	closeLane(t, f)
	f = open(t, small(fsys, "l"))
	for b, err := range f.Replay(t.Context(), lsn) {
		if err != nil {
			t.Fatal(err)
		}
		if b.LSN == lsn && string(b.Body) != string(big) {
			t.Error("wrong bytes")
		}
	}
	if _, err := f.Append(t.Context(), 1, time.Now(), 1, [][]byte{make([]byte, MaxBody+1)}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a body above the limit: %v", err)
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	f := open(t, small(fsys, "l"))
	lanetest.Fill(t, f, 1, 20)
	closeLane(t, f)
	id, err := fsys.ReadFile("l/" + idName)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		damage func(b []byte)
		kind   fault.Kind
	}{
		"both records damaged": {func(b []byte) { b[30] ^= 1; b[pageSize+30] ^= 1 }, fault.Internal},
		"another version": {func(b []byte) {
			for i := range 2 {
				b[i*pageSize+8] = 2
				fixCRC(b[i*pageSize:])
			}
		}, fault.Invalid},
		"empty": {func(b []byte) { clear(b) }, fault.Internal},
	} {
		b := append([]byte(nil), id...)
		c.damage(b)
		if err := fsys.WriteFile("l/"+idName, b); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), small(fsys, "l")); fault.KindOf(err) != c.kind || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := fsys.Remove("l/" + idName); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), small(fsys, "l")); err == nil || fault.HintOf(err) == "" {
		t.Errorf("files without an identity: %v", err)
	}
	if err := fsys.WriteFile("l/"+idName, id); err != nil {
		t.Fatal(err)
	}
	checkAll(t, open(t, small(fsys, "l")), 1, 21)
	if _, err := Open(t.Context(), Config{}); !fault.Is(err, fault.Invalid) {
		t.Errorf("no Dir: %v", err)
	}
	if _, err := Open(t.Context(), Config{Dir: "x", FileSize: 5000}); !fault.Is(err, fault.Invalid) {
		t.Errorf("odd FileSize: %v", err)
	}
}

// TestAFullDiskRefusesAndComesBack: what does not fit is refused before anything is
// written, and the lane goes on when there is room.
func TestAFullDiskRefusesAndComesBack(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{Capacity: 40 * pageSize})
	f := open(t, small(fsys, "l"))
	lanetest.Fill(t, f, 1, 0)
	refused := 0
	for n := storage.LSN(1); n <= 60; {
		_, err := f.Append(t.Context(), 1, lanetest.Wall(n), int(n)%1000, [][]byte{lanetest.Body(n)})
		switch {
		case err == nil:
			n++
		case !fault.Is(err, fault.Unavailable) || !errors.Is(err, syscall.ENOSPC) || fault.HintOf(err) == "":
			t.Fatal(err)
		default:
			if refused++; refused%2 == 0 {
				fsys.SetCapacity(int64(40+10*refused) * pageSize)
			}
		}
	}
	if refused < 4 {
		t.Errorf("refused %d times: the disk was never full", refused)
	}
	checkAll(t, f, 1, 61)
	closeLane(t, f)
	checkAll(t, open(t, small(fsys.Crash(rand.New(rand.NewPCG(2, 2))), "l")), 1, 61)
}

// fixCRC makes the checksum of an identity record right again.
func fixCRC(b []byte) {
	binary.LittleEndian.PutUint32(b[64:], crc32.Checksum(b[:64], castagnoli()))
}

// points is how many of something a test tries: def, or what the variable asks for.
func points(t testing.TB, variable string, def int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number of points", variable, text)
	}
	return n
}

func TestMetricsTellOfAFailure(t *testing.T) {
	fsys, reg := crashfs.New(crashfs.Config{}), prometheus.NewRegistry()
	cfg := small(fsys, "l")
	cfg.Registerer = reg
	f := open(t, cfg)
	lanetest.Fill(t, f, 1, 5)
	value := func(name string) float64 {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == name {
				m := family.GetMetric()[0]
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		t.Fatalf("no %s", name)
		return 0
	}
	var bytes int
	for n := storage.LSN(1); n <= 5; n++ {
		bytes += len(lanetest.Body(n))
	}
	for name, want := range map[string]float64{
		"penstock_lane_commit_seconds": 5, "penstock_lane_commit_bytes": 5, "penstock_lane_commit_entries": 5,
		"penstock_lane_bytes_total": float64(bytes), "penstock_lane_broken": 0, "penstock_lane_batches": 5,
	} {
		if got := value(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	fsys.Fail(crashfs.Sync, 1, -1, syscall.EIO)
	if _, err := f.Append(t.Context(), 1, lanetest.Wall(6), 1, [][]byte{{1}}); !errors.Is(err, syscall.EIO) || fault.HintOf(err) == "" {
		t.Errorf("a failed sync: %v", err)
	}
	if got := value("penstock_lane_broken"); got != 1 {
		t.Errorf("penstock_lane_broken is %v", got)
	}
	for range 3 {
		if _, err := f.Append(t.Context(), 1, lanetest.Wall(6), 1, [][]byte{{1}}); !errors.Is(err, syscall.EIO) {
			t.Errorf("after a failed sync: %v", err)
		}
	}
	if err := f.Fence(t.Context(), 2); !errors.Is(err, syscall.EIO) {
		t.Errorf("fence after a failed sync: %v", err)
	}
}

// TestAFileIsReplacedUnderAReader: the newest file holds nothing and is too small, so that
// another takes its name while someone holds it.
func TestAFileIsReplacedUnderAReader(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	f := open(t, small(fsys, "l"))
	lanetest.Fill(t, f, 1, 30)
	closeLane(t, f)
	if err := fsys.WriteFile("l/"+logName(31), make([]byte, pageSize)); err != nil {
		t.Fatal(err)
	}
	f = open(t, small(fsys, "l"))
	held, _ := f.hold(31)
	if held.first != 31 {
		t.Fatalf("held %s", held.name)
	}
	if err := f.Fence(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Append(t.Context(), 1, lanetest.Wall(31), 31, [][]byte{make([]byte, 3*pageSize)}); err != nil {
		t.Fatal(err)
	}
	f.release(held)
	if err := f.ReadAt(t.Context(), 31, 0, make([]byte, 3*pageSize)); err != nil {
		t.Error(err)
	}
	closeLane(t, f)
	f = open(t, small(fsys, "l"))
	if _, next := f.Bounds(); next != 32 || len(f.Recovery().Damage) > 0 {
		t.Errorf("the next is %d; %+v", next, f.Recovery())
	}
}

// TestATrimThatFailsKeepsTheFiles: they are not durably trimmed, so nothing may happen to
// them, not even when the last reader lets go.
func TestATrimThatFailsKeepsTheFiles(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	f := open(t, small(fsys, "l"))
	lanetest.Fill(t, f, 1, 60)
	held, _ := f.hold(1)
	fsys.Hook(func(op crashfs.Op) error { // not those of the file that is being filled
		if op.Kind == crashfs.Sync && strings.HasPrefix(op.Name, "l/"+idName) {
			return syscall.EIO
		}
		return nil
	})
	if err := f.Trim(t.Context(), 50); !errors.Is(err, syscall.EIO) {
		t.Errorf("trim: %v", err)
	}
	f.release(held)
	if _, err := fsys.Stat("l/" + held.name); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

func TestAClosedLaneSaysSo(t *testing.T) {
	f := open(t, small(crashfs.New(crashfs.Config{}), "l"))
	lanetest.Fill(t, f, 1, 9)
	closeLane(t, f)
	_, aerr := f.Append(t.Context(), 1, lanetest.Wall(1), 1, [][]byte{{1}})
	var rerr error
	for _, err := range f.Replay(t.Context(), 1) {
		rerr = err
	}
	for name, err := range map[string]error{
		"append": aerr, "replay": rerr, "fence": f.Fence(t.Context(), 2), "readat": f.ReadAt(t.Context(), 1, 0, make([]byte, 1)),
	} {
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
