// Package datastreamtest opens a catalogue of data streams with the floors below it, for
// the tests of what stands on it. It leaves to each test what stands there.
package datastreamtest

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"penstock/auth"
	"penstock/records"
	"penstock/storage/mem"
	"penstock/storage/meta"
	"penstock/streams/datastream"
)

// Floors are a catalogue that runs and what it stands on.
type Floors struct {
	Dir     string // of the records; fresh
	Meta    *meta.DB
	Auth    *auth.Authority // opened, not run
	Data    *datastream.Catalogue
	Records *records.Store
}

// Open opens the floors, and stops them after the test's own clean-ups. change may change
// how auth is opened; schemas are added to those of auth and of data streams.
func Open(t testing.TB, change func(*auth.Config), schemas ...meta.Schema) *Floors {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	f := &Floors{Dir: t.TempDir()}
	var err error
	f.Meta, err = meta.Open(ctx, meta.Config{Path: filepath.Join(f.Dir, "meta.db"), Schemas: append(schemas, auth.Schema(), datastream.Schema())})
	must(err)
	key, err := auth.NewMasterKey(make([]byte, 32))
	must(err)
	accounts := auth.Config{Meta: f.Meta, MasterKey: key}
	if change != nil {
		change(&accounts)
	}
	f.Auth, err = auth.Open(ctx, accounts)
	must(err)
	f.Data, err = datastream.Open(ctx, datastream.Config{Meta: f.Meta, Sealer: f.Auth})
	must(err)
	f.Records, err = records.Open(ctx, records.Config{Dir: f.Dir, Bucket: mem.New(mem.Config{}), Meta: f.Meta, Keys: f.Data, Retention: f.Data.Retention})
	must(err)
	f.Data.Attach(f.Records)
	f.run(t)
	return f
}

// run runs the catalogue and its records until the test ends.
func (f *Floors) run(t testing.TB) {
	lasting, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	for what, run := range map[string]func(context.Context) error{"records": f.Records.Run, "data streams": f.Data.Run} {
		running.Go(func() {
			if err := run(lasting); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		running.Wait()
		if err := errors.Join(f.Records.Close(), f.Meta.Close()); err != nil {
			t.Errorf("close the floors: %v", err)
		}
	})
}
