package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/auth"
	"penstock/auth/audit"
	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage"
	"penstock/storage/disk"
	"penstock/storage/meta"
	"penstock/storage/metered"
	"penstock/storage/retry"
	"penstock/storage/s3"
	"penstock/streams"
	"penstock/streams/datastream"
	"penstock/streams/events"
)

// lockPatience is about how long a start waits for the process before it to be gone.
const lockPatience = time.Second

// lockDir takes the data directory for this process alone.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "LOCK")
	f, err := host.Lock(name)
	// A process that was killed under many cameras holds the lock until the system has
	// closed all that it had open.
	for wait := 10 * time.Millisecond; errors.Is(err, host.ErrLocked) && wait < lockPatience; wait *= 2 {
		time.Sleep(wait)
		f, err = host.Lock(name)
	}
	if errors.Is(err, host.ErrLocked) {
		return nil, fault.New(fault.InUse, "lock data directory", dir, "another penstock runs on it").
			WithHint("stop it, or give this one a directory of its own with --data DIR")
	}
	if err != nil {
		return nil, explainDir("lock data directory", dir, err)
	}
	return f, nil
}

// explainDir adds to what the system says of a folder with our state what an operator can do.
func explainDir(op, dir string, err error) error {
	wrapped := &fault.Error{Op: op, Resource: dir, Err: err}
	switch {
	case errors.Is(err, os.ErrPermission):
		wrapped.Kind = fault.Denied
		return wrapped.WithHint(fmt.Sprintf("give it to the user that runs this: chown -R %d %s; or run this as its owner", os.Getuid(), dir))
	case errors.Is(err, syscall.EROFS):
		wrapped.Kind = fault.Unavailable
		return wrapped.WithHint("mount it for writing, or name another folder with --data DIR")
	}
	return fmt.Errorf("%s: %w", op, err)
}

// openMeta opens the metadata store with everyone's tables.
func openMeta(ctx context.Context, dir string, log *slog.Logger, reg prometheus.Registerer) (*meta.DB, error) {
	return meta.Open(ctx, meta.Config{
		Path: filepath.Join(dir, "meta.db"), Schemas: []meta.Schema{auth.Schema(), audit.Schema(), streams.Schema(), events.Schema(), datastream.Schema()},
		Logger: log.With("component", "meta"), Registerer: reg,
	})
}

// openAuth opens the accounts; what they do is written to trail.
func openAuth(ctx context.Context, c config, dir string, db *meta.DB, trail *audit.Log, log *slog.Logger, reg prometheus.Registerer) (*auth.Authority, error) {
	key, err := auth.LoadMasterKey(auth.MasterKeyConfig{Dir: dir})
	if err != nil {
		return nil, err
	}
	return auth.Open(ctx, auth.Config{Meta: db, MasterKey: key, Account: c.Account, Region: c.Region, Audit: trail,
		DigestPasswords: true, // players pick Digest when RTSP offers it
		Logger:          log.With("component", "auth"), Registerer: reg})
}

// auditReader shows the server's audit log and that of commands on the data directory.
func (d *daemon) auditReader() *audit.Reader {
	dir := func(name string) audit.Source {
		return audit.Source{Name: name, Dir: filepath.Join(d.dir, "audit", name)}
	}
	return &audit.Reader{FS: d.files, Sources: []audit.Source{dir("server"), dir("cli")}}
}

// openFragments opens the recordings, on local disk or in an S3-compatible store.
func (d *daemon) openFragments(ctx context.Context) (*fragments.Store, error) {
	bucket, err := d.openBucket(ctx)
	if err != nil {
		return nil, err
	}
	d.bucket = bucket
	return fragments.Open(ctx, d.fragmentsConfig(bucket))
}

func (d *daemon) fragmentsConfig(b storage.Bucket) fragments.Config {
	return fragments.Config{
		FS: d.files, Dir: filepath.Join(d.dir, "open"), Bucket: b, Meta: d.meta,
		ChunkSpan: time.Duration(d.c.Storage.ChunkSpan), ChunkSize: int64(d.c.Storage.ChunkSize),
		Budget: int64(d.c.Storage.StallBudget), SpoolLimit: int64(d.c.Storage.SpoolLimit),
		Guarantee: cmp.Or(time.Duration(d.c.Storage.KeepAtLeast), -1), // 0s: nothing
		Logger:    d.log.With("component", "fragments"), Registerer: d.registry,
	}
}

func (d *daemon) openBucket(ctx context.Context) (storage.Bucket, error) {
	if d.c.S3.Endpoint == "" {
		d.storeName = "local disk"
		return disk.Open(ctx, disk.Config{FS: d.files, Dir: filepath.Join(d.dir, "bucket")})
	}
	d.storeName = "S3 bucket " + d.c.S3.Bucket
	store, err := s3.Open(ctx, s3Config(d.c))
	if err != nil {
		return nil, err
	}
	if report, err := store.Probe(ctx); err != nil {
		d.log.Warn("the S3 store does not answer as it should; chunks wait on the local disk", "err", err)
	} else {
		d.log.Info("S3 store", "can", report.String())
	}
	measured := metered.New(metered.Config{Bucket: store, Store: "s3", Registerer: d.registry})
	return retry.New(retry.Config{Bucket: measured, Attempts: s3Attempts, Registerer: d.registry}), nil
}

// s3Attempts makes one operation give up after about four seconds: the store of
// recordings tries uploads again for ever and says so, and a viewer does not wait longer.
const s3Attempts = 5

// s3Config is what package s3 takes of the settings: TLS, unless the endpoint is a
// URL with http://.
func s3Config(c config) s3.Config {
	return s3.Config{Endpoint: c.S3.Endpoint, Bucket: c.S3.Bucket, Prefix: c.S3.Prefix, Region: c.S3.Region,
		AccessKey: c.S3.AccessKey, SecretKey: c.S3.SecretKey.Text, TLS: true, PathStyle: true, CAFile: c.S3.CAFile}
}
