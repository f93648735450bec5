package main

import (
	"context"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"penstock/auth"
	"penstock/ingest/onvif"
	"penstock/ingest/probe"
	"penstock/ingest/pull"
	"penstock/ingest/rtsp"
	"penstock/ingest/talk"
	"penstock/internal/fault"
	"penstock/playback"
	"penstock/playback/clip"
	"penstock/playback/export"
	"penstock/playback/hls"
	"penstock/playback/live"
	"penstock/playback/still"
	"penstock/streams"
)

// watching is the rooms of playback.
type watching struct {
	hls    *hls.Server
	clip   *clip.Server
	export *export.Server
	still  *still.Server
	live   *live.Server
}

func (d *daemon) openPlayback() (w watching, err error) {
	m := playback.NewMetrics(d.registry)
	log := d.log.With("component", "playback")
	if w.hls, err = hls.New(hls.Config{Hub: d.hub, Fragment: time.Duration(d.c.Storage.Fragment), Logger: log, Metrics: m}); err != nil {
		return w, err
	}
	if w.clip, err = clip.New(clip.Config{Hub: d.hub, Logger: log, Metrics: m}); err != nil {
		return w, err
	}
	if w.export, err = export.New(export.Config{Hub: d.hub, Logger: log, Metrics: m}); err != nil {
		return w, err
	}
	if w.still, err = still.New(still.Config{Hub: d.hub, Logger: log, Metrics: m}); err != nil {
		return w, err
	}
	w.live, err = live.New(live.Config{Hub: d.hub, Logger: log, Metrics: m})
	return w, err
}

// coming is the rooms of ingest.
type coming struct {
	rtsp   *rtsp.Server // nil: switched off
	pull   *pull.Supervisor
	prober *probe.Prober
	onvif  *onvif.Client
	talk   *talk.Intercom
}

func (d *daemon) openIngest(ctx context.Context, w watching) (in coming, err error) {
	if d.calls, err = outgoing(d.c); err != nil {
		return in, err
	}
	dial := d.calls.Dial
	if in.pull, err = pull.New(pull.Config{Catalogue: d.catalogue, Hub: d.hub, Dial: dial, Logger: d.log.With("component", "pull"), Registerer: d.registry}); err != nil {
		return in, err
	}
	in.prober = probe.New(probe.Config{Dial: dial, Picture: w.still.Picture})
	in.onvif = onvif.New(onvif.Config{Dial: dial})
	in.talk = talk.New(talk.Config{Dial: dial, Registerer: d.registry})
	if d.c.RTSP == "off" {
		return in, nil
	}
	conf := rtsp.Config{
		Address: d.c.RTSP, UDPAddress: d.c.udpAddress(), Hub: rtsp.OnHub(d.hub), Authenticator: &rtspAuth{d.auth, d.catalogue, d.c.Account, d.c.Region},
		Logger: d.log.With("component", "rtsp"), Registerer: d.registry,
		Connections: d.c.Connections.RTSP, PerAddress: d.c.Connections.RTSPPerAddress,
	}
	if d.c.rtspsOn() {
		conf.TLSAddress, conf.TLS = d.c.RTSPS, d.tls.rtsps()
	}
	if in.rtsp, err = rtsp.New(conf); err != nil {
		return in, err
	}
	if err := in.rtsp.Open(ctx); err != nil {
		return in, err
	}
	d.rtsp = in.rtsp
	d.rtspAddr = friendly(in.rtsp.Addr().String())
	if secure := in.rtsp.TLSAddr(); secure != nil {
		d.rtspsAddr = friendly(secure.String())
	}
	if notice := in.rtsp.Notice(); notice != "" {
		d.log.Warn(notice, "component", "rtsp")
	}
	return in, nil
}

// rtspAuth asks auth on behalf of the RTSP door.
type rtspAuth struct {
	auth      *auth.Authority
	catalogue *streams.Catalogue
	account   string
	region    string
}

// Authenticate finds out who calls and whether they may push to or play the stream.
func (r *rtspAuth) Authenticate(ctx context.Context, a rtsp.Ask) (rtsp.Grant, error) {
	action := auth.GetMedia
	if a.Action == rtsp.Push {
		action = auth.PutMedia
	}
	p, err := r.identify(ctx, a)
	var grant rtsp.Grant
	if err == nil {
		grant, err = r.admit(ctx, p, action, a)
	}
	switch {
	case err != nil && !a.None():
		r.auth.Note(ctx, p, auth.Deed{Action: action, Object: a.Stream, Remote: a.Remote, Err: err})
	case err == nil && a.Method != string(base.Describe):
		r.watch(ctx, p, action, a, &grant)
	}
	return grant, err
}

// watch notes that media begins to flow, and its end when the grant is given back. The
// question without credentials that begins each RTSP sign-in is no refusal; what
// DESCRIBE shows, and a session that never comes to PLAY or RECORD, is no media.
func (r *rtspAuth) watch(ctx context.Context, p auth.Principal, action auth.Action, a rtsp.Ask, g *rtsp.Grant) {
	deed := auth.Deed{Action: action, Object: g.Stream.ARN(), Remote: a.Remote}
	note := func(detail string) {
		deed.Detail = detail
		r.auth.Note(ctx, p, deed)
	}
	var mu sync.Mutex
	var begun time.Time
	release := g.Release
	g.Begin = func() {
		mu.Lock()
		defer mu.Unlock()
		begun = time.Now()
		note("start")
	}
	g.Release = func() {
		release()
		mu.Lock()
		defer mu.Unlock()
		if !begun.IsZero() {
			note("stop after " + time.Since(begun).Round(time.Second).String())
		}
	}
}

// admit asks whether p may do action to the stream that the path names.
func (r *rtspAuth) admit(ctx context.Context, p auth.Principal, action auth.Action, a rtsp.Ask) (rtsp.Grant, error) {
	about := auth.Context{SourceIP: a.Remote, Secure: a.Secure}
	st, err := r.find(ctx, p, a, about)
	if err != nil {
		return rtsp.Grant{}, err
	}
	if err := r.auth.Authorize(p, action, st.ARN(), about); err != nil {
		if r.auth.Authorize(p, auth.DescribeStream, st.ARN(), about) != nil {
			return rtsp.Grant{}, fault.New(fault.NotFound, "find stream", a.Stream, "no such stream")
		}
		return rtsp.Grant{}, err
	}
	held, release := r.auth.Hold(context.WithoutCancel(ctx), p, action, st.ARN(), about)
	return rtsp.Grant{Principal: p.ARN(), Stream: st, Context: held, Release: release}, nil
}

func (r *rtspAuth) identify(ctx context.Context, a rtsp.Ask) (auth.Principal, error) {
	switch {
	case a.Token != "":
		return r.auth.Media(ctx, a.Token, a.Remote)
	case a.Basic:
		return r.auth.Basic(ctx, a.User, a.Password, a.Remote)
	case a.Digest != "":
		return r.auth.Digest(ctx, a.Method, a.Nonce, a.Digest, a.Remote)
	}
	return auth.Principal{}, fault.New(fault.Unauthentic, "sign in", "", "user and password are needed").
		WithHint("any user name, and a key's token as the password: `penstock key create --role producer`")
}

// find returns the stream; a producer whose key may create it makes it on first push.
func (r *rtspAuth) find(ctx context.Context, p auth.Principal, a rtsp.Ask, about auth.Context) (streams.Stream, error) {
	st, err := r.catalogue.Get(p.Account, a.Stream)
	if err == nil || a.Action != rtsp.Push || !fault.Is(err, fault.NotFound) {
		return st, err
	}
	fresh := streams.Stream{Account: p.Account, Region: r.region, Name: a.Stream, Retention: streams.RetentionDefault}
	if err := r.auth.Authorize(p, auth.CreateStream, fresh.ARN(), about); err != nil {
		return st, fault.New(fault.NotFound, "find stream", a.Stream, "no such stream, and this key may not create it")
	}
	st, err = r.catalogue.Create(ctx, fresh)
	r.auth.Note(ctx, p, auth.Deed{Action: auth.CreateStream, Object: fresh.ARN(), Remote: a.Remote, Detail: "on a first push", Err: err})
	if fault.Is(err, fault.InUse) { // two pushes at once
		return r.catalogue.Get(p.Account, a.Stream)
	}
	return st, err
}
