package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"penstock/cmd/penstock/capacity"
	"penstock/internal/fault"
	"penstock/internal/loadgen"
)

// Limits of what can be asked for.
const (
	benchLongest  = time.Hour
	benchShortest = 100 * time.Millisecond
	benchMany     = 1000 // cameras, viewers or connections
)

// tidyPatience is how long a benchmark takes at most to remove what it made.
const tidyPatience = 2 * time.Minute

func benchCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure what this machine, its disk or a server carries, and what ends first",
		Long: "Measures what this machine, its disk or a server carries, and says what ends first.\n\n" +
			"`put` and `ingest` load the server that --server or the context names; where none is named and none answers here,\n" +
			"one of their own, with its data in a folder that goes when they end. What they make in a server is called\n" +
			"bench-... and removed. A server that is not on this machine is only loaded with --yes: others use it."}
	cmd.AddCommand(benchPut(t), benchIngest(t), benchRecord(t), benchWatch(t))
	return cmd
}

// bench is what all benchmarks of a server share.
type bench struct {
	*client
	data     string // where a server of its own writes
	own, yes bool
	duration duration
	rtspAt   string // host and port of RTSP; "": as the server says
}

// bind adds the flags.
func (b *bench) bind(cmd *cobra.Command, own bool) {
	b.client.bind(cmd)
	cmd.Flags().Var(&b.duration, "duration", "how long is measured")
	cmd.Flags().BoolVar(&b.yes, "yes", false, "load a server that is not on this machine, too")
	if own {
		cmd.Flags().BoolVar(&b.own, "own", false, "start a server for it, though another one runs here")
		cmd.Flags().StringVar(&b.data, "data", "", "`DIR` in which a server of its own has its data for as long as it runs (PENSTOCK_DATA; penstock-data)")
	}
}

// bindRTSP adds the flag of who speaks RTSP.
func (b *bench) bindRTSP(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.rtspAt, "rtsp", "", "`HOST:PORT` of RTSP, over TLS with an https server (the server's own, or its default port)")
}

// window is how long is measured.
func (d duration) window() (time.Duration, error) {
	v := d.length()
	if v < benchShortest || v > benchLongest {
		return 0, usageError{fmt.Errorf("duration %s: not from %s to %s", d, benchShortest, benchLongest)}
	}
	return v, nil
}

// within refuses a number that is too small or too large.
func within(flag string, n, least, most int) error {
	if n < least || n > most {
		return usageError{fmt.Errorf("--%s %d: not from %d to %d", flag, n, least, most)}
	}
	return nil
}

// diskFolder is where something is written that says how the data directory's disk is: in it,
// or in the nearest folder above that is there.
func (t *terminal) diskFolder(data string) (string, error) {
	l := &local{t: t, data: data}
	c, err := l.settle()
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(c.Data)
	if err != nil {
		return "", err
	}
	for {
		st, err := os.Stat(dir)
		switch {
		case err == nil && !st.IsDir():
			return "", fault.New(fault.Invalid, "use data directory", dir, "it is no directory").WithHint("name another with --data DIR")
		case err == nil:
			return dir, nil
		case !errors.Is(err, os.ErrNotExist) || data != "" || dir == filepath.Dir(dir):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}

// target is the server that is measured.
type target struct {
	*client
	local bool // on this machine, as far as its address tells
	own   *ownServer
}

// target finds the server, or starts one. Done ends what it started.
func (b *bench) target(ctx context.Context) (tg *target, done func() error, err error) {
	named := b.server != "" || b.context != ""
	if v, _ := b.t.env("PENSTOCK_SERVER"); v != "" {
		named = true
	}
	if b.own && named && (b.server != "" || b.context != "") {
		return nil, nil, usageError{errors.New("--own and a server that is named exclude each other")}
	}
	if err := b.settle(); err != nil {
		return nil, nil, err
	}
	named = named || b.context != "" // the one in use
	if b.own || !named && !b.answers(ctx) {
		if b.data, err = b.t.diskFolder(b.data); err != nil {
			return nil, nil, err
		}
		if !b.own {
			b.t.say("no server answers at %s: this starts one of its own, with its data in %s", b.server, b.data)
		}
		s, err := startOwn(ctx, b.t, b.data)
		if err != nil {
			return nil, nil, err
		}
		return &target{client: s.client(b.t), local: true, own: s}, s.end, nil
	}
	u, err := url.Parse(b.server)
	if err != nil {
		return nil, nil, usageError{err}
	}
	tg = &target{client: b.client, local: isLoopback(net.JoinHostPort(u.Hostname(), "0"))}
	if !tg.local && !b.yes {
		return nil, nil, usageError{fault.New(fault.Invalid, "load", b.server, "it is not on this machine, and others may use it").
			WithHint("add --yes, if they will not mind")}
	}
	return tg, func() error { return nil }, nil
}

// answerPatience is how long a server on this machine may take to say that it is there.
const answerPatience = 2 * time.Second

// answers reports whether a server is there.
func (c *client) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	res, err := c.open(ctx, "GET", "/livez", nil, nil, nil)
	if err != nil {
		var gone unreachable
		return !errors.As(err, &gone) // it answers something
	}
	return res.Body.Close() == nil
}

// tidy is a context to remove things in, though ctx may have ended.
func tidy(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), tidyPatience)
}

// benchName is what a thing is called that is made for a benchmark.
func benchName() string {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789"
	raw := make([]byte, 8)
	_, _ = rand.Read(raw)
	for i, b := range raw {
		raw[i] = letters[int(b)%len(letters)]
	}
	return "bench-" + string(raw)
}

// progress draws a bar that takes so long, on a terminal; stop takes it away.
func (t *terminal) progress(ctx context.Context, what string, d time.Duration) (stop func()) {
	e, ok := t.err.(*os.File)
	if !ok || t.quiet || !t.lively(e) {
		return func() {}
	}
	const step = 100 * time.Millisecond
	bar := progressbar.NewOptions64(int64(d/step), progressbar.OptionSetWriter(e), progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false))
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for loadgen.Sleep(ctx, step) {
			_ = bar.Add(1)
		}
	}()
	return func() {
		cancel()
		<-ended
		_ = bar.Clear()
	}
}

// findings prints what a benchmark found: a small table and the verdict for people, else the
// document.
func (t *terminal) findings(rows [][2]string, v capacity.Verdict, d map[string]any) error {
	d["verdict"] = map[string]any{"bound": v.Bound, "used": loadgen.Rounded(v.Used), "words": v.Words}
	if t.format != "table" {
		return t.printOne(d, func(map[string]any) []string { return []string{v.Bound} })
	}
	w := tabwriter.NewWriter(t.out, 0, 4, 3, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, r[0]+"\t"+r[1])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return t.conclude(v)
}

// pageWidth is that of a terminal that nobody made wider.
const pageWidth = 80

// conclude prints the verdict, broken into lines.
func (t *terminal) conclude(v capacity.Verdict) error {
	_, err := fmt.Fprintln(t.out, "\n"+strings.Join(folded("verdict: "+v.Words, pageWidth), "\n"))
	return err
}

// folded breaks words into lines of at most width.
func folded(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), "  "
		} else if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// ms writes milliseconds.
func ms(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v < 10:
		return fmt.Sprintf("%.2g ms", v)
	case v < 10_000:
		return fmt.Sprintf("%.0f ms", v)
	}
	return fmt.Sprintf("%.1f s", v/1000)
}
