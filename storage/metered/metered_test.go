package metered_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"penstock/storage"
	"penstock/storage/disk"
	"penstock/storage/mem"
	"penstock/storage/metered"
	"penstock/storage/retry"
	"penstock/storage/storagetest"
)

func TestBucket(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Bucket {
		return metered.New(metered.Config{Bucket: mem.New(mem.Config{})})
	})
}

func TestItCountsBytesAndErrors(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := metered.New(metered.Config{Bucket: mem.New(mem.Config{}), Store: "test", Registerer: reg})
	storagetest.Put(t, b, "k", make([]byte, 100))
	storagetest.Get(t, b, "k", 10, 20)
	storagetest.Get(t, b, "k", 0, 5)
	_ = b.Put(t.Context(), "k", strings.NewReader("x"), 1)
	_, _ = b.Get(t.Context(), "none", 0, -1)
	storagetest.Keys(t, b, "", "")
	if err := b.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
		# HELP penstock_storage_bytes_total Bytes of objects that were stored and read.
		# TYPE penstock_storage_bytes_total counter
		penstock_storage_bytes_total{op="get",store="test"} 25
		penstock_storage_bytes_total{op="put",store="test"} 100
		# HELP penstock_storage_errors_total Storage operations that failed, by what a caller can do about it.
		# TYPE penstock_storage_errors_total counter
		penstock_storage_errors_total{kind="in_use",op="put",store="test"} 1
		penstock_storage_errors_total{kind="not_found",op="get",store="test"} 1
	`), "penstock_storage_bytes_total", "penstock_storage_errors_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "penstock_storage_operation_seconds"); n != 4 || err != nil {
		t.Errorf("%d histograms, %v: want one each for put, get, list and delete", n, err)
	}
	if found, err := testutil.GatherAndLint(reg); len(found) != 0 || err != nil {
		t.Errorf("lint: %v, %v", found, err)
	}
}

func TestFilesAreFoundThroughWrappers(t *testing.T) {
	d, err := disk.Open(t.Context(), disk.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	b := metered.New(metered.Config{Bucket: retry.New(retry.Config{Bucket: d})})
	if files, ok := storage.Files(b); !ok || files != storage.FileBucket(d) {
		t.Errorf("Files = %v, %v", files, ok)
	}
	if _, ok := storage.Files(metered.New(metered.Config{Bucket: mem.New(mem.Config{})})); ok {
		t.Error("memory has no files")
	}
}
