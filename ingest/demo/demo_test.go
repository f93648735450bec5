package demo_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"penstock/fragments"
	"penstock/ingest/demo"
	"penstock/storage/mem"
	"penstock/storage/meta"
	"penstock/streams"
)

// plainSealer seals nothing: what is sealed is not what is tested.
type plainSealer struct{}

// Seal returns plain.
func (plainSealer) Seal(_ string, plain []byte) ([]byte, error) { return plain, nil }

// Unseal returns sealed.
func (plainSealer) Unseal(_ string, sealed []byte) ([]byte, error) { return sealed, nil }

// TestAServerThatStopsIsNoCameraThatEnds: the gap of a restart has its true reason.
func TestAServerThatStopsIsNoCameraThatEnds(t *testing.T) {
	db, err := meta.Open(t.Context(), meta.Config{Path: filepath.Join(t.TempDir(), "meta.db"), Schemas: []meta.Schema{streams.Schema()}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := fragments.Open(t.Context(), fragments.Config{Dir: filepath.Join(t.TempDir(), "open"), Bucket: mem.New(mem.Config{}), Meta: db})
	if err != nil {
		t.Fatal(err)
	}
	cat, err := streams.OpenCatalogue(t.Context(), streams.CatalogueConfig{Meta: db, Sealer: plainSealer{},
		Erase: func(context.Context, streams.Stream) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	st, err := cat.Create(t.Context(), streams.Stream{Account: "000000000000", Name: "demo", Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	hub := streams.NewHub(streams.HubConfig{Store: store, Catalogue: cat})
	defer background(t, store.Run)()
	defer background(t, hub.Run)()
	stop := background(t, (&demo.Camera{Hub: hub, Stream: func() (streams.Stream, error) { return st, nil }}).Run)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	err = hub.Log(st).Wait(ctx, 0) // a fragment is there
	stop()
	if err != nil {
		t.Fatal(err)
	}
	if s := hub.State(st.ID); s.Status == streams.Live || s.Reason != fragments.CauseServerStopped.String() {
		t.Errorf("%v, %q; want %q", s.Status, s.Reason, fragments.CauseServerStopped)
	}
}

// background runs a service until the returned function is called.
func background(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
