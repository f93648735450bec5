package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
	"penstock/storage/disk"
	"penstock/storage/storagetest"
)

func open(t testing.TB, fsys host.FS, dir string) *disk.Bucket {
	t.Helper()
	b, err := disk.Open(t.Context(), disk.Config{Dir: dir, FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBucketOnTheMachinesDisk(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Bucket { return open(t, nil, t.TempDir()+"/a/b") })
}

func TestBucketOnCrashfs(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) storage.Bucket {
		return open(t, crashfs.New(crashfs.Config{}), "/data/bucket")
	})
}

func adoptable(t testing.TB, fsys *crashfs.FS, name string, data []byte) {
	t.Helper()
	if err := fsys.WriteFile(name, data); err != nil {
		t.Fatal(err)
	}
}

func TestASyncedFileIsAdoptedInPlace(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{})
	b := open(t, fsys, "/data/bucket")
	data := storagetest.Bytes(1, 5000)
	adoptable(t, fsys, "/data/spool/1.open", data)
	files, ok := storage.Files(b)
	if !ok || files.Path("v/s/1.chk") != "/data/bucket/v/s/1.chk" || files.Path("../x") != "" {
		t.Fatalf("Files = %v, Path = %q", ok, files.Path("v/s/1.chk"))
	}
	if err := files.Adopt(t.Context(), "v/s/1.chk", "/data/spool/1.open"); err != nil {
		t.Fatal(err)
	}
	if got := storagetest.Get(t, b, "v/s/1.chk", 0, -1); !bytes.Equal(got, data) {
		t.Error("the adopted object has other bytes")
	}
	storagetest.Want(t, "Adopt of nothing", files.Adopt(t.Context(), "v/s/2.chk", "/data/spool/1.open"), fault.NotFound)
	adoptable(t, fsys, "/data/spool/2.open", nil)
	storagetest.Want(t, "Adopt over an object", files.Adopt(t.Context(), "v/s/1.chk", "/data/spool/2.open"), fault.InUse)
	storagetest.Want(t, "Adopt of a bad key", files.Adopt(t.Context(), "../1.chk", "/data/spool/2.open"), fault.Invalid)
	if _, err := fsys.Stat("/data/spool/2.open"); err != nil {
		t.Errorf("a refused file is gone: %v", err)
	}
}

// crashes runs work with the power cut at each of its operations and hands what the
// disk may look like to check.
func crashes(t *testing.T, prepare, work func(*crashfs.FS) error, check func(t *testing.T, after *crashfs.FS, acked bool)) {
	points := 0
	for k := int64(1); ; k++ {
		fsys := crashfs.New(crashfs.Config{})
		if err := prepare(fsys); err != nil {
			t.Fatal(err)
		}
		fsys.CrashAt(fsys.Ops() + k)
		err := work(fsys)
		crashed := fsys.Crashed()
		if !crashed && err != nil {
			t.Fatal(err)
		}
		points++
		for seed := range 40 {
			after := fsys.Crash(rand.New(rand.NewPCG(uint64(k), uint64(seed))))
			check(t, after, err == nil)
			if t.Failed() {
				t.Fatalf("power cut at operation %d, seed %d", k, seed)
			}
		}
		if !crashed {
			break
		}
	}
	if points < 5 {
		t.Errorf("only %d crash points", points)
	}
}

func TestAPutSurvivesAnyPowerCutOnceItReturned(t *testing.T) {
	data := storagetest.Bytes(9, 3*crashfs.PageSize+100)
	var b *disk.Bucket
	nothing := func(*crashfs.FS) error { return nil }
	crashes(t, nothing, func(fsys *crashfs.FS) error {
		var err error
		if b, err = disk.Open(t.Context(), disk.Config{Dir: "/data/bucket", FS: fsys}); err != nil {
			return err
		}
		return b.Put(t.Context(), "v/s/1.chk", bytes.NewReader(data), int64(len(data)))
	}, func(t *testing.T, after *crashfs.FS, acked bool) {
		b := open(t, after, "/data/bucket")
		keys := storagetest.Keys(t, b, "", "")
		if acked && len(keys) != 1 {
			t.Error("an acknowledged object is gone")
		}
		for _, key := range keys {
			if got := storagetest.Get(t, b, key, 0, -1); key != "v/s/1.chk" || !bytes.Equal(got, data) {
				t.Errorf("%s is torn: %d bytes", key, len(got))
			}
		}
		if left, err := after.ReadDir("/data/bucket/.tmp"); err != nil || len(left) != 0 {
			t.Errorf("left over: %v, %v", left, err)
		}
		if len(keys) == 0 {
			storagetest.Put(t, b, "v/s/1.chk", data)
		}
	})
}

func TestAnAdoptedFileIsInOnePlaceAfterAnyPowerCut(t *testing.T) {
	data := storagetest.Bytes(9, 3*crashfs.PageSize+100)
	var b *disk.Bucket
	crashes(t, func(fsys *crashfs.FS) error {
		b = open(t, fsys, "/data/bucket")
		return fsys.WriteFile("/data/spool/1.open", data)
	}, func(*crashfs.FS) error {
		return b.Adopt(t.Context(), "v/s/1.chk", "/data/spool/1.open")
	}, func(t *testing.T, after *crashfs.FS, acked bool) {
		spool, _ := after.ReadFile("/data/spool/1.open")
		object, _ := after.ReadFile("/data/bucket/v/s/1.chk")
		if acked && object == nil || !bytes.Equal(append(spool, object...), data) {
			t.Errorf("acknowledged %v, spool has %d bytes, the bucket %d", acked, len(spool), len(object))
		}
	})
}

func TestADeletedObjectStaysDeletedOnceDeleteReturned(t *testing.T) {
	var b *disk.Bucket
	crashes(t, func(fsys *crashfs.FS) error {
		b = open(t, fsys, "/data/bucket")
		storagetest.Put(t, b, "v/s/1.chk", []byte("x"))
		storagetest.Put(t, b, "v/s/2.chk", []byte("x"))
		storagetest.Put(t, b, "v/t/1.chk", []byte("x"))
		return nil
	}, func(*crashfs.FS) error {
		return b.Delete(t.Context(), "v/s/1.chk", "v/t/1.chk")
	}, func(t *testing.T, after *crashfs.FS, acked bool) {
		b := open(t, after, "/data/bucket")
		keys := storagetest.Keys(t, b, "", "")
		if !slices.Contains(keys, "v/s/2.chk") || acked && len(keys) != 1 {
			t.Errorf("acknowledged %v, there is %v", acked, keys)
		}
		// Whatever directories are left, "v/t" can be an object now or the old one is there.
		if !slices.Contains(keys, "v/t/1.chk") {
			storagetest.Put(t, b, "v/t", []byte("y"))
		}
	})
}

func TestManyObjectsThroughManyPowerCuts(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		fsys := crashfs.New(crashfs.Config{})
		want := map[string][]byte{} // nil: its fate is open
		for life := range 5 {
			if life > 0 {
				fsys = fsys.Crash(rng)
			}
			fsys.CrashAt(fsys.Ops() + 10 + rng.Int64N(120))
			b, err := disk.Open(t.Context(), disk.Config{Dir: "bucket", FS: fsys})
			for i := 0; err == nil; i++ {
				key := fmt.Sprintf("d%d/e%d/f%d", rng.IntN(2), rng.IntN(2), rng.IntN(4))
				data := storagetest.Bytes(byte(life*16+i), 100+rng.IntN(9000))
				if _, there := want[key]; there {
					if err = b.Delete(t.Context(), key); err == nil {
						delete(want, key)
					} else {
						want[key] = nil
					}
					continue
				}
				switch err = b.Put(t.Context(), key, bytes.NewReader(data), int64(len(data))); {
				case err == nil:
					want[key] = data
				default:
					want[key] = nil
				}
			}
			if !errors.Is(err, crashfs.ErrCrashed) {
				t.Fatalf("seed %d life %d: %v", seed, life, err)
			}
			b = open(t, fsys.Crash(rng), "bucket")
			keys := storagetest.Keys(t, b, "", "")
			for key, data := range want {
				at := slices.Index(keys, key)
				if data != nil && (at < 0 || !bytes.Equal(storagetest.Get(t, b, key, 0, -1), data)) {
					t.Fatalf("seed %d life %d: %s was acknowledged and is gone or torn", seed, life, key)
				}
				// The next life looks at another outcome: what was open stays open.
			}
			for _, key := range keys {
				if _, ok := want[key]; !ok {
					t.Fatalf("seed %d life %d: %s came back", seed, life, key)
				}
			}
		}
	}
}

func TestAKilledPutHearsThatTheKeyExistsOnlyWhenItIsDurable(t *testing.T) {
	for k := int64(1); k < 40; k++ {
		fsys := crashfs.New(crashfs.Config{})
		b := open(t, fsys, "bucket")
		fsys.CrashAt(fsys.Ops() + k)
		_ = b.Put(t.Context(), "a/b/c", strings.NewReader("x"), 1)
		fsys = fsys.Kill()
		b = open(t, fsys, "bucket")
		if err := b.Put(t.Context(), "a/b/c", strings.NewReader("x"), 1); err != nil && !fault.Is(err, fault.InUse) {
			t.Fatal(err)
		}
		for seed := range 20 {
			after := fsys.Crash(rand.New(rand.NewPCG(uint64(k), uint64(seed))))
			if got, err := after.ReadFile("bucket/a/b/c"); string(got) != "x" {
				t.Fatalf("killed at %d: %q, %v", k, got, err)
			}
		}
	}
}

func TestAFullDiskStoresNothingAndSaysWhatToDo(t *testing.T) {
	fsys := crashfs.New(crashfs.Config{Capacity: 10_000})
	b := open(t, fsys, "bucket")
	err := b.Put(t.Context(), "k", bytes.NewReader(make([]byte, 20_000)), 20_000)
	storagetest.Want(t, "Put", err, fault.Unavailable)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(fault.HintOf(err), "free space") {
		t.Errorf("Put = %v, hint %q", err, fault.HintOf(err))
	}
	if _, free, err := fsys.Space("/"); free != 10_000 || err != nil {
		t.Errorf("%d bytes are free afterwards, %v", free, err)
	}
	storagetest.Put(t, b, "k", make([]byte, 9_000))
}

func TestAFailedStepLeavesTheKeyFree(t *testing.T) {
	for _, kind := range []crashfs.Kind{crashfs.Create, crashfs.Write, crashfs.Allocate, crashfs.Sync, crashfs.Mkdir, crashfs.Rename, crashfs.SyncDir} {
		t.Run(kind.String(), func(t *testing.T) {
			fsys := crashfs.New(crashfs.Config{})
			b := open(t, fsys, "bucket")
			fsys.Fail(kind, 1, 1, syscall.EIO)
			err := b.Put(t.Context(), "a/k", strings.NewReader("x"), 1)
			storagetest.Want(t, "Put", err, fault.Unavailable)
			if keys := storagetest.Keys(t, b, "", ""); len(keys) != 0 {
				t.Errorf("it stored %v", keys)
			}
			storagetest.Put(t, b, "a/k", []byte("x"))
		})
	}
}

func TestStrangersInTheDirectoryAreNoObjects(t *testing.T) {
	dir := t.TempDir()
	b := open(t, nil, dir)
	storagetest.Put(t, b, "v/k", nil)
	for _, name := range []string{".DS_Store", "v/lost+found~", "v/two words"} {
		if err := os.WriteFile(path.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", path.Join(dir, "v/link")); err != nil {
		t.Fatal(err)
	}
	if keys := storagetest.Keys(t, b, "", ""); !slices.Equal(keys, []string{"v/k"}) {
		t.Errorf("List = %v", keys)
	}
}

func TestEmptyDirectoriesGoAway(t *testing.T) {
	dir := t.TempDir()
	b := open(t, nil, dir)
	storagetest.Put(t, b, "v/s/20260102/1.chk", nil)
	if err := b.Delete(t.Context(), "v/s/20260102/1.chk"); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 1 || list[0].Name() != ".tmp" {
		t.Errorf("left %v, %v", list, err)
	}
}
