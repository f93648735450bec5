package crashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"

	"penstock/internal/crashfs"
	"penstock/internal/host"
)

func rng(seed int) *rand.Rand { return rand.New(rand.NewPCG(1, uint64(seed))) }

// outcomes bounds the power cuts a test looks at: enough that each of a few possible
// results is met many times over.
const outcomes = 400

func open(t *testing.T, fsys *crashfs.FS, name string, flag int) host.File {
	t.Helper()
	f, err := fsys.OpenFile(name, flag, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f host.File, off int64, data []byte) {
	t.Helper()
	if n, err := f.WriteAt(data, off); err != nil || n != len(data) {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
}

// results collects what read says of many power cuts.
func results(fsys *crashfs.FS, read func(*crashfs.FS) string) map[string]int {
	seen := map[string]int{}
	for i := range outcomes {
		seen[read(fsys.Crash(rng(i)))]++
	}
	return seen
}

func exactly(t *testing.T, seen map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("no power cut gave %q: %v", w, seen)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("power cuts gave %v, want only %q", seen, want)
	}
}

func content(name string) func(*crashfs.FS) string {
	return func(fsys *crashfs.FS) string {
		b, err := fsys.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return "absent"
		}
		if err != nil {
			return err.Error()
		}
		return string(b)
	}
}

func TestWhatWasSyncedSurvives(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	must(t, fsys.MkdirAll("/a/b", 0o755))
	f := open(t, fsys, "/a/b/f", os.O_RDWR|os.O_CREATE)
	write(t, f, 0, []byte("kept"))
	must(t, f.Sync())
	for _, dir := range []string{"/", "/a", "/a/b"} {
		must(t, fsys.SyncDir(dir))
	}
	exactly(t, results(fsys, content("a/b/f")), "kept")
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, crashfs.ErrCrashed) {
		t.Errorf("write after the cut = %v", err)
	}
}

func TestAFileIsLostWhileADirectoryAboveItIsNotSynced(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	must(t, fsys.MkdirAll("a", 0o755))
	f := open(t, fsys, "a/f", os.O_RDWR|os.O_CREATE)
	write(t, f, 0, []byte("x"))
	must(t, f.Sync())
	must(t, fsys.SyncDir("a"))
	exactly(t, results(fsys, content("a/f")), "absent", "x")
}

func TestUnsyncedDataMayOrMayNotSurvive(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	must(t, fsys.WriteFile("f", []byte("old")))
	f := open(t, fsys, "f", os.O_RDWR)
	write(t, f, 0, []byte("new"))
	exactly(t, results(fsys, content("f")), "old", "new")
}

func TestUnsyncedPagesSurviveInAnySubsetAndTearBetweenSectors(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	must(t, fsys.WriteFile("f", bytes.Repeat([]byte{'o'}, 4*crashfs.PageSize)))
	f := open(t, fsys, "f", os.O_RDWR)
	write(t, f, 0, bytes.Repeat([]byte{'n'}, 4*crashfs.PageSize))
	secondWithoutFirst, torn := 0, 0
	for i := range outcomes {
		b, err := fsys.Crash(rng(i)).ReadFile("f")
		must(t, err)
		if len(b) != 4*crashfs.PageSize {
			t.Fatalf("size %d", len(b))
		}
		if b[0] == 'o' && b[crashfs.PageSize] == 'n' {
			secondWithoutFirst++
		}
		for s := 0; s < len(b); s += crashfs.SectorSize {
			sector := b[s : s+crashfs.SectorSize]
			if bytes.Count(sector, sector[:1]) != crashfs.SectorSize {
				t.Fatalf("a sector is torn at %d", s)
			}
			if s%crashfs.PageSize != 0 && b[s] != b[s-1] {
				torn++
			}
		}
	}
	if secondWithoutFirst == 0 || torn == 0 {
		t.Errorf("second page without the first %d times, torn pages %d", secondWithoutFirst, torn)
	}
}

func TestAnAppendMayLeaveASizeWithoutItsData(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	must(t, fsys.WriteFile("f", []byte("head")))
	f := open(t, fsys, "f", os.O_RDWR)
	write(t, f, 4, []byte("tail"))
	seen := results(fsys, content("f"))
	exactly(t, seen, "head", "headtail", "head\x00\x00\x00\x00")
}

func TestARenameHappensWholeOrNot(t *testing.T) {
	for _, to := range []string{"a/new", "b/new"} {
		t.Run(to, func(t *testing.T) {
			fsys := crashfs.New(crashfs.Config{})
			must(t, fsys.WriteFile("a/old", []byte("x")))
			must(t, fsys.WriteFile("b/other", nil))
			must(t, fsys.WriteFile(to, []byte("y")))
			must(t, fsys.Rename("a/old", to))
			read := func(f *crashfs.FS) string { return content("a/old")(f) + " " + content(to)(f) }
			before := fsys.Kill()
			exactly(t, results(before, read), "x y", "absent x")
			synced := before.Kill()
			must(t, synced.SyncDir(to[:1]))
			exactly(t, results(synced, read), "absent x")
		})
	}
}

func TestANameSetFreeByARenameIsNotTakenBeforeIt(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	must(t, fsys.WriteFile("a/f", []byte("first")))
	must(t, fsys.WriteFile("b/x", nil))
	must(t, fsys.Rename("a/f", "b/f"))
	f := open(t, fsys, "a/f", os.O_RDWR|os.O_CREATE)
	write(t, f, 0, []byte("second"))
	must(t, f.Sync())
	must(t, fsys.SyncDir("a"))
	exactly(t, results(fsys, func(f *crashfs.FS) string { return content("a/f")(f) + " " + content("b/f")(f) }), "second first")
}

func TestASyncedRenameLeavesItsOldNameEmpty(t *testing.T) {
	// tmp replaces a/f, which then moves on: syncing only where it went must not bring
	// back tmp, and the name a/f holds the old file until a is synced.
	fsys := crashfs.New(crashfs.Config{})
	must(t, fsys.WriteFile("a/f", []byte("old")))
	must(t, fsys.WriteFile("b/x", nil))
	f := open(t, fsys, "a/tmp", os.O_RDWR|os.O_CREATE)
	write(t, f, 0, []byte("new"))
	must(t, f.Sync())
	must(t, fsys.Rename("a/tmp", "a/f"))
	must(t, fsys.Rename("a/f", "b/f"))
	must(t, fsys.SyncDir("b"))
	read := func(f *crashfs.FS) string {
		return content("a/tmp")(f) + " " + content("a/f")(f) + " " + content("b/f")(f)
	}
	fsys = fsys.Kill()
	exactly(t, results(fsys, read), "absent old new", "absent absent new")
	fsys = fsys.Kill()
	must(t, fsys.SyncDir("a"))
	exactly(t, results(fsys, read), "absent absent new")
}

func TestARemovalMayNotHaveHappened(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	must(t, fsys.WriteFile("f", []byte("x")))
	must(t, fsys.Remove("f"))
	fsys = fsys.Kill()
	exactly(t, results(fsys, content("f")), "x", "absent")
	fsys = fsys.Kill()
	must(t, fsys.SyncDir("."))
	exactly(t, results(fsys, content("f")), "absent")
}

func TestAKillForgetsNothing(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	f := open(t, fsys, "f", os.O_RDWR|os.O_CREATE)
	write(t, f, 0, []byte("x"))
	next := fsys.Kill()
	if got := content("f")(next); got != "x" {
		t.Errorf("after kill -9 the file is %q", got)
	}
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, crashfs.ErrCrashed) {
		t.Errorf("the killed process wrote: %v", err)
	}
	exactly(t, results(next, content("f")), "x", "", "absent", "\x00")
}

func TestAFailedSyncIsNotMadeGoodByALaterOne(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	must(t, fsys.WriteFile("f", []byte("old")))
	f := open(t, fsys, "f", os.O_RDWR)
	write(t, f, 0, []byte("new"))
	fsys.Fail(crashfs.Sync, 1, 1, syscall.EIO)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("Sync = %v", err)
	}
	must(t, f.Sync())
	exactly(t, results(fsys, content("f")), "old", "new")
}

func TestCrashAtStopsAtEachOperation(t *testing.T) {
	work := func(fsys *crashfs.FS) (acked int, err error) {
		f, err := fsys.OpenFile("log", os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return 0, err
		}
		if err := fsys.SyncDir("."); err != nil {
			return 0, err
		}
		for i := range 3 {
			if _, err := f.WriteAt([]byte{byte('a' + i)}, int64(i)); err != nil {
				return i, err
			}
			if err := f.Sync(); err != nil {
				return i, err
			}
		}
		return 3, nil
	}
	points := 0
	for k := int64(1); ; k++ {
		fsys := crashfs.New(crashfs.Config{})
		fsys.CrashAt(k)
		acked, err := work(fsys)
		if !fsys.Crashed() {
			must(t, err)
			break
		}
		points++
		if !errors.Is(err, crashfs.ErrCrashed) || fsys.Ops() != k {
			t.Errorf("crash point %d: %v after %d operations", k, err, fsys.Ops())
		}
		for seed := range 20 {
			got := content("log")(fsys.Crash(rng(seed)))
			if acked > 0 && (len(got) < acked || got[:acked] != "abc"[:acked]) {
				t.Errorf("crash point %d: %d acknowledged, the file is %q", k, acked, got)
			}
		}
	}
	if points != 8 {
		t.Errorf("%d crash points, want create, syncdir and 3 times write and sync: 8", points)
	}
}

func TestAFullDiskGivesAShortWrite(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{Capacity: 10})
	f := open(t, fsys, "f", os.O_RDWR|os.O_CREATE)
	write(t, f, 0, []byte("12345678"))
	n, err := f.WritevAt([][]byte{[]byte("9"), []byte("abc")}, 8)
	if n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("WritevAt = %d, %v", n, err)
	}
	if err := f.Allocate(11); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Allocate = %v", err)
	}
	must(t, f.Close())
	must(t, fsys.Remove("f"))
	if _, free, err := fsys.Space("/"); free != 10 || err != nil {
		t.Errorf("free = %d, %v after the file was removed", free, err)
	}
}

func TestAllocatedSpaceIsNotTakenTwice(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{Capacity: 10})
	f := open(t, fsys, "f", os.O_RDWR|os.O_CREATE)
	must(t, f.Allocate(10))
	if size, err := f.Size(); size != 0 || err != nil {
		t.Errorf("Size = %d, %v", size, err)
	}
	g := open(t, fsys, "g", os.O_RDWR|os.O_CREATE)
	if _, err := g.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write beside the allocation = %v", err)
	}
	write(t, f, 0, []byte("0123456789"))
}

func TestAStallHoldsWritersAndLetsReadersThrough(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	must(t, fsys.WriteFile("f", []byte("old")))
	f := open(t, fsys, "f", os.O_RDWR)
	release := fsys.Stall(crashfs.Write | crashfs.Sync)
	entered := make(chan struct{}, 1)
	fsys.Hook(func(crashfs.Op) error { entered <- struct{}{}; return nil })
	wrote := make(chan error, 1)
	go func() { _, err := f.WriteAt([]byte("new"), 0); wrote <- err }()
	<-entered
	buf := make([]byte, 3)
	if _, err := f.ReadAt(buf, 0); err != nil || string(buf) != "old" {
		t.Errorf("read beside a stalled write = %q, %v", buf, err)
	}
	release()
	release()
	must(t, <-wrote)
	fsys.Stall(crashfs.Any)
	go func() { _, err := f.WriteAt([]byte("new"), 0); wrote <- err }()
	<-entered
	fsys.Crash(rng(1))
	if err := <-wrote; !errors.Is(err, crashfs.ErrCrashed) {
		t.Errorf("a stalled write came back from a power cut with %v", err)
	}
}

func TestFailureIsForTheNthOfItsKind(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	f := open(t, fsys, "f", os.O_RDWR|os.O_CREATE)
	fsys.Fail(crashfs.Write, 2, 1, syscall.EIO)
	write(t, f, 0, []byte("aa"))
	must(t, f.Sync())
	if n, err := f.WriteAt([]byte("bbbb"), 2); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Errorf("second write = %d, %v", n, err)
	}
	write(t, f, 2, []byte("cc"))
	fsys.Fail(crashfs.SyncDir, 1, -1, syscall.EIO)
	for range 3 {
		if err := fsys.SyncDir("/"); !errors.Is(err, syscall.EIO) {
			t.Errorf("SyncDir = %v", err)
		}
	}
	fsys.Heal()
	must(t, fsys.SyncDir("/"))
}

func TestOneSeedGivesOneDisk(t *testing.T) {
	run := func() string {
		fsys := crashfs.New(crashfs.Config{})
		for i := range 30 {
			f := open(t, fsys, fmt.Sprint("f", i), os.O_RDWR|os.O_CREATE)
			write(t, f, 0, bytes.Repeat([]byte{byte(i)}, 3*crashfs.PageSize))
			if i%2 == 0 {
				must(t, f.Sync())
			}
			if i%7 == 0 {
				must(t, fsys.SyncDir("/"))
			}
		}
		after := fsys.Crash(rng(7))
		var out bytes.Buffer
		list, err := after.ReadDir("/")
		must(t, err)
		for _, e := range list {
			fmt.Fprintf(&out, "%s %x\n", e.Name(), content(e.Name())(after))
		}
		return out.String()
	}
	if run() != run() {
		t.Error("the same operations and the same seed gave two disks")
	}
}

func TestItBehavesAsAFileSystem(t *testing.T) {
	for name, fsys := range map[string]host.FS{"os": host.OS{}, "crashfs": crashfs.New(crashfs.Config{})} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, fsys.MkdirAll(dir+"/d/e", 0o755))
			f, err := fsys.OpenFile(dir+"/d/f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
			must(t, err)
			check := func(what string, err, want error) {
				t.Helper()
				if !errors.Is(err, want) {
					t.Errorf("%s = %v, want %v", what, err, want)
				}
			}
			_, err = fsys.OpenFile(dir+"/d/f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
			check("exclusive create", err, fs.ErrExist)
			_, err = fsys.OpenFile(dir+"/d/none", os.O_RDWR, 0)
			check("open of nothing", err, fs.ErrNotExist)
			_, err = fsys.OpenFile(dir+"/none/f", os.O_RDWR|os.O_CREATE, 0o600)
			check("create in nothing", err, fs.ErrNotExist)
			check("remove of a full directory", fsys.Remove(dir+"/d"), syscall.ENOTEMPTY)
			check("rename of nothing", fsys.Rename(dir+"/none", dir+"/x"), fs.ErrNotExist)
			check("mkdir through a file", fsys.MkdirAll(dir+"/d/f/g", 0o755), syscall.ENOTDIR)
			check("syncdir of nothing", fsys.SyncDir(dir+"/none"), fs.ErrNotExist)

			_, err = f.WritevAt([][]byte{[]byte("ab"), nil, []byte("cd")}, 3)
			must(t, err)
			buf := make([]byte, 10)
			if n, err := f.ReadAt(buf, 0); n != 7 || err != io.EOF || string(buf[:n]) != "\x00\x00\x00abcd" {
				t.Errorf("ReadAt = %q, %v", buf[:n], err)
			}
			must(t, f.Truncate(4))
			must(t, f.Truncate(6))
			if n, _ := f.ReadAt(buf, 0); string(buf[:n]) != "\x00\x00\x00a\x00\x00" {
				t.Errorf("after truncation %q", buf[:n])
			}
			must(t, f.Allocate(100))
			if size, err := f.Size(); size != 6 || err != nil {
				t.Errorf("Size = %d, %v", size, err)
			}
			must(t, fsys.Rename(dir+"/d/f", dir+"/d/e/g"))
			st, err := fsys.Stat(dir + "/d/e/g")
			must(t, err)
			if st.Size() != 6 || st.IsDir() || st.Name() != "g" {
				t.Errorf("Stat = %v %v %v", st.Size(), st.IsDir(), st.Name())
			}
			list, err := fsys.ReadDir(dir + "/d")
			must(t, err)
			if len(list) != 1 || list[0].Name() != "e" || !list[0].IsDir() {
				t.Errorf("ReadDir = %v", list)
			}
			must(t, fsys.Remove(dir+"/d/e/g"))
			if n, err := f.ReadAt(buf[:1], 3); n != 1 || err != nil {
				t.Errorf("a removed file that is open cannot be read: %v", err)
			}
			must(t, f.Close())
			check("second close", f.Close(), fs.ErrClosed)
		})
	}
}

func TestItMayBeUsedAtOnce(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				name := fmt.Sprintf("d%d/f%d", i%3, j)
				if fsys.MkdirAll(fmt.Sprintf("d%d", i%3), 0o755) != nil {
					return
				}
				f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
				if err != nil {
					return
				}
				f.WriteAt([]byte(name), 0)
				f.Sync()
				f.Close()
				fsys.SyncDir("/")
				if j == 40 {
					fsys.Crash(rng(i))
				}
			}
		})
	}
	wg.Wait()
	if !fsys.Crashed() {
		t.Error("nobody cut the power")
	}
}
