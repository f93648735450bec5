package hls

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock/internal/fault"
	"penstock/playback"
	"penstock/streams"
)

const (
	// firstWait is how long a first request waits for the first pictures of a producer
	// that is there.
	firstWait = 8 * time.Second
	// callWait is how long it waits while the camera is being called.
	callWait = 3 * time.Second
	// awayWait is how long a blocking reload waits at most while there is no producer,
	// before it answers with the list as it is: players give up on lists that they wait
	// 10 s for, or that answer with an error several times, and would not see the return.
	awayWait = 6 * time.Second
	// askAgain and askLater are Retry-After while a producer may come soon, and else.
	askAgain, askLater = 2 * time.Second, 5 * time.Second
	// blockTargets is how long a blocking request waits, in target durations
	// (RFC 8216bis §6.2.5.2: after three, answer 503).
	blockTargets = 3
	// sendTimeout is what a client has to take one playlist, part or segment.
	sendTimeout = 30 * time.Second

	typePlaylist = "application/vnd.apple.mpegurl"
	typeMedia    = "video/mp4"
	cacheMedia   = "private, max-age=3600, immutable"
)

// directives are the delivery directives of a playlist request (RFC 8216bis §6.2.5).
type directives struct {
	block bool
	msn   uint64
	part  int // -1: none
	skip  bool
}

func parseDirectives(r *http.Request) (d directives, err error) {
	q := r.URL.Query()
	d.part = -1
	bad := func(name, why string) (directives, error) {
		return d, fault.New(fault.Invalid, "read", name, why)
	}
	if v := q.Get("_HLS_msn"); v != "" {
		if d.msn, err = strconv.ParseUint(v, 10, 63); err != nil {
			return bad("_HLS_msn", "not a media sequence number")
		}
		d.block = true
	}
	if v := q.Get("_HLS_part"); v != "" {
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil {
			return bad("_HLS_part", "not a part index")
		}
		if !d.block {
			return bad("_HLS_part", "_HLS_msn is missing")
		}
		d.part = int(n)
	}
	switch q.Get("_HLS_skip") {
	case "YES", "v2":
		d.skip = true
	}
	return d, nil
}

// opened is the packager of st, with the past that the request asks for.
func (s *Server) opened(r *http.Request, st streams.Stream) (*packager, time.Duration, error) {
	back, err := parsePast(r)
	if err != nil {
		return nil, 0, err
	}
	p, err := s.packager(st)
	if err != nil {
		return nil, 0, err
	}
	return p, back, p.open(r.Context(), back)
}

// ServeLivePlaylist answers GET live.m3u8, with the delivery directives _HLS_msn,
// _HLS_part and _HLS_skip (RFC 8216bis §6.2.5). dvr=6h lists the recording so far back
// before the live segments, at most a day, so that a player can seek; where there is no
// producer, it lists that alone. A request too far in the future is fault.Invalid, one that
// waited three target durations fault.Unavailable. So is one where nothing can be listed and
// no media is on its way: at once, with the reason and when to ask again.
func (s *Server) ServeLivePlaylist(w http.ResponseWriter, r *http.Request, st streams.Stream) error {
	d, err := parseDirectives(r)
	if err != nil {
		return err
	}
	p, back, err := s.opened(r, st)
	if err != nil {
		return err
	}
	if d.block {
		if err := p.reload(r.Context(), d); err != nil {
			return err
		}
	}
	s.c.Metrics.Requests.WithLabelValues("playlist").Inc()
	text := bytes.ReplaceAll(p.playlist(d.skip, back), []byte(tokenMark), []byte(playback.Token(r)))
	return send(w, r, typePlaylist, "no-store", text)
}

// playlist renders the window once for all who ask before it changes, and for each who
// asks for more than the window.
func (p *packager) playlist(skip bool, back time.Duration) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if back > 0 {
		return p.win.renderPast(nil, skip, back)
	}
	i := 0
	if skip {
		i = 1
	}
	if p.rendered[i] == nil {
		p.rendered[i] = p.win.render(nil, skip)
	}
	return p.rendered[i]
}

// open waits until there is something to list: the past, where back asks for it, or a
// first segment.
func (p *packager) open(ctx context.Context, back time.Duration) error {
	if back > 0 {
		if err := p.joined(ctx); err != nil {
			return err
		}
		if err := p.reach(ctx, back); err != nil {
			return err
		}
		p.mu.Lock()
		listed := len(p.win.past.segments) > 0
		p.mu.Unlock()
		if listed {
			return nil
		}
	}
	return p.ready(ctx)
}

// joined waits until the packager knows the stream.
func (p *packager) joined(ctx context.Context) error {
	err := p.wait(ctx, firstWait, func(*window) verdict { return answer })
	if fault.Is(err, fault.Expired) {
		return p.absent()
	}
	return err
}

// ready waits for a first segment, as long as there is hope of one.
func (p *packager) ready(ctx context.Context) error {
	if err := p.joined(ctx); err != nil {
		return err
	}
	err := p.wait(ctx, p.hope(), func(w *window) verdict {
		if len(w.segments) > 0 {
			return answer
		}
		return wait
	})
	if fault.Is(err, fault.Expired) {
		return p.absent()
	}
	return err
}

// hope is how long first pictures are worth waiting for.
func (p *packager) hope() time.Duration {
	state := p.s.c.Hub.State(p.st.ID)
	heard := state.LastSample
	if heard.IsZero() {
		heard = state.ProducerSince
	}
	switch {
	case !heard.IsZero() && p.s.c.Clock.Now().Sub(heard) < streams.Silence:
		return firstWait
	case heard.IsZero() && state.Status == streams.Connecting:
		return callWait
	}
	return 0
}

// absent says why there is nothing to watch.
func (p *packager) absent() error {
	why, after := "nothing comes from its producer", askLater
	state := p.s.c.Hub.State(p.st.ID)
	if state.Reason != "" {
		why += ": " + state.Reason
	}
	if state.Status == streams.Connecting || state.Status == streams.Live {
		after = askAgain
	}
	return fault.New(fault.Unavailable, "watch", p.st.Name, why).WithAfter(after).
		WithHint("check the camera, or watch the recording: live.m3u8?dvr=6h, or vod.m3u8")
}

// await waits for a verdict of the window as long as RFC 8216bis says.
func (p *packager) await(ctx context.Context, f func(*window) verdict) error {
	p.mu.Lock()
	limit := blockTargets * p.win.target
	p.mu.Unlock()
	err := p.wait(ctx, limit, f)
	if fault.Is(err, fault.Expired) {
		return fault.New(fault.Unavailable, "watch", p.st.Name, "no new media came in time").WithAfter(askAgain).
			WithHint("check the camera")
	}
	return err
}

// reload waits for what a blocking reload asks for. Without a producer it does not insist.
func (p *packager) reload(ctx context.Context, d directives) error {
	f := func(w *window) verdict { return w.reload(d.msn, d.part) }
	if p.s.c.Hub.State(p.st.ID).Status == streams.Live {
		return p.await(ctx, f)
	}
	p.mu.Lock()
	limit := min(awayWait, blockTargets*p.win.target)
	p.mu.Unlock()
	err := p.wait(ctx, limit, f)
	if fault.Is(err, fault.Expired) {
		return nil
	}
	return err
}

// wait asks f whenever the window changes, until it does not say wait. After limit it
// returns fault.Expired.
func (p *packager) wait(ctx context.Context, limit time.Duration, f func(*window) verdict) error {
	var expired <-chan time.Time
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	defer func() { p.waiting--; p.used = p.s.c.Clock.Now() }()
	for {
		if p.win != nil {
			switch f(p.win) {
			case answer:
				return nil
			case refuse:
				return fault.New(fault.Invalid, "watch", p.st.Name, "the media asked for is too far in the future")
			case missing:
				return errNoPart
			}
		}
		if p.err != nil {
			return p.err
		}
		if expired == nil {
			timer := p.s.c.Clock.NewTimer(limit)
			defer timer.Stop()
			expired = timer.C
		}
		changed := p.changed
		p.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-expired:
			err = fault.New(fault.Expired, "watch", p.st.Name, "waited too long")
		case <-ctx.Done():
			err = ctx.Err()
		}
		p.mu.Lock()
		if err != nil {
			return err
		}
	}
}

var errNoPart = fault.New(fault.NotFound, "find part", "", "the playlist does not name it, or no longer")

// ServeLiveFile answers GET live/{file}: an initialization section (init-{id}.mp4), a
// part ({msn}.{index}.m4s) or a segment ({msn}.m4s) that the live playlist named. The
// part that comes next is waited for.
func (s *Server) ServeLiveFile(w http.ResponseWriter, r *http.Request, st streams.Stream, file string) error {
	id, isInit := strings.CutPrefix(file, "init-")
	stem, isMedia := strings.CutSuffix(file, ".m4s")
	first, second, isPart := strings.Cut(stem, ".")
	msn, err1 := strconv.ParseUint(first, 10, 63)
	index, err2 := strconv.ParseUint(second, 10, 31)
	if !isInit && (!isMedia || err1 != nil || isPart && err2 != nil) {
		return errNoPart
	}
	p, err := s.packager(st)
	if err != nil {
		return err
	}
	if err := p.ready(r.Context()); err != nil {
		return err
	}
	switch {
	case isInit:
		return p.serveInit(w, r, strings.TrimSuffix(id, ".mp4"))
	case isPart:
		return p.servePart(w, r, msn, int(index))
	}
	return p.serveSegment(w, r, msn)
}

func (p *packager) serveInit(w http.ResponseWriter, r *http.Request, id string) error {
	p.mu.Lock()
	data := p.inits[id]
	p.mu.Unlock()
	if data == nil {
		return errNoPart
	}
	p.s.c.Metrics.Requests.WithLabelValues("init").Inc()
	return send(w, r, typeMedia, cacheMedia, data)
}

func (p *packager) servePart(w http.ResponseWriter, r *http.Request, msn uint64, index int) error {
	var found *part
	err := p.await(r.Context(), func(w *window) (v verdict) {
		found, v = w.lookup(msn, index)
		return v
	})
	if err != nil {
		return err
	}
	p.s.c.Metrics.Requests.WithLabelValues("part").Inc()
	return send(w, r, typeMedia, cacheMedia, found.data)
}

func (p *packager) serveSegment(w http.ResponseWriter, r *http.Request, msn uint64) error {
	p.mu.Lock()
	s := p.win.find(msn)
	if s == nil || s == p.win.open || s.dropped && s.number == 0 {
		p.mu.Unlock()
		return errNoPart
	}
	data, number := make([][]byte, len(s.parts)), s.number
	for i, x := range s.parts {
		data[i] = x.data
	}
	p.mu.Unlock()
	if len(data) == 0 {
		stored, err := p.stored(r.Context(), uint64(number))
		if err != nil {
			p.lost(s, err)
			return err
		}
		data = append(data, stored)
	}
	p.s.c.Metrics.Requests.WithLabelValues("segment").Inc()
	return send(w, r, typeMedia, cacheMedia, data...)
}

// send writes one answer whole, in the time that a live viewer has.
func send(w http.ResponseWriter, r *http.Request, kind, cache string, data ...[]byte) error {
	n := 0
	for _, d := range data {
		n += len(d)
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", cache)
	h.Set("Content-Length", strconv.Itoa(n))
	// A server without deadlines (a test's recorder) sends without one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTimeout))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	for _, d := range data {
		if _, err := w.Write(d); err != nil {
			return nil // the viewer left; the status is sent
		}
	}
	return nil
}
