package agent

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"penstock/internal/crashfs"
)

func TestAPowerCutLeavesAWholeCheckpoint(t *testing.T) {
	const name, saves = "state/flow.json", 6
	tried := 0
	for seed := range uint64(20) {
		for k := int64(1); ; k++ {
			disk := crashfs.New(crashfs.Config{})
			if err := errors.Join(disk.MkdirAll("state", 0o700), disk.SyncDir("."), disk.SyncDir("state")); err != nil {
				t.Fatal(err)
			}
			disk.CrashAt(k)
			sure := int64(-1)
			for i := range int64(saves) {
				s := state{Version: stateVersion, Flow: "flow", Files: make([]mark, 1+i*7)}
				s.Files[0].Offset = i
				if s.save(disk, name) == nil {
					sure = i
				}
			}
			if !disk.Crashed() {
				break
			}
			tried++
			got, err := loadState(disk.Crash(rand.New(rand.NewPCG(seed, uint64(k)))), name)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				if sure >= 0 {
					t.Fatalf("seed %d, cut %d: checkpoint %d is gone", seed, k, sure)
				}
			case err != nil:
				t.Fatalf("seed %d, cut %d: %v", seed, k, err)
			case got.Files[0].Offset < sure:
				t.Fatalf("seed %d, cut %d: checkpoint %d came back, %d was saved", seed, k, got.Files[0].Offset, sure)
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d power cuts", tried)
	}
}

func TestAFullDiskKeepsTheCheckpointThatWas(t *testing.T) {
	for _, op := range []crashfs.Kind{crashfs.Create, crashfs.Write, crashfs.Sync, crashfs.Rename} {
		disk := crashfs.New(crashfs.Config{})
		if err := disk.MkdirAll("state", 0o700); err != nil {
			t.Fatal(err)
		}
		good := state{Version: stateVersion, Flow: "flow", Files: []mark{{Offset: 1}}}
		if err := good.save(disk, "state/f"); err != nil {
			t.Fatal(err)
		}
		disk.Fail(op, 1, -1, syscall.ENOSPC)
		if err := (state{Version: stateVersion, Files: []mark{{Offset: 2}}}).save(disk, "state/f"); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%v: %v", op, err)
		}
		disk.Heal()
		if got, err := loadState(disk, "state/f"); err != nil || got.Files[0].Offset != 1 {
			t.Errorf("%v: %+v %v", op, got, err)
		}
	}
}
