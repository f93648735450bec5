package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/cmd/penstock/capacity"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/internal/loadgen"
	"penstock/internal/quantity"
)

// ingestBench is `penstock bench ingest`.
type ingestBench struct {
	bench
	cameras   int
	rate      bitrate
	transport string
}

func benchIngest(t *terminal) *cobra.Command {
	b := &ingestBench{bench: bench{client: &client{t: t}, duration: "15s"}, rate: 3_000_000}
	cmd := &cobra.Command{Use: "ingest", Short: "Push synthetic cameras by RTSP, and see what each costs", Args: cobra.NoArgs,
		Long: "Lets synthetic cameras of 25 pictures a second, a key frame every 2 s and sound push by RTSP into streams of their own,\n" +
			"which go afterwards, and says what each costs the server. The key makes and deletes streams, so it is one of the role\n" +
			"operator or admin. What the server says of itself is of the whole of it, other cameras included.",
		Example: "  penstock bench ingest\n  penstock bench ingest --cameras 100 --bitrate 4Mbit --transport udp\n  penstock bench ingest --own --data /mnt/big -o json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return b.run(cmd.Context()) }}
	b.bind(cmd, true)
	b.bindRTSP(cmd)
	cmd.Flags().IntVar(&b.cameras, "cameras", 10, "how many")
	cmd.Flags().Var(&b.rate, "bitrate", "of the video of each")
	cmd.Flags().StringVar(&b.transport, "transport", "tcp", "tcp or udp")
	must(cmd.RegisterFlagCompletionFunc("transport", cobra.FixedCompletions([]string{"tcp", "udp"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

func (b *ingestBench) run(ctx context.Context) (err error) {
	window, err := b.duration.window()
	if err := cmp.Or(err, within("cameras", b.cameras, 1, benchMany)); err != nil {
		return err
	}
	if b.transport != "tcp" && b.transport != "udp" {
		return usageError{fmt.Errorf("transport %q: not tcp or udp", b.transport)}
	}
	tg, done, err := b.target(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	at, dial, err := tg.rtsp(ctx, b.rtspAt)
	if err != nil {
		return err
	}
	prefix := benchName()
	defer func() { err = errors.Join(err, tg.dropStreams(ctx, prefix)) }()
	if err := tg.makeStreams(ctx, prefix, b.cameras); err != nil {
		return err
	}
	f := &ingestFigures{b: b, tg: tg, window: window}
	if err := f.measure(ctx, at, dial, prefix); err != nil {
		return err
	}
	if err := tg.t.findings(f.rows(), f.verdict(), f.document()); err != nil {
		return err
	}
	if n := b.cameras - f.accepted; n > 0 {
		return partly{&fault.Error{Kind: fault.KindOf(f.first), Err: fmt.Errorf("%d of %d cameras were not let in: %w", n, b.cameras, f.first), Hint: "the server's log says why"}}
	}
	return nil
}

// rtsp is where RTSP is, and how to get there: over TLS where HTTP is, as the key goes there
// too. At is what the user said; "" asks the server.
func (tg *target) rtsp(ctx context.Context, at string) (address string, dial host.Dial, err error) {
	secure := strings.HasPrefix(tg.server, "https:")
	if address = at; address == "" {
		if address, _, err = tg.rtspAddress(ctx); err != nil {
			return "", nil, err
		}
	}
	if address == "" {
		return "", nil, fault.New(fault.Unavailable, "reach RTSP of", tg.server, "it is switched off there").WithHint("start it with --rtsp 127.0.0.1:8554")
	}
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", nil, usageError{fmt.Errorf("--rtsp %q: not HOST:PORT", at)}
	}
	if !secure {
		return address, (&net.Dialer{Timeout: connectPatience}).DialContext, nil
	}
	if at == "" { // the server tells the port of plain RTSP
		if _, port, err = net.SplitHostPort(defaults().RTSPS); err != nil {
			return "", nil, err
		}
	}
	return net.JoinHostPort(name, port), tg.dialTLS, nil
}

// rtspAuth is the header line that proves who the client is.
func (c *client) rtspAuth() string {
	if c.token == "" {
		return ""
	}
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("key:"+c.token)) + "\r\n"
}

func cameraName(prefix string, i int) string { return prefix + "-" + strconv.Itoa(i+1) }

// makeStreams makes the cameras' streams, when the key may delete them again.
func (tg *target) makeStreams(ctx context.Context, prefix string, n int) error {
	var me struct{ Role string }
	if err := tg.call(ctx, http.MethodGet, "/v1/session", nil, nil, &me); err != nil {
		return err
	}
	if me.Role == "producer" || me.Role == "viewer" || me.Role == "worker" {
		return fault.New(fault.Denied, "make streams", "", "a key of the role "+me.Role+" does not make and delete them").
			WithHint("use a key of the role operator or admin")
	}
	for i := range n {
		body := map[string]any{"name": cameraName(prefix, i), "retention": "1h", "tags": map[string]string{"penstock:bench": prefix}}
		if err := tg.call(ctx, http.MethodPost, "/v1/streams", nil, body, nil); err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		// What cannot be deleted is found out with the first, and not with the last.
		if err := tg.call(ctx, http.MethodDelete, streamPath(cameraName(prefix, i)), nil, nil, nil); err != nil {
			return err
		}
		if err := tg.call(ctx, http.MethodPost, "/v1/streams", nil, body, nil); err != nil {
			return err
		}
	}
	return nil
}

// benchStreams are those that were made.
func (tg *target) benchStreams(ctx context.Context, prefix string) ([]map[string]any, error) {
	var list struct{ Streams []map[string]any }
	q := url.Values{"prefix": {prefix + "-"}, "limit": {strconv.Itoa(benchMany)}}
	return list.Streams, tg.call(ctx, http.MethodGet, "/v1/streams", q, nil, &list)
}

// dropStreams deletes what was made, with all that was recorded.
func (tg *target) dropStreams(ctx context.Context, prefix string) error {
	if tg.own != nil {
		return nil // they go with all its data
	}
	ctx, cancel := tidy(ctx)
	defer cancel()
	docs, err := tg.benchStreams(ctx, prefix)
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.Unauthentic) {
		return nil // who may not list has made none
	}
	errs := []error{err}
	for _, d := range docs {
		name := text(d, "name")
		err := tg.call(ctx, http.MethodDelete, streamPath(name), nil, nil, nil)
		if err != nil && !fault.Is(err, fault.NotFound) {
			errs = append(errs, &fault.Error{Kind: fault.KindOf(err), Op: "delete stream", Resource: name, Err: err, Hint: "penstock stream rm " + name})
		}
	}
	return errors.Join(errs...)
}

// ingestFigures are what was measured.
type ingestFigures struct {
	b        *ingestBench
	tg       *target
	window   time.Duration
	accepted int
	first    error // why the first camera was refused, or ended
	ended    int   // cameras that were let in and did not last
	took     time.Duration
	meter    *meter
	bytes    int64 // sent within the window
	units    int64 // samples
	late     int64
	lost     float64 // that the server counted
	kept     float64 // fragments
	keptSize float64
}

// connectPatience bounds how long cameras take to be let in.
const connectPatience = time.Minute

func (f *ingestFigures) measure(ctx context.Context, at string, dial host.Dial, prefix string) error {
	var st loadgen.Sent
	fleet := loadgen.Fleet{Cameras: f.b.cameras, Address: at, Dial: dial, Auth: f.tg.rtspAuth(), Name: func(i int) string { return cameraName(prefix, i) },
		Load: loadgen.Load{Bitrate: int(f.b.rate), FPS: 25, GOP: 50, Audio: true, UDP: f.b.transport == "udp"}}
	cams, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	began := time.Now()
	go func() { ran <- fleet.Run(cams, &st) }()
	for st.Accepted.Load()+st.Errors.Load() < int64(f.b.cameras) && time.Since(began) < connectPatience && loadgen.Sleep(ctx, 5*time.Millisecond) {
	}
	f.took, f.accepted = time.Since(began), int(st.Accepted.Load())
	if f.accepted == 0 {
		stop()
		return f.refused(ctx, at, <-ran)
	}
	done := f.tg.t.progress(ctx, fmt.Sprintf("%d cameras", f.b.cameras), f.window)
	f.meter = f.tg.begin(ctx)
	bytes, units, late := st.Bytes.Load(), st.Units.Load(), st.Late.Load()
	loadgen.Sleep(ctx, f.window)
	f.bytes, f.units, f.late = st.Bytes.Load()-bytes, st.Units.Load()-units, st.Late.Load()-late
	f.meter.end(ctx)
	done()
	f.ended = f.accepted - int(st.Live.Load())
	docs, err := f.tg.benchStreams(ctx, prefix)
	stop()
	f.first = <-ran
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, d := range docs {
		f.lost, f.kept, f.keptSize = f.lost+number(d, "lost"), f.kept+number(d, "fragment_count"), f.keptSize+number(d, "bytes")
	}
	return err
}

// refused words why no camera was let in.
func (f *ingestFigures) refused(ctx context.Context, at string, err error) error {
	var refused *loadgen.Refused
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &refused) && (refused.Code == http.StatusUnauthorized || refused.Code == http.StatusForbidden):
		return fault.New(fault.Denied, "push to", at, refused.Error()).WithHint("use a key of the role operator or admin")
	case errors.As(err, &refused):
		return fault.New(fault.Invalid, "push to", at, refused.Error()).WithHint("the server's log says why")
	case err == nil:
		return fault.New(fault.Unavailable, "push to", at, "no camera was let in within "+connectPatience.String()).WithHint("the server's log says why")
	}
	return unreachable{&fault.Error{Kind: fault.Unavailable, Op: "push to", Resource: at, Err: err, Hint: "does the server's RTSP port answer from here? `penstock doctor` beside it tells"}}
}

// each divides what the server took by its cameras.
func (f *ingestFigures) each(v float64) float64 { return v / float64(max(1, f.accepted)) }

func (f *ingestFigures) rows() [][2]string {
	u := f.meter.server
	rows := [][2]string{
		{"load", fmt.Sprintf("%d cameras of %s/s, RTSP over %s, %s", f.b.cameras, &f.b.rate, f.b.transport, f.window)},
		{"server", f.tg.where()},
		{"cameras", fmt.Sprintf("%d let in within %s, %d ended early", f.accepted, f.took.Round(time.Millisecond), f.ended)},
		{"sent", fmt.Sprintf("%s samples, %s/s; the server lost %s", capacity.Count(float64(f.units)), quantity.Bytes(int64(float64(f.bytes)/f.meter.measuredFor)), capacity.Count(f.lost))},
		{"kept", fmt.Sprintf("%s fragments, %s", capacity.Count(f.kept), quantity.Bytes(int64(f.keptSize)))},
	}
	if u.PersistP95 > 0 {
		rows = append(rows, [2]string{"durable", fmt.Sprintf("p50 %s, p95 %s after a fragment's end; sync p99 %s", ms(u.PersistP50), ms(u.PersistP95), ms(u.SyncP99))})
	}
	rows = append(rows, f.meter.row())
	if f.meter.known {
		rows = append(rows, [2]string{"of each camera", fmt.Sprintf("%.3f s of CPU a minute, %s of memory (%s in all)", f.each(u.Cores)*60, quantity.Bytes(int64(f.each(u.RSS))), quantity.Bytes(int64(u.RSS)))})
	}
	return rows
}

// shares are what the server and this machine used.
func (f *ingestFigures) shares() []capacity.Share {
	shares := f.meter.cpu()
	if f.meter.known {
		shares = append(shares, capacity.Share{Bound: capacity.Sync, Used: f.meter.server.Sync,
			Words: fmt.Sprintf("the disk's syncs: they take %.0f %% of the time", 100*min(1, f.meter.server.Sync))})
	}
	return shares
}

func (f *ingestFigures) verdict() capacity.Verdict {
	v := capacity.Judge(f.shares(), capacity.Share{Bound: capacity.None, Words: "nothing is used up"})
	words := fmt.Sprintf("%d cameras of %s/s", f.accepted, &f.b.rate)
	switch {
	case f.late > 0 && f.late*100 > f.units:
		v.Bound = capacity.Generator
		words += fmt.Sprintf(" were sent late (%s samples): this machine is too busy to make the load, so run it from another one.", capacity.Count(float64(f.late)))
	case f.lost > 0 || f.ended > 0:
		words += " are too many here, or the network loses packets."
	default:
		words += " are recorded, and nothing is lost."
	}
	if v.Bound == capacity.None {
		words += " There is room for more."
	} else {
		words += " What ends first is " + v.Words + "."
	}
	if most := f.most(); most > f.accepted && f.lost == 0 && f.ended == 0 {
		words += fmt.Sprintf(" By the server's CPU alone about %s such cameras fit on %.0f cores.", capacity.Count(float64(most)), f.cores())
	}
	v.Words = words
	return v
}

// cores are those of the server.
func (f *ingestFigures) cores() float64 {
	if f.tg.local {
		return f.meter.cores
	}
	return f.meter.server.Of
}

// most is how many such cameras the server's processors are enough for.
func (f *ingestFigures) most() int {
	if !f.meter.known || f.cores() == 0 {
		return 0
	}
	return capacity.Most(f.accepted, f.meter.server.Cores/f.cores())
}

func (f *ingestFigures) document() map[string]any {
	d := map[string]any{
		"bench": "ingest", "server": f.tg.where(), "own": f.tg.own != nil, "cameras": f.b.cameras, "camera_bits_per_s": int(f.b.rate), "transport": f.b.transport,
		"seconds": loadgen.Rounded(f.meter.measuredFor), "accepted": f.accepted, "ended": f.ended, "connect_ms": f.took.Milliseconds(),
		"samples_sent": f.units, "bytes_sent": f.bytes, "sent_late": f.late, "lost": f.lost, "fragments": f.kept, "stored_bytes": f.keptSize, "usage": f.meter.document(),
	}
	if f.meter.known {
		u := f.meter.server
		d["durable_ms"] = map[string]any{"p50": loadgen.Rounded(u.PersistP50), "p95": loadgen.Rounded(u.PersistP95)}
		d["sync_ms"] = map[string]any{"p50": loadgen.Rounded(u.SyncP50), "p99": loadgen.Rounded(u.SyncP99)}
		d["disk_busy"] = loadgen.Rounded(u.Sync)
		d["camera"] = map[string]any{"cores": loadgen.Rounded(f.each(u.Cores)), "bytes": loadgen.Rounded(f.each(u.RSS)), "most_by_cpu": f.most()}
	}
	return d
}
