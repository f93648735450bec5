package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"penstock/auth"
	"penstock/auth/audit"
	"penstock/fragments"
	"penstock/ingest/demo"
	"penstock/ingest/mqtt"
	"penstock/ingest/rtsp"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/internal/quantity"
	"penstock/records"
	"penstock/storage"
	"penstock/storage/meta"
	"penstock/streams"
	"penstock/streams/datastream"
	"penstock/streams/events"
	"penstock/web"
)

// demoName is the stream of the built-in camera, demoSensor the data stream of the
// built-in sensor.
const (
	demoName   = "demo"
	demoSensor = "demo-sensor"
)

// daemon is the server with all its floors open, not yet running.
type daemon struct {
	c         config
	log       *slog.Logger
	dir       string
	storeName string
	url       string
	rtspAddr  string
	rtspsAddr string // empty: RTSP over TLS is off
	mqttAddrs []string
	local     bool
	started   time.Time

	lock      *os.File
	files     *host.Root // the data directory, and nothing outside
	meta      *meta.DB
	trail     *audit.Log
	auth      *auth.Authority
	store     *fragments.Store
	bucket    storage.Bucket
	records   *records.Store
	data      *datastream.Catalogue
	catalogue *streams.Catalogue
	events    *events.Journal
	hub       *streams.Hub
	registry  *prometheus.Registry
	listener  net.Listener
	rtsp      *rtsp.Server // nil: switched off
	mqtt      *mqtt.Server // nil: switched off
	tls       *certificates
	calls     *calls
	floors    []floor
	ran       bool
}

// openDaemon opens the floors from the lowest up. What it opened is closed by close.
func openDaemon(ctx context.Context, c config, withDemo bool, log *slog.Logger) (d *daemon, err error) {
	dir, err := filepath.Abs(c.Data)
	if err != nil {
		return nil, err
	}
	d = &daemon{c: c, log: log, dir: dir, started: time.Now(), local: c.loopbackOnly(), registry: prometheus.NewRegistry()}
	d.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	opened := d // a failing return sets d to nil
	defer func() {
		if err != nil {
			opened.close()
		}
	}()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, explainDir("make data directory", dir, err)
	}
	if d.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	if d.listener, err = d.listen(); err != nil {
		return nil, err
	}
	if err := d.openStores(ctx); err != nil {
		return nil, err
	}
	if err := d.openDoors(ctx, withDemo); err != nil {
		return nil, err
	}
	return d, nil
}

// listen binds the HTTP port first: a second server is told so before it touches anything.
func (d *daemon) listen() (net.Listener, error) {
	l, err := net.Listen("tcp", d.c.HTTP)
	if err != nil {
		return nil, fault.New(fault.InUse, "listen on", d.c.HTTP, err.Error()).WithHint("choose another address with --http HOST:PORT")
	}
	scheme := "http"
	if d.tls, err = openCertificates(d.c, d.dir, host.System{}); err != nil {
		return l, errors.Join(err, l.Close())
	}
	if d.tls != nil {
		scheme = "https"
	}
	d.url = scheme + "://" + friendly(l.Addr().String())
	if d.c.PublicURL != "" {
		d.url = strings.TrimRight(d.c.PublicURL, "/")
	}
	return l, nil
}

// friendly writes an address the way people type it.
func friendly(addr string) string {
	h, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(h); ip != nil && (ip.IsUnspecified() || ip.IsLoopback()) {
		h = "localhost"
	}
	return net.JoinHostPort(h, port)
}

// openStores opens what is kept: metadata, accounts, recordings, the catalogue.
func (d *daemon) openStores(ctx context.Context) (err error) {
	if d.files, err = host.OpenRoot(d.dir); err != nil {
		return fmt.Errorf("open data directory: %w", err)
	}
	if d.meta, err = openMeta(ctx, d.dir, d.log, d.registry); err != nil {
		return err
	}
	if d.trail, err = audit.Open(ctx, audit.Config{FS: d.files, Dir: filepath.Join(d.dir, "audit", "server"), Logger: d.log.With("component", "audit"), Anchor: audit.InMeta(d.meta, "server")}); err != nil {
		return err
	}
	if d.auth, err = openAuth(ctx, d.c, d.dir, d.meta, d.trail, d.log, d.registry); err != nil {
		return err
	}
	if d.store, err = d.openFragments(ctx); err != nil {
		return err
	}
	if err := d.openDataStreams(ctx); err != nil {
		return err
	}
	if d.catalogue, err = streams.OpenCatalogue(ctx, streams.CatalogueConfig{
		Meta: d.meta, Sealer: d.auth, Region: d.c.Region, Logger: d.log.With("component", "streams"),
		Erase: d.erase,
	}); err != nil {
		return err
	}
	if d.events, err = events.Open(ctx, events.Config{Meta: d.meta, Time: d.store.ExpiryNow, Logger: d.log.With("component", "events"), Registerer: d.registry,
		Horizon: func(ctx context.Context, id string) time.Time { return d.hub.Horizon(ctx, id) },
	}); err != nil {
		return err
	}
	d.hub = streams.NewHub(d.hubConfig())
	return nil
}

// erase deletes what there is of a deleted stream: events first, or what they keep would stay.
func (d *daemon) erase(ctx context.Context, st streams.Stream) error {
	if err := d.events.Erase(ctx, st.ID); err != nil {
		return err
	}
	return d.hub.Erase(ctx, st)
}

func (d *daemon) hubConfig() streams.HubConfig {
	return streams.HubConfig{Store: d.store, Catalogue: d.catalogue, Keeps: d.events.Keeps, Target: time.Duration(d.c.Storage.Fragment),
		Logger: d.log.With("component", "hub"), Registerer: d.registry}
}

// openDoors opens what people and cameras come through.
func (d *daemon) openDoors(ctx context.Context, withDemo bool) error {
	watch, err := d.openPlayback()
	if err != nil {
		return err
	}
	in, err := d.openIngest(ctx, watch)
	if err != nil {
		return err
	}
	aws, err := d.openKinesis(ctx)
	if err != nil {
		return err
	}
	site, err := web.New(web.Config{
		Auth: d.auth, Catalogue: d.catalogue, Hub: d.hub, Events: d.events, Store: d.store, Data: d.data, AWS: aws,
		HLS: watch.hls, Clip: watch.clip, Export: watch.export, Still: watch.still, Live: watch.live, Probe: in.prober, Discover: in.onvif, Talk: in.talk,
		Logger: d.log.With("component", "web"), Gatherer: d.registry, Registerer: d.registry, TLS: d.tls.config(),
		Version: version, Region: d.c.Region, Started: d.started, DataDir: d.dir, StoreName: d.storeName,
		PublicURL: d.url, RTSPAddress: d.rtspAddr, LocalOnly: d.local, Demo: withDemo, Remote: d.c.S3.Endpoint != "",
		Ready: d.ready, Problems: d.problems(), Audit: d.auditReader(),
		MaxConns: d.c.Connections.HTTP, MaxConnsPerAddress: d.c.Connections.HTTPPerAddress,
	})
	if err != nil {
		return err
	}
	doors := floor{{"web", func(ctx context.Context) error { return site.Run(ctx, d.listener) }}, {"pull", in.pull.Run}}
	if in.rtsp != nil {
		doors = append(doors, loop{"rtsp", in.rtsp.Run})
	}
	if err := d.openMQTT(ctx); err != nil {
		return err
	}
	if d.mqtt != nil {
		doors = append(doors, loop{"mqtt", d.mqtt.Run})
	}
	if withDemo {
		if err := d.ensureDemo(ctx); err != nil {
			return err
		}
		cam := &demo.Camera{Hub: d.hub, Logger: d.log.With("component", "demo"), Stream: func() (streams.Stream, error) {
			return d.catalogue.Get(d.c.Account, demoName)
		}}
		doors = append(doors, loop{"demo camera", cam.Run}, loop{"demo sensor", d.runSensor})
	}
	doors = append(doors, loop{"start", giveBackStart(host.System{}, host.ReleaseProgram, d.log)})
	d.floors = []floor{
		{{"fragments", d.store.Run}, {"records", d.records.Run}, {"audit log", d.trail.Run}},
		{{"auth", d.auth.Run}, {"streams", d.catalogue.Run}, {"data streams", d.data.Run}, {"hub", d.hub.Run}, {"events", d.events.Run}},
		{{"hls", watch.hls.Run}},
		doors,
	}
	return nil
}

// runSensor makes the data stream of the built-in sensor, which takes the floors below to
// run, and feeds it.
func (d *daemon) runSensor(ctx context.Context) error {
	_, err := d.data.Create(ctx, datastream.New{Account: d.c.Account, Region: d.c.Region, Name: demoSensor, Shards: 1,
		Tags: map[string]string{web.DemoTag: "true"}})
	if err != nil && !fault.Is(err, fault.InUse) {
		return err
	}
	sensor := &demo.Sensor{Logger: d.log.With("component", "demo"), Stream: func() (*datastream.Stream, error) {
		return d.data.Get(ctx, d.c.Account, d.c.Region, demoSensor)
	}}
	return sensor.Run(ctx)
}

// ensureDemo makes the built-in camera's stream once; deleting it, or the sensor's, in
// the console lasts until the server is next started with --demo.
func (d *daemon) ensureDemo(ctx context.Context) error {
	_, err := d.catalogue.Create(ctx, streams.Stream{Account: d.c.Account, Name: demoName, Retention: streams.RetentionDefault,
		Tags: map[string]string{web.DemoTag: "true"}})
	if fault.Is(err, fault.InUse) {
		return nil
	}
	return err
}

// ready is whether media can be taken and persisted: a full disk still takes it, in
// place of the oldest.
func (d *daemon) ready() error {
	st := d.store.Status()
	switch {
	case !st.FailSince.IsZero():
		return fmt.Errorf("writing fails since %s: %s", st.FailSince.Format(time.RFC3339), st.FailReason)
	case st.Backlog >= st.Budget:
		return errors.New("the stall budget is used up")
	}
	return nil
}

// problems are what an operator should read of the store.
func (d *daemon) problems() []func() string {
	return []func() string{
		func() string {
			if d.rtsp == nil {
				return ""
			}
			return d.rtsp.Notice()
		},
		func() string {
			st := d.store.Status()
			if since := st.FullSince; !since.IsZero() {
				what := "the oldest video is deleted to make room. Add space, or shorten retention."
				if st.FullKept > 0 {
					what = "all video is deleted but what events keep, " + quantity.Bytes(st.FullKept) + ". Add space, or delete some of these events."
				}
				if d.c.S3.Endpoint != "" {
					what = "new video waits in memory until uploads to the S3 store have made room. Add space, or see why the store is slow."
				}
				return "The disk is full since " + since.Format("15:04:05") + ": " + what
			}
			return ""
		},
		func() string {
			if st := d.store.Status(); !st.FailSince.IsZero() {
				return "Writing fails since " + st.FailSince.Format("15:04:05") + ": " + st.FailReason
			}
			return ""
		},
		func() string {
			if st := d.store.Status(); st.Backlog > st.Budget/4 {
				return fmt.Sprintf("The disk is behind: %s of media wait in memory, %s may.", quantity.Bytes(st.Backlog), quantity.Bytes(st.Budget))
			}
			return ""
		},
		func() string {
			if st := d.store.Status(); st.UploadErr != "" {
				if d.c.S3.Endpoint == "" {
					return "Closed chunks cannot be put in their place: " + st.UploadErr + ". They can be played, and are tried again."
				}
				return "The S3 store does not take chunks: " + st.UploadErr + ". " + quantity.Bytes(st.Spool) + " wait on the local disk, of " +
					quantity.Bytes(int64(d.c.Storage.SpoolLimit)) + " that may; beyond that new video is lost."
			}
			return ""
		},
	}
}

// signInLink makes the link that a person opens once.
func (d *daemon) signInLink(ctx context.Context) (string, error) {
	link, err := d.auth.OneTimeLink(ctx, auth.AdminName)
	if err != nil {
		return "", err
	}
	return d.url + "/#link=" + link.Reveal(), nil
}

func (d *daemon) run(ctx context.Context) error {
	d.ran = true
	err := runFloors(ctx, d.floors)
	d.log.Info("stopped", "after", time.Since(d.started).Round(time.Second).String())
	return err
}

// close lets go of what openDaemon took; the loops have ended.
func (d *daemon) close() {
	if d.listener != nil {
		_ = d.listener.Close() // closed already when the web server ran
	}
	if !d.ran && d.rtsp != nil {
		_ = d.rtsp.Close() // the ports of a server that did not come to run
	}
	if !d.ran && d.mqtt != nil {
		_ = d.mqtt.Close()
	}
	for _, c := range []interface{ Close() error }{d.records, d.trail, d.meta, d.files, d.lock} {
		if present(c) {
			if err := c.Close(); err != nil {
				d.log.Error("close", "err", err)
			}
		}
	}
}

func present(c interface{ Close() error }) bool {
	switch v := c.(type) {
	case *records.Store:
		return v != nil
	case *audit.Log:
		return v != nil
	case *meta.DB:
		return v != nil
	case *host.Root:
		return v != nil
	case *os.File:
		return v != nil
	}
	return false
}
