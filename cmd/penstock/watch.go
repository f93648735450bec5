package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"penstock/internal/fault"
)

// watchEvery is how often a stream is looked at.
const watchEvery = time.Second

// stalledAfter is how long a live stream may keep no fragment before that is told: the
// longest fragment there can be.
const stalledAfter = 12 * time.Second

func watchCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	var address, open bool
	ttl := duration("12h")
	cmd := &cobra.Command{Use: "watch NAME", Short: "Follow how a stream does, or hand its picture to a player", Args: cobra.ExactArgs(1),
		Long: "Shows state, picture, bitrate, key frames and viewers, drawn anew each second on a terminal; elsewhere a line for each\n" +
			"change. With --url it prints addresses that a player opens without a password until --ttl is over; with --open it\n" +
			"starts ffplay, mpv or vlc on one, and takes it back when the player ends.",
		Example:           "  penstock watch front-door\n  penstock watch front-door --open\n  vlc \"$(penstock watch front-door --url -o name)\"",
		ValidArgsFunction: c.streamNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case address && open:
				return usageError{errors.New("--url and --open exclude each other")}
			case address:
				return c.showAddresses(cmd.Context(), args[0], string(ttl))
			case open:
				return c.play(cmd.Context(), args[0], string(ttl))
			}
			w := &watcher{c: c, name: args[0], every: watchEvery, now: time.Now}
			return w.run(cmd.Context())
		}}
	c.bind(cmd)
	cmd.Flags().BoolVar(&address, "url", false, "print addresses for VLC, mpv or ffplay")
	cmd.Flags().BoolVar(&open, "open", false, "start ffplay, mpv or vlc")
	cmd.Flags().Var(&ttl, "ttl", "how long the addresses of --url and --open work, at most 12h")
	return cmd
}

// watcher follows one stream.
type watcher struct {
	c     *client
	name  string
	every time.Duration
	now   func() time.Time

	last  string    // the newest fragment
	since time.Time // when it was seen first
	told  string    // what was printed last
	drawn int       // lines on the terminal to draw over
}

// run looks until ctx ends. A server that is gone for a while is waited for, once it
// has answered.
func (w *watcher) run(ctx context.Context) error {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for answered := false; ; {
		var d map[string]any
		err := w.c.call(ctx, http.MethodGet, streamPath(w.name), nil, nil, &d)
		var gone unreachable
		switch {
		case ctx.Err() != nil:
			return nil // whoever watched had enough
		case err == nil:
			answered = true
		case answered && errors.As(err, &gone):
			d = map[string]any{"name": w.name, "state": "unreachable", "reason": oneLine(err.Error())}
		default:
			return err
		}
		if err := w.show(d); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// show prints what is new.
func (w *watcher) show(d map[string]any) error {
	now := w.now()
	if last := text(d, "last"); last != w.last || w.since.IsZero() {
		w.last, w.since = last, now
	}
	stalled := text(d, "state") == "live" && now.Sub(w.since) > stalledAfter
	if w.c.t.format == "table" && w.c.t.lively(w.c.t.out) {
		return w.draw(d, stalled)
	}
	// What moves all the time is no change.
	mark := fmt.Sprint(d["state"], d["reason"], d["viewers"], picture(d), d["retention"], stalled)
	if mark == w.told {
		return nil
	}
	w.told = mark
	switch w.c.t.format {
	case "table":
		_, err := fmt.Fprintln(w.c.t.out, now.UTC().Format(time.RFC3339)+"  "+strings.Join(w.words(d, stalled), ", "))
		return err
	case "json": // one after another, as they come
		return w.c.t.line(d)
	case "name":
		_, err := fmt.Fprintln(w.c.t.out, text(d, "state"))
		return err
	case "yaml":
		if _, err := fmt.Fprintln(w.c.t.out, "---"); err != nil {
			return err
		}
	}
	return w.c.t.printOne(d, nil)
}

// words are a line on a stream.
func (w *watcher) words(d map[string]any, stalled bool) []string {
	words := []string{text(d, "state")}
	if reason := text(d, "reason"); reason != "-" {
		words[0] += " (" + reason + ")"
	}
	if stalled {
		words = append(words, "no new fragment for "+stalledAfter.String())
	}
	if len(members(d, "tracks")) > 0 {
		words = append(words, picture(d), rates(d), fmt.Sprintf("viewers %.0f", number(d, "viewers")))
	}
	if last := text(d, "last"); last != "-" {
		words = append(words, "last fragment "+last)
	}
	return words
}

// picture is what the tracks of a stream are.
func picture(d map[string]any) string {
	var list []string
	for _, tr := range members(d, "tracks") {
		words := text(tr, "codec")
		if number(tr, "width") > 0 {
			words += fmt.Sprintf(" %.0fx%.0f", number(tr, "width"), number(tr, "height"))
		} else if number(tr, "sample_rate") > 0 {
			words += fmt.Sprintf(" %g kHz", number(tr, "sample_rate")/1000)
		}
		list = append(list, words)
	}
	return strings.Join(list, " and ")
}

func rates(d map[string]any) string {
	words := fmt.Sprintf("%.1f frames/s, %.2f Mb/s", number(d, "fps"), number(d, "bitrate")/1e6)
	if every := number(d, "key_interval"); every > 0 {
		words += fmt.Sprintf(", a key frame every %.1f s", every)
	}
	return words
}

// draw writes the stream over what was drawn before.
func (w *watcher) draw(d map[string]any, stalled bool) error {
	t := w.c.t
	state := text(d, "state")
	colour := yellow
	switch {
	case state == "live" && !stalled:
		colour = green
	case state == "unreachable" || stalled:
		colour = red
	}
	// Padding counts what colours do not show.
	rows := [][2]string{{"state", t.paint(state, colour)}}
	if reason := text(d, "reason"); reason != "-" {
		rows = append(rows, [2]string{"because", reason})
	}
	if stalled {
		rows = append(rows, [2]string{"stalled", "no new fragment for " + w.now().Sub(w.since).Round(time.Second).String()})
	}
	if len(members(d, "tracks")) > 0 {
		rows = append(rows, [2]string{"picture", picture(d)}, [2]string{"rates", rates(d)}, [2]string{"viewers", text(d, "viewers")})
	}
	if last := text(d, "last"); last != "-" {
		rows = append(rows, [2]string{"last", last}, [2]string{"kept", text(d, "retention")})
	}
	width := 80
	if f, ok := t.out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			width = columns
		}
	}
	var b strings.Builder
	if w.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dF\x1b[J", w.drawn)
	}
	fmt.Fprintln(&b, cut(text(d, "name"), width))
	for i, r := range rows {
		if i > 0 {
			r[1] = cut(r[1], width-12)
		}
		fmt.Fprintf(&b, "  %-9s %s\n", r[0], r[1])
	}
	w.drawn = 1 + len(rows)
	_, err := fmt.Fprint(t.out, b.String())
	return err
}

// cut shortens a line to what fits: one that wraps cannot be drawn over.
func cut(s string, width int) string {
	runes := []rune(oneLine(s))
	if len(runes) <= max(width, 8) {
		return string(runes)
	}
	return string(runes[:max(width, 8)-3]) + "..."
}

// addresses are where players find a stream without a password, for a while.
type addresses struct {
	HLS, RTSP      string // RTSP may be empty
	token, expires string
	guessed        bool // the port of RTSP: this key may not ask for it
}

// admit mints a token for players.
func (c *client) admit(ctx context.Context, name, ttl string) (a addresses, err error) {
	var got struct{ Token, Expires string }
	if err := c.call(ctx, http.MethodPost, streamPath(name, "/token"), nil, map[string]any{"ttl": ttl}, &got); err != nil {
		return a, err
	}
	query := "?token=" + url.QueryEscape(got.Token)
	a = addresses{HLS: c.server + streamPath(name, "/live.m3u8") + query, token: got.Token, expires: got.Expires}
	at, guessed, err := c.rtspAddress(ctx)
	if err != nil || at == "" {
		return a, err
	}
	a.RTSP, a.guessed = "rtsp://"+at+"/"+url.PathEscape(name)+query, guessed
	return a, nil
}

// rtspAddress is the server's host and port of RTSP; "": it is switched off there. The port
// is guessed when the key may not ask for it.
func (c *client) rtspAddress(ctx context.Context) (address string, guessed bool, err error) {
	var system struct{ RTSP string }
	err = c.call(ctx, http.MethodGet, "/v1/system", nil, nil, &system)
	if fault.Is(err, fault.Denied) || fault.Is(err, fault.NotFound) {
		_, port, err := net.SplitHostPort(defaults().RTSP)
		if err != nil {
			return "", false, err
		}
		system.RTSP, guessed = net.JoinHostPort("", port), true
	} else if err != nil {
		return "", false, err
	}
	if system.RTSP == "" {
		return "", false, nil
	}
	at, err := url.Parse(c.server)
	if err != nil {
		return "", false, err
	}
	_, port, err := net.SplitHostPort(system.RTSP)
	if err != nil {
		return "", false, err
	}
	return net.JoinHostPort(at.Hostname(), port), guessed, nil
}

// withdraw takes the token back.
func (c *client) withdraw(ctx context.Context, name, token string) error {
	return c.call(context.WithoutCancel(ctx), http.MethodDelete, streamPath(name, "/token"), nil, map[string]any{"token": token}, nil)
}

func (c *client) showAddresses(ctx context.Context, name, ttl string) error {
	a, err := c.admit(ctx, name, ttl)
	if err != nil {
		return err
	}
	if c.t.format != "table" {
		d := map[string]any{"hls": a.HLS, "expires": a.expires}
		if a.RTSP != "" {
			d["rtsp"] = a.RTSP
		}
		return c.t.printOne(d, func(d map[string]any) []string { return []string{text(d, "hls")} })
	}
	c.t.say("for VLC, mpv, ffplay and browsers, until %s; whoever has them can watch", a.expires)
	fmt.Fprintln(c.t.out, "hls   "+a.HLS)
	if a.RTSP == "" {
		return nil
	}
	if a.guessed {
		c.t.say("this key may not ask for the port of RTSP, so it is a guess")
	}
	_, err = fmt.Fprintln(c.t.out, "rtsp  "+a.RTSP)
	return err
}

// player is a program that opens a playlist, with what keeps it from talking all the time.
type player struct {
	name  string
	words []string // before the playlist
	entry string   // of the playlist, before the address
}

// players are those that are looked for, best first. Each is given a file that nobody else
// may read: the address has a token in it, and who is on the machine sees what programs are
// called with.
func players() []player {
	return []player{
		{"ffplay", []string{"-loglevel", "error", "-nostats", "-protocol_whitelist", "file,http,https,tcp,tls,crypto,data", "-i", ""}, "#EXT-X-STREAM-INF:BANDWIDTH=1"},
		{"mpv", []string{"--really-quiet", "--playlist="}, "#EXTINF:-1,penstock"},
		{"vlc", []string{"--quiet", ""}, "#EXTINF:-1,penstock"},
	}
}

// command is p on an address, which lies in dir.
func (p player) command(ctx context.Context, program, dir, address string) (*exec.Cmd, error) {
	file := filepath.Join(dir, "watch.m3u8")
	if err := os.WriteFile(file, []byte("#EXTM3U\n"+p.entry+"\n"+address+"\n"), 0o600); err != nil {
		return nil, err
	}
	words := slices.Clone(p.words)
	words[len(words)-1] += file
	return exec.CommandContext(ctx, program, words...), nil
}

// play runs a player on the stream until it ends.
func (c *client) play(ctx context.Context, name, ttl string) (err error) {
	var program string
	var with player
	for _, p := range players() {
		if found, err := exec.LookPath(p.name); err == nil {
			program, with = found, p
			break
		}
	}
	if program == "" {
		return fault.New(fault.Unavailable, "play", name, "none of ffplay, mpv, vlc is on PATH").
			WithHint("install ffmpeg or mpv, or open what `penstock watch " + name + " --url` prints elsewhere")
	}
	dir, err := os.MkdirTemp("", "penstock-") // its mode is 0700
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	a, err := c.admit(ctx, name, ttl)
	if err != nil {
		return err
	}
	c.t.say("%s plays %s; close it, or press Ctrl-C here", program, name)
	cmd, err := with.command(ctx, program, dir, a.HLS)
	if err != nil {
		return errors.Join(err, c.withdraw(ctx, name, a.token))
	}
	cmd.Stdout, cmd.Stderr = c.t.err, c.t.err
	err = cmd.Run()
	if ctx.Err() != nil {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", program, err)
	}
	return errors.Join(err, c.withdraw(ctx, name, a.token))
}
