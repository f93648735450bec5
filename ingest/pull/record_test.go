package pull

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/fragments"
	"penstock/internal/camsim"
	"penstock/internal/host/hosttest"
	"penstock/internal/secret"
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

// TestCameraOfTheCatalogueIsRecorded goes the whole way once: a stream is created with
// a source, and its media can be read back from the log, across a dropped connection.
func TestCameraOfTheCatalogueIsRecorded(t *testing.T) {
	dir := t.TempDir()
	db, err := meta.Open(t.Context(), meta.Config{Path: filepath.Join(dir, "meta.db"), Schemas: []meta.Schema{streams.Schema()}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := fragments.Open(t.Context(), fragments.Config{Dir: filepath.Join(dir, "open"), Bucket: mem.New(mem.Config{}), Meta: db})
	if err != nil {
		t.Fatal(err)
	}
	cat, err := streams.OpenCatalogue(t.Context(), streams.CatalogueConfig{Meta: db, Sealer: plainSealer{},
		Erase: func(context.Context, streams.Stream) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	hub := streams.NewHub(streams.HubConfig{Store: store, Catalogue: cat})
	reg := prometheus.NewRegistry()
	sup, err := New(Config{Catalogue: cat, Hub: hub, Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	stopStore := background(t, "store", store.Run)
	stopHub := background(t, "hub", hub.Run)
	stopPull := background(t, "pull", sup.Run)

	cam := cameras(t, camsim.ServerConfig{Material: shortClip(), Auth: camsim.Digest, Username: "u", Password: "p", Faults: camsim.Faults{DropEvery: 5 * time.Second}})
	st, err := cat.Create(t.Context(), streams.Stream{Account: "000000000000", Name: "front-door", Retention: time.Hour,
		Source: &streams.Source{URL: cam.URL(0), Username: "u", Password: secret.New("p"), Transport: streams.Auto}})
	if err != nil {
		t.Fatal(err)
	}
	log := hub.Log(st)
	ctx, cancel := context.WithTimeout(t.Context(), lastResort)
	defer cancel()
	pulse, began := hosttest.Feel(t), time.Now()
	var heads []fragments.Head
	after := fragments.Number(0)
	for media := time.Duration(0); media < 8*time.Second; {
		if err := log.Wait(ctx, after); err != nil {
			t.Fatalf("%v; state %+v", err, hub.State(st.ID))
		}
		for h, err := range log.Select(ctx, fragments.Range{After: after}) {
			if err != nil {
				t.Fatal(err)
			}
			heads = append(heads, h)
			after = h.Number
			media += h.End.Sub(h.Start)
		}
	}
	lost := time.Duration(0)
	for i, h := range heads {
		if h.Forced {
			t.Errorf("fragment %d does not begin with a key frame", i)
		}
		if i > 0 {
			lost += max(0, h.Start.Sub(heads[i-1].End))
		}
	}
	span := heads[len(heads)-1].End.Sub(heads[0].Start)
	late := pulse.Between(began, time.Now()) // in which the camera sent nothing
	t.Logf("%d fragments, %v of media, %v between them; the machine was late by %v", len(heads), span, lost, late)
	// 0.1 % is usual, and 5 % the aim; a quarter is what waiting two seconds for each call
	// would cost, which is not this machine's clock but ours.
	if lost-late > span/4 {
		t.Errorf("%v of %v are missing: more than a quarter", lost, span)
	}
	stopPull()
	stopHub()
	stopStore()
	families, err := reg.Gather()
	if err != nil || len(families) == 0 {
		t.Errorf("no metrics: %v", err)
	}
}

// background runs a service until the returned function is called, at the latest when
// the test ends.
func background(t *testing.T, name string, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && ctx.Err() == nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	t.Cleanup(stop)
	return stop
}
