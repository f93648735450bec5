package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"

	"penstock/cmd/penstock/capacity"
	"penstock/internal/fault"
	"penstock/internal/loadgen"
	"penstock/internal/quantity"
)

// watchBench is `penstock bench watch`.
type watchBench struct {
	bench
	viewers int
	over    string
}

func benchWatch(t *terminal) *cobra.Command {
	b := &watchBench{bench: bench{client: &client{t: t}, duration: "10s"}}
	cmd := &cobra.Command{Use: "watch NAME", Short: "Let many viewers watch a live stream, and see how they fare", Args: cobra.ExactArgs(1),
		Long: "Lets viewers come one after the other to a live stream and stay: how soon each has its first picture, how far it is\n" +
			"behind live, by the times that the server tells and this machine's clock, and whether anything stalls. Nothing is\n" +
			"decoded.",
		Example: "  penstock bench watch front-door\n  penstock bench watch demo --viewers 200 --over ws", ValidArgsFunction: b.streamNames(1),
		RunE: func(cmd *cobra.Command, args []string) error { return b.run(cmd.Context(), args[0]) }}
	b.bind(cmd, false)
	b.bindRTSP(cmd)
	cmd.Flags().IntVar(&b.viewers, "viewers", 10, "how many")
	cmd.Flags().StringVar(&b.over, "over", "hls", "hls, ws or rtsp")
	must(cmd.RegisterFlagCompletionFunc("over", cobra.FixedCompletions([]string{"hls", "ws", "rtsp"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (b *watchBench) run(ctx context.Context, name string) error {
	window, err := b.duration.window()
	if err := cmp.Or(err, within("viewers", b.viewers, 1, benchMany)); err != nil {
		return err
	}
	if b.over != "hls" && b.over != "ws" && b.over != "rtsp" {
		return usageError{fmt.Errorf("over %q: not hls, ws or rtsp", b.over)}
	}
	if err := b.settle(); err != nil {
		return err
	}
	tg, done, err := b.target(ctx)
	if err != nil {
		return err
	}
	defer done() // it started nothing
	var d map[string]any
	if err := tg.call(ctx, http.MethodGet, streamPath(name), nil, nil, &d); err != nil {
		return err
	}
	if d["live"] != true {
		return fault.New(fault.Unavailable, "watch", name, "it is not live: "+text(d, "state")).WithHint("penstock stream ls")
	}
	f := &watchFigures{b: b, tg: tg, name: name, window: window}
	v, err := tg.viewer(ctx, b.over, b.rtspAt)
	if err != nil {
		return err
	}
	if err := f.measure(ctx, v); err != nil {
		return err
	}
	if err := tg.t.findings(f.rows(), f.verdict(), f.document()); err != nil {
		return err
	}
	if len(f.broken) > 0 {
		return partly{&fault.Error{Kind: fault.KindOf(f.broken[0]), Err: fmt.Errorf("%d of %d viewers did not last: %w", len(f.broken), b.viewers, f.broken[0]), Hint: "the server's log says why"}}
	}
	return nil
}

// viewer is how to watch.
func (tg *target) viewer(ctx context.Context, over, rtspAt string) (v loadgen.Viewer, err error) {
	v = loadgen.Viewer{HTTP: tg.server, Token: tg.token, Auth: tg.rtspAuth(), Client: tg.http,
		Socket: websocket.Dialer{TLSClientConfig: tg.tlsConfig(), Proxy: http.ProxyFromEnvironment, HandshakeTimeout: connectPatience}}
	if over == "rtsp" {
		v.RTSP, v.Dial, err = tg.rtsp(ctx, rtspAt)
	}
	return v, err
}

// stallAfter is how long nothing may come before that is a stall: pictures come 25 times a
// second, parts of HLS a few times.
const stallAfter = 1500 * time.Millisecond

// seat is what one viewer saw.
type seat struct {
	began, last time.Time
	settled     time.Duration // after so long it has caught up from the key frame that it began with
	first       time.Duration // until the first picture; 0: none came
	bytes       int64
	behind      []time.Duration
	stalls      int
	still       time.Duration // in stalls, all together
	pieces      int
}

// take notes what arrived.
func (s *seat) take(a loadgen.Arrival, now time.Time) {
	s.bytes += int64(a.Bytes)
	if !a.Media {
		return
	}
	if s.first == 0 {
		if !a.Key {
			return
		}
		s.first, s.last = max(1, now.Sub(s.began)), now
	}
	s.pieces++
	s.pause(now)
	if !a.Made.IsZero() && now.Sub(s.began) > s.settled {
		s.behind = append(s.behind, now.Sub(a.Made))
	}
}

// pause counts a stall that ends now.
func (s *seat) pause(now time.Time) {
	if gap := now.Sub(s.last); gap > stallAfter {
		s.stalls++
		s.still += gap
	}
	s.last = now
}

// watchFigures are what was measured.
type watchFigures struct {
	b      *watchBench
	tg     *target
	name   string
	window time.Duration
	seats  []seat
	broken []error
	meter  *meter
	firsts []time.Duration
	behind []time.Duration
	stalls int
	still  time.Duration
	rate   float64 // bytes/s of a viewer
}

// comeWithin is how long the last viewer comes after the first: about a key frame's interval,
// so that they come at any moment of it.
const comeWithin = 2 * time.Second

func (f *watchFigures) measure(ctx context.Context, v loadgen.Viewer) error {
	f.seats = make([]seat, f.b.viewers)
	spread := min(comeWithin, f.window/4)
	play := map[string]func(context.Context, func(loadgen.Arrival) bool) error{
		"hls": func(ctx context.Context, seen func(loadgen.Arrival) bool) error {
			return v.PlayHLS(ctx, streamPath(f.name, "/live.m3u8"), seen)
		},
		"ws": func(ctx context.Context, seen func(loadgen.Arrival) bool) error {
			return v.PlaySocket(ctx, f.name, seen)
		},
		"rtsp": func(ctx context.Context, seen func(loadgen.Arrival) bool) error { return v.PlayRTSP(ctx, f.name, seen) },
	}[f.b.over]
	done := f.tg.t.progress(ctx, fmt.Sprintf("%d viewers", f.b.viewers), f.window)
	f.meter = f.tg.begin(ctx)
	until, stop := context.WithTimeout(ctx, f.window)
	defer stop()
	var all sync.WaitGroup
	errs := make([]error, len(f.seats))
	for i := range f.seats {
		all.Go(func() {
			if !loadgen.Sleep(until, spread*time.Duration(i)/time.Duration(len(f.seats))) {
				return
			}
			s := &f.seats[i]
			s.began, s.settled = time.Now(), spread
			err := play(until, func(a loadgen.Arrival) bool {
				s.take(a, time.Now())
				return until.Err() == nil
			})
			if until.Err() == nil {
				errs[i] = err
			} else if s.first > 0 {
				s.pause(time.Now())
			}
		})
	}
	all.Wait()
	f.meter.end(ctx)
	done()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, err := range errs {
		if err != nil {
			f.broken = append(f.broken, err)
		}
	}
	return f.sum()
}

// sum joins what the viewers saw.
func (f *watchFigures) sum() error {
	for i := range f.seats {
		s := &f.seats[i]
		if s.first > 0 {
			f.firsts = append(f.firsts, s.first)
			f.rate += float64(s.bytes) / max(s.last.Sub(s.began).Seconds(), 1e-3)
		}
		f.behind = append(f.behind, s.behind...)
		f.stalls, f.still = f.stalls+s.stalls, f.still+s.still
	}
	if len(f.firsts) > 0 {
		f.rate /= float64(len(f.firsts))
		return nil
	}
	if len(f.broken) == 0 {
		return fault.New(fault.Unavailable, "watch", f.name, "no viewer had a picture within "+f.window.String()).WithHint("penstock watch " + f.name)
	}
	return f.refused(f.broken[0])
}

// refused words why no viewer saw anything.
func (f *watchFigures) refused(err error) error {
	var http *loadgen.Answered
	var rtsp *loadgen.Refused
	code := 0
	switch {
	case errors.As(err, &http):
		code = http.Code
	case errors.As(err, &rtsp):
		code = rtsp.Code
	}
	kind := map[int]fault.Kind{401: fault.Unauthentic, 403: fault.Denied, 404: fault.NotFound, 429: fault.Throttled, 503: fault.Unavailable}[code]
	return &fault.Error{Kind: kind, Op: "watch", Resource: f.name, Err: err}
}

func (f *watchFigures) rows() [][2]string {
	q := loadgen.Quantile
	rows := [][2]string{
		{"load", fmt.Sprintf("%d viewers of %s over %s, %s", f.b.viewers, cut(f.name, 32), f.b.over, f.window)},
		{"server", f.tg.where()},
		{"first picture", fmt.Sprintf("p50 %s, p95 %s, max %s; %d of %d had one", ms(q(f.firsts, 0.5)), ms(q(f.firsts, 0.95)), ms(q(f.firsts, 1)), len(f.firsts), f.b.viewers)},
		{"behind live", "-"},
		{"stalls", fmt.Sprintf("%d, %s in all", f.stalls, f.still.Round(time.Millisecond))},
		{"of each viewer", quantity.Bytes(int64(f.rate)) + "/s"},
	}
	if len(f.behind) > 0 {
		rows[3][1] = fmt.Sprintf("p50 %s, p95 %s", ms(q(f.behind, 0.5)), ms(q(f.behind, 0.95)))
	}
	return append(rows, f.meter.row())
}

func (f *watchFigures) verdict() capacity.Verdict {
	v := capacity.Judge(f.meter.cpu(), capacity.Share{Bound: capacity.None, Words: "nothing is used up"})
	words := fmt.Sprintf("%d viewers had their first picture within %s", len(f.firsts), ms(loadgen.Quantile(f.firsts, 0.95)))
	if len(f.behind) > 0 {
		words += fmt.Sprintf(" and are %s behind live", ms(loadgen.Quantile(f.behind, 0.5)))
	}
	if f.stalls > 0 {
		words += fmt.Sprintf("; it stood still %d times.", f.stalls)
	} else {
		words += ", without a stall."
	}
	if v.Bound == capacity.None {
		v.Words = words + " There is room for more."
	} else {
		v.Words = words + " What ends first is " + v.Words + "."
	}
	return v
}

func (f *watchFigures) document() map[string]any {
	q := func(w []time.Duration, at float64) float64 { return loadgen.Rounded(loadgen.Quantile(w, at)) }
	pieces := 0
	for i := range f.seats {
		pieces += f.seats[i].pieces
	}
	d := map[string]any{
		"bench": "watch", "server": f.tg.where(), "stream": f.name, "viewers": f.b.viewers, "over": f.b.over, "seconds": loadgen.Rounded(f.meter.measuredFor),
		"saw_a_picture": len(f.firsts), "failed": len(f.broken), "first_picture_ms": map[string]any{"p50": q(f.firsts, 0.5), "p95": q(f.firsts, 0.95), "max": q(f.firsts, 1)},
		"behind_ms": nil, "stalls": f.stalls, "stalled_ms": f.still.Milliseconds(), "viewer_bytes_per_s": loadgen.Rounded(f.rate), "pieces": pieces, "usage": f.meter.document(),
	}
	if len(f.behind) > 0 {
		d["behind_ms"] = map[string]any{"p50": q(f.behind, 0.5), "p95": q(f.behind, 0.95)}
	}
	return d
}
