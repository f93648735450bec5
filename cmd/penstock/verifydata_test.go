package main

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/records"
	"penstock/storage/disk"
)

// withRecords puts a record into a data directory, sealed, and another that is not.
func withRecords(t *testing.T, dir string) {
	t.Helper()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	db, err := openMeta(t.Context(), dir, slog.New(slog.DiscardHandler), nil)
	ok(err)
	bucket, err := disk.Open(t.Context(), disk.Config{Dir: filepath.Join(dir, "bucket")})
	ok(err)
	s, err := records.Open(t.Context(), records.Config{Dir: dir, Bucket: bucket, Meta: db})
	ok(err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	l, err := s.Create(ctx, "sensors", time.Now(), 1)
	ok(err)
	for range 2 {
		ok(l.Put(ctx, []records.Input{{Key: "a", Hash: records.HashOf("a"), Data: []byte("1")}}, make([]records.Placed, 1), nil))
		if len(l.Shards()) == 1 {
			ok(s.Seal(ctx))
		}
	}
	cancel()
	ok(<-done)
	ok(s.Close())
	ok(db.Close())
}

func TestVerifyAndReindexCoverDataRecords(t *testing.T) {
	dir := t.TempDir()
	withRecords(t, dir)
	if code, out, errs := command(t, "verify", dir); code != 0 || !strings.Contains(errs, "1 data streams, 2 segments, 2 records") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	if code, out, errs := command(t, "reindex", dir); code != 0 || !strings.Contains(errs, "1 data streams, 2 segments, 2 records") {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	err := filepath.WalkDir(filepath.Join(dir, "bucket", "seg"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b[100] ^= 1
		return os.WriteFile(name, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, out, errs := command(t, "verify", dir); code == 0 || !strings.Contains(out, "bad") || !strings.Contains(out, "sensors") {
		t.Fatalf("with flipped bits: %d %s%s", code, out, errs)
	}
}
