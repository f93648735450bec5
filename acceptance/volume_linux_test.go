package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"penstock/internal/repotest"
)

// Requests of ioctl(2) on a file system's root: linux/fs.h, and fs/xfs/libxfs/xfs_fs.h,
// which ext4 took over.
const (
	ioctlFreeze   = 0xC0045877
	ioctlThaw     = 0xC0045878
	ioctlShutdown = 0x8004587D
	// shutdownNoFlush ends all writing at once and leaves the journal as it is, which is
	// what the disk holds after a power cut.
	shutdownNoFlush = 2
)

// volume is a file system of its own in a file, so that it can fill up, stall and lose
// power without harm to anything else.
type volume struct {
	t       testing.TB
	image   string
	dir     string // where it is mounted
	mounted bool
	frozen  bool
}

// newVolume makes and mounts a file system of kind "ext4" or "xfs". It goes with the test.
func newVolume(t testing.TB, kind string, megabytes int64) *volume {
	t.Helper()
	if os.Geteuid() != 0 {
		repotest.Missing(t, "root: a file system can only be mounted by it")
	}
	mkfs := repotest.Need(t, "mkfs."+kind)
	repotest.Need(t, "mount")
	v := &volume{t: t, image: filepath.Join(t.TempDir(), kind+".img"), dir: filepath.Join(t.TempDir(), "volume")}
	if err := os.Mkdir(v.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(v.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(megabytes << 20); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", v.image}
	if kind == "ext4" {
		args = append(args, "-m", "0") // nothing is set apart for root, who runs this
	}
	if out, err := exec.Command(mkfs, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", mkfs, err, out)
	}
	if out, err := v.tryMount(); err != nil {
		repotest.Missing(t, fmt.Sprintf("loop mounts: mount -o loop: %v: %s", err, out))
	}
	t.Cleanup(func() {
		v.thaw()
		v.unmount()
	})
	return v
}

// onVolumes runs a test on each kind of file system at the same time.
func onVolumes(t *testing.T, megabytes int64, test func(t *testing.T, v *volume, rng *rand.Rand)) {
	for i, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newVolume(t, kind, megabytes), rand.New(rand.NewPCG(20, uint64(i))))
		})
	}
}

func (v *volume) tryMount() ([]byte, error) {
	out, err := exec.Command("mount", "-o", "loop", v.image, v.dir).CombinedOutput()
	v.mounted = err == nil
	return out, err
}

func (v *volume) mount() {
	v.t.Helper()
	if out, err := v.tryMount(); err != nil {
		v.t.Fatalf("mount: %v\n%s", err, out)
	}
}

func (v *volume) unmount() {
	v.t.Helper()
	if !v.mounted {
		return
	}
	if out, err := exec.Command("umount", v.dir).CombinedOutput(); err != nil {
		v.t.Errorf("umount: %v\n%s", err, out)
		return
	}
	v.mounted = false
}

// freeze lets every write to the volume wait, without an error, until thaw.
func (v *volume) freeze() {
	v.t.Helper()
	v.ioctl(ioctlFreeze, 0)
	v.frozen = true
}

func (v *volume) thaw() {
	v.t.Helper()
	if v.frozen {
		v.ioctl(ioctlThaw, 0)
		v.frozen = false
	}
}

// cut takes the power from the volume: what is not on it now never will be.
func (v *volume) cut() {
	v.t.Helper()
	v.ioctl(ioctlShutdown, shutdownNoFlush)
}

func (v *volume) ioctl(request uintptr, argument uint32) {
	v.t.Helper()
	d, err := os.Open(v.dir)
	if err != nil {
		v.t.Fatal(err)
	}
	defer d.Close()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, d.Fd(), request, uintptr(unsafe.Pointer(&argument))); errno != 0 {
		v.t.Fatalf("ioctl %#x on %s: %v", request, v.dir, errno)
	}
}

// data is the directory on the volume for a server.
func (v *volume) data() string { return filepath.Join(v.dir, "data") }
