package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"penstock/ingest/camera"
	"penstock/ingest/onvif"
	"penstock/ingest/probe"
	"penstock/internal/fault"
	"penstock/internal/secret"
)

// cameraFlags say how to sign in at a camera.
type cameraFlags struct {
	user, passwordFile, transport string
	here                          bool
}

func (f *cameraFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.user, "user", "", "user name at the camera")
	cmd.Flags().StringVar(&f.passwordFile, "password-file", "", "`FILE` with the password; - asks, or reads standard input")
	cmd.Flags().StringVar(&f.transport, "transport", "auto", "auto, tcp or udp")
	must(cmd.RegisterFlagCompletionFunc("transport", cobra.FixedCompletions([]string{"auto", "tcp", "udp"}, cobra.ShellCompDirectiveNoFileComp)))
}

func (f *cameraFlags) bindHere(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.here, "here", false, "look from this machine, without a server; so it is too when there is no token")
}

// source is the camera as the native API takes it.
func (f *cameraFlags) source(t *terminal, address string) (map[string]any, error) {
	switch f.transport {
	case "auto", "tcp", "udp":
	default:
		return nil, usageError{fmt.Errorf("transport %q: not auto, tcp or udp", f.transport)}
	}
	password, err := t.secret(f.passwordFile, "password of the camera: ")
	return map[string]any{"url": address, "username": f.user, "password": password, "transport": f.transport}, err
}

// local reports whether to ask from this machine: a server answers nobody without a token.
func (f *cameraFlags) local(c *client) (bool, error) {
	if f.here {
		return true, nil
	}
	err := c.settle()
	return c.token == "", err
}

func cameraCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	cmd := &cobra.Command{Use: "camera", Short: "Find, test, add and remove cameras"}
	c.bind(cmd)
	cmd.AddCommand(c.cameraFind(), c.cameraTest(), c.cameraAdd(), c.cameraSet(), c.cameraList(),
		&cobra.Command{Use: "rm NAME...", Short: "Remove cameras and their recordings", Args: cobra.MinimumNArgs(1),
			Example: "  penstock camera rm front-door", ValidArgsFunction: c.streamNames(0), RunE: c.remove})
	return cmd
}

func (c *client) cameraFind() *cobra.Command {
	var f cameraFlags
	cmd := &cobra.Command{Use: "find", Short: "Look for ONVIF cameras, on the server's network or this machine's", Args: cobra.NoArgs,
		Example: "  penstock camera find\n  penstock camera find --here -o name",
		RunE: func(cmd *cobra.Command, _ []string) error {
			docs, err := c.discover(cmd.Context(), &f)
			if err != nil {
				return err
			}
			if len(docs) == 0 {
				c.t.say("no camera answered: some have ONVIF switched off, or sit in another network; try the address itself with `penstock camera test`")
			}
			return c.t.print([]string{"address", "name", "device service"}, docs, func(d map[string]any) []string {
				return []string{text(d, "address"), text(d, "name"), text(d, "xaddr")}
			})
		}}
	f.bindHere(cmd)
	return cmd
}

func (c *client) discover(ctx context.Context, f *cameraFlags) ([]map[string]any, error) {
	here, err := f.local(c)
	if err != nil {
		return nil, err
	}
	if !here {
		var found struct{ Cameras []map[string]any }
		err := c.call(ctx, http.MethodPost, "/v1/discover", nil, map[string]any{}, &found)
		return found.Cameras, err
	}
	c.t.say("looking from this machine for cameras that answer ONVIF")
	cl := onvif.New(onvif.Config{})
	list, err := cl.Discover(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		// Most cameras tell their streams only to those who sign in.
		if urls, err := cl.Streams(ctx, list[i].XAddr, onvif.Credentials{}); err == nil {
			list[i].URLs = urls
		}
	}
	return documents(list)
}

// documents turns values into what they are in JSON.
func documents(v any) (docs []map[string]any, err error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(text, &docs)
	return docs, err
}

func (c *client) cameraTest() *cobra.Command {
	var f cameraFlags
	cmd := &cobra.Command{Use: "test URL", Short: "Try a camera step by step, from the server or from this machine", Args: cobra.ExactArgs(1),
		Example: "  penstock camera test rtsp://192.168.1.20/stream1 --user admin --password-file -",
		RunE: func(cmd *cobra.Command, args []string) error {
			here, err := f.local(c)
			if err != nil {
				return err
			}
			src, err := f.source(c.t, args[0])
			if err != nil {
				return err
			}
			if here {
				return c.probeHere(cmd.Context(), src)
			}
			return c.probe(cmd.Context(), src)
		}}
	f.bind(cmd)
	f.bindHere(cmd)
	return cmd
}

func (c *client) cameraAdd() *cobra.Command {
	var f cameraFlags
	keep := duration("24h")
	cmd := &cobra.Command{Use: "add NAME URL", Short: "Record a camera", Args: cobra.ExactArgs(2),
		Example: "  penstock camera add front-door rtsp://192.168.1.20/stream1 --user admin --password-file - --retention 30d",
		RunE: func(cmd *cobra.Command, args []string) error {
			src, err := f.source(c.t, args[1])
			if err != nil {
				return err
			}
			return c.create(cmd.Context(), map[string]any{"name": args[0], "retention": string(keep), "source": src})
		}}
	cmd.Flags().Var(&keep, "retention", "how long media is kept, 1h to 3650d")
	f.bind(cmd)
	return cmd
}

func (c *client) cameraList() *cobra.Command {
	return &cobra.Command{Use: "ls", Short: "List cameras", Args: cobra.NoArgs, Example: "  penstock camera ls",
		RunE: func(cmd *cobra.Command, _ []string) error {
			docs, err := c.streams(cmd.Context(), "")
			if err != nil {
				return err
			}
			pulled := docs[:0]
			for _, d := range docs {
				if d["source"] != nil {
					pulled = append(pulled, d)
				}
			}
			return c.t.print(streamHead, pulled, streamRow)
		}}
}

// probe has the server climb the ladder, and prints each step as it is taken.
func (c *client) probe(ctx context.Context, body map[string]any) error {
	res, err := c.open(ctx, http.MethodPost, "/v1/probe", nil, body, http.Header{"Accept": {"application/x-ndjson"}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := json.NewDecoder(io.LimitReader(res.Body, answerLimit))
	for {
		var line struct {
			probe.Step
			Report map[string]any
		}
		if err := lines.Decode(&line); err != nil {
			return fmt.Errorf("read the ladder: %w", err)
		}
		if line.Report == nil {
			c.t.rung(line.Step)
			continue
		}
		return c.t.climbed(line.Report)
	}
}

// probeHere climbs the ladder from this machine: its user may call whom they like.
func (c *client) probeHere(ctx context.Context, src map[string]any) error {
	c.t.say("asking from this machine")
	word := func(key string) string { s, _ := src[key].(string); return s }
	rep, err := probe.New(probe.Config{}).Probe(ctx, probe.Request{URL: word("url"), Username: word("username"),
		Password: secret.New(word("password")), Transport: camera.Transport(word("transport"))}, c.t.rung)
	if err != nil {
		return err
	}
	d := map[string]any{"ok": rep.OK, "steps": rep.Steps, "url": rep.URL, "transport": string(rep.Transport), "key_interval": rep.KeyInterval.Seconds(), "talk": rep.Voice}
	if rep.HasClock {
		d["clock_offset_ms"] = rep.ClockOffset.Milliseconds()
	}
	return c.t.climbed(d)
}

// rung prints one step of the ladder.
func (t *terminal) rung(s probe.Step) {
	if t.format != "table" {
		return
	}
	mark := t.paint("ok  ", green)
	if !s.OK {
		mark = t.paint("FAIL", red)
	}
	fmt.Fprintf(t.out, "%s  %-17s %s\n", mark, s.Step, plain(s.Detail))
	if s.Try != "" {
		fmt.Fprintf(t.out, "      try: %s\n", plain(s.Try))
	}
}

// climbed is the end of the ladder.
func (t *terminal) climbed(report map[string]any) error {
	if t.format != "table" {
		if err := t.printOne(report, func(d map[string]any) []string { return []string{text(d, "url")} }); err != nil {
			return err
		}
	}
	if report["ok"] == true {
		return nil
	}
	e := &fault.Error{Err: errors.New("the camera cannot be recorded as it is"), Hint: "what its last step says"}
	return e
}
