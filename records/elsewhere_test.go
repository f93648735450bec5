package records

import (
	"context"
	"os"
	"testing"

	"penstock/internal/repotest"
	"penstock/storage/disk"
)

func TestABucketOnAnotherDiskIsCopiedTo(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "penstock-records-")
	if err != nil {
		repotest.Missing(t, "/dev/shm is missing")
	}
	defer os.RemoveAll(dir)
	bucket, err := disk.Open(context.Background(), disk.Config{Dir: dir})
	must(t, err)
	r := newRig(t, func(c *Config) { c.Bucket = bucket })
	l := r.create("s", 1)
	put(t, l, "a", "b")
	must(t, r.store.Seal(context.Background()))
	r.restart()
	r.holds(r.log("s"), 0, "a", "b")
	if n := len(r.log("s").segs); n != 1 {
		t.Errorf("%d segments", n)
	}
}
