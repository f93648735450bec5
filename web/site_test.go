package web

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/auth"
	"penstock/fragments"
	"penstock/ingest/onvif"
	"penstock/ingest/probe"
	"penstock/internal/fault"
	"penstock/playback"
	"penstock/playback/clip"
	"penstock/playback/export"
	"penstock/playback/hls"
	"penstock/playback/live"
	"penstock/playback/still"
	"penstock/storage/mem"
	"penstock/streams"
	"penstock/streams/datastream"
	"penstock/streams/datastream/datastreamtest"
	"penstock/streams/events"
)

// site is a server with real floors below it, for tests.
type site struct {
	t      *testing.T
	server *Server
}

func newSite(t *testing.T, change ...func(*auth.Config)) *site {
	t.Helper()
	ctx := t.Context()
	floors := datastreamtest.Open(t, func(c *auth.Config) {
		for _, f := range change {
			f(c)
		}
	}, streams.Schema(), events.Schema())
	db, a, dir := floors.Meta, floors.Auth, floors.Dir
	store, err := fragments.Open(ctx, fragments.Config{Dir: filepath.Join(dir, "open"), Bucket: mem.New(mem.Config{}), Meta: db})
	check(t, err)
	var hub *streams.Hub
	var journal *events.Journal
	catalogue, err := streams.OpenCatalogue(ctx, streams.CatalogueConfig{Meta: db, Sealer: a, Region: auth.DefaultRegion,
		Erase: func(ctx context.Context, st streams.Stream) error {
			return errors.Join(journal.Erase(ctx, st.ID), hub.Erase(ctx, st))
		}})
	check(t, err)
	journal, err = events.Open(ctx, events.Config{Meta: db, Time: store.ExpiryNow,
		Horizon: func(ctx context.Context, id string) time.Time { return hub.Horizon(ctx, id) }})
	check(t, err)
	hub = streams.NewHub(streams.HubConfig{Store: store, Catalogue: catalogue, Keeps: journal.Keeps})
	c := Config{Auth: a, Catalogue: catalogue, Data: floors.Data, Hub: hub, Events: journal, Store: store, DataDir: dir, Region: auth.DefaultRegion, Version: "test",
		Started: time.Now(), Gatherer: prometheus.NewRegistry(), Discover: onvif.New(onvif.Config{}), Probe: probe.New(probe.Config{})}
	m := playback.NewMetrics(nil)
	c.HLS, err = hls.New(hls.Config{Hub: hub, Metrics: m})
	check(t, err)
	c.Clip, err = clip.New(clip.Config{Hub: hub, Metrics: m})
	check(t, err)
	c.Export, err = export.New(export.Config{Hub: hub, Metrics: m})
	check(t, err)
	c.Still, err = still.New(still.Config{Hub: hub, Metrics: m})
	check(t, err)
	c.Live, err = live.New(live.Config{Hub: hub, Metrics: m})
	check(t, err)
	s, err := New(c)
	check(t, err)
	return &site{t, s}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) create(account, name string) streams.Stream {
	s.t.Helper()
	_, err := s.server.c.Data.Create(s.t.Context(), datastream.New{Account: account, Region: auth.DefaultRegion, Name: name, Shards: 2})
	check(s.t, err)
	st, err := s.server.c.Catalogue.Create(s.t.Context(), streams.Stream{Account: account, Name: name, Retention: time.Hour})
	check(s.t, err)
	return st
}

// key returns the bearer token of a new key.
func (s *site) key(k auth.NewKey) string {
	s.t.Helper()
	issued, err := s.server.c.Auth.CreateKey(s.t.Context(), k)
	check(s.t, err)
	return issued.Token.Reveal()
}

func (s *site) expired() string {
	s.t.Helper()
	var token string
	for life := 50 * time.Millisecond; token == ""; life *= 2 { // a machine that is late makes a key too late
		issued, err := s.server.c.Auth.CreateKey(s.t.Context(), auth.NewKey{Role: auth.RoleAdmin, Name: "brief", Expires: time.Now().Add(life)})
		if !fault.Is(err, fault.Invalid) || life > time.Minute {
			check(s.t, err)
			token = issued.Token.Reveal()
		}
	}
	for late := time.Now().Add(5 * time.Minute); time.Now().Before(late); time.Sleep(5 * time.Millisecond) { // the key's own clock is the machine's
		if _, err := s.server.c.Auth.Bearer(s.t.Context(), token, ""); err != nil {
			return token
		}
	}
	s.t.Fatal("the key does not expire")
	return ""
}

func (s *site) revoked() string {
	s.t.Helper()
	issued, err := s.server.c.Auth.CreateKey(s.t.Context(), auth.NewKey{Role: auth.RoleAdmin, Name: "gone"})
	check(s.t, err)
	check(s.t, s.server.c.Auth.RemoveKey(s.t.Context(), issued.ID))
	return issued.Token.Reveal()
}
