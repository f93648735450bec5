package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"penstock/internal/quantity"
)

func streamCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	cmd := &cobra.Command{Use: "stream", Short: "List, show, create and remove streams"}
	c.bind(cmd)
	var prefix, keep string
	ls := &cobra.Command{Use: "ls", Short: "List streams", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		docs, err := c.streams(cmd.Context(), prefix)
		if err != nil {
			return err
		}
		return c.print(streamHead, docs, streamRow)
	}}
	ls.Flags().StringVar(&prefix, "prefix", "", "only names that begin so")
	info := &cobra.Command{Use: "info NAME", Short: "Show one stream", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		var d map[string]any
		if err := c.call(cmd.Context(), http.MethodGet, streamPath(args[0]), nil, nil, &d); err != nil {
			return err
		}
		if c.format == "table" {
			c.format = "yaml"
		}
		return c.print(streamHead, []map[string]any{d}, streamRow)
	}}
	create := &cobra.Command{Use: "create NAME", Short: "Create a stream to push to", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return c.create(cmd.Context(), map[string]any{"name": args[0], "retention": keep})
	}}
	create.Flags().StringVar(&keep, "retention", "24h", "how long media is kept, 1h to 3650d")
	rm := &cobra.Command{Use: "rm NAME...", Short: "Delete streams and their recordings", Args: atLeast(1), RunE: c.remove}
	cmd.AddCommand(ls, info, create, rm)
	return cmd
}

var streamHead = []string{"name", "state", "kept", "stored", "bitrate", "viewers", "reason"}

func streamRow(d map[string]any) []string {
	return []string{text(d, "name"), text(d, "state"), text(d, "retention"), quantity.Bytes(int64(number(d, "bytes"))),
		fmt.Sprintf("%.1f Mb/s", number(d, "bitrate")/1e6), text(d, "viewers"), text(d, "reason")}
}

// streams reads all pages of the list.
func (c *client) streams(ctx context.Context, prefix string) ([]map[string]any, error) {
	docs := []map[string]any{}
	q := url.Values{"prefix": {prefix}}
	for {
		var page struct {
			Streams []map[string]any
			Next    string
		}
		if err := c.call(ctx, http.MethodGet, "/v1/streams", q, nil, &page); err != nil {
			return nil, err
		}
		docs = append(docs, page.Streams...)
		if page.Next == "" {
			return docs, nil
		}
		q.Set("next", page.Next)
	}
}

func (c *client) create(ctx context.Context, body map[string]any) error {
	var d map[string]any
	if err := c.call(ctx, http.MethodPost, "/v1/streams", nil, body, &d); err != nil {
		return err
	}
	return c.print(streamHead, []map[string]any{d}, streamRow)
}

// remove deletes each stream named; that some could not be is exit code 6.
func (c *client) remove(cmd *cobra.Command, names []string) error {
	var errs []error
	for _, name := range names {
		if err := c.call(cmd.Context(), http.MethodDelete, streamPath(name), nil, nil, nil); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 && len(errs) < len(names) {
		return partly{errors.Join(errs...)}
	}
	return errors.Join(errs...)
}

func cameraCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	cmd := &cobra.Command{Use: "camera", Short: "Find, test, add and remove cameras"}
	c.bind(cmd)
	var user, password, transport, keep string
	flags := func(cmd *cobra.Command) {
		cmd.Flags().StringVar(&user, "user", "", "user name at the camera")
		cmd.Flags().StringVar(&password, "password-file", "", "file with the password; - asks, or reads standard input")
		cmd.Flags().StringVar(&transport, "transport", "auto", "auto, tcp or udp")
	}
	source := func(address string) (map[string]any, error) {
		secret, err := t.secret(password, "password of the camera: ")
		return map[string]any{"url": address, "username": user, "password": secret, "transport": transport}, err
	}
	find := &cobra.Command{Use: "find", Short: "Look for ONVIF cameras on the server's network", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var found struct{ Cameras []map[string]any }
		if err := c.call(cmd.Context(), http.MethodPost, "/v1/discover", nil, map[string]any{}, &found); err != nil {
			return err
		}
		return c.print([]string{"name", "address", "device service"}, found.Cameras, func(d map[string]any) []string {
			return []string{text(d, "name"), text(d, "address"), text(d, "xaddr")}
		})
	}}
	test := &cobra.Command{Use: "test URL", Short: "Try a camera step by step", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		src, err := source(args[0])
		if err != nil {
			return err
		}
		return c.probe(cmd.Context(), src)
	}}
	add := &cobra.Command{Use: "add NAME URL", Short: "Record a camera", Args: exactly(2), RunE: func(cmd *cobra.Command, args []string) error {
		src, err := source(args[1])
		if err != nil {
			return err
		}
		return c.create(cmd.Context(), map[string]any{"name": args[0], "retention": keep, "source": src})
	}}
	add.Flags().StringVar(&keep, "retention", "24h", "how long media is kept, 1h to 3650d")
	flags(test)
	flags(add)
	ls := &cobra.Command{Use: "ls", Short: "List cameras", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
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
		return c.print(streamHead, pulled, streamRow)
	}}
	rm := &cobra.Command{Use: "rm NAME...", Short: "Remove cameras and their recordings", Args: atLeast(1), RunE: c.remove}
	cmd.AddCommand(find, test, add, ls, rm)
	return cmd
}

// probe prints each step of the ladder as it is taken.
func (c *client) probe(ctx context.Context, body map[string]any) error {
	res, err := c.open(ctx, http.MethodPost, "/v1/probe", nil, body, http.Header{"Accept": {"application/x-ndjson"}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := json.NewDecoder(io.LimitReader(res.Body, answerLimit))
	for {
		var line struct {
			Step, Detail, Try string
			OK                bool
			Report            map[string]any
		}
		if err := lines.Decode(&line); err != nil {
			return fmt.Errorf("read the ladder: %w", err)
		}
		if line.Report != nil {
			if c.format != "table" {
				return c.print(nil, []map[string]any{line.Report}, func(d map[string]any) []string { return []string{text(d, "url")} })
			}
			if ok, _ := line.Report["ok"].(bool); !ok {
				return errors.New("the camera cannot be recorded as it is")
			}
			return nil
		}
		if c.format == "table" {
			mark := "ok  "
			if !line.OK {
				mark = "FAIL"
			}
			fmt.Fprintf(c.t.out, "%s  %-17s %s\n", mark, line.Step, line.Detail)
			if line.Try != "" {
				fmt.Fprintf(c.t.out, "      try: %s\n", line.Try)
			}
		}
	}
}

func clipCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	var start, end, file string
	cmd := &cobra.Command{Use: "clip NAME", Short: "Save a window of a recording as one MP4", Args: exactly(1),
		Example: "  penstock clip front-door --start -10m --end -8m --file door.mp4",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.download(cmd.Context(), streamPath(args[0], "/clip.mp4"), url.Values{"start": {start}, "end": {end}}, name(file, args[0]+".mp4"))
		}}
	c.bind(cmd)
	cmd.Flags().StringVar(&start, "start", "-1m", "RFC 3339, or before now: -10m")
	cmd.Flags().StringVar(&end, "end", "now", "RFC 3339, or before now: -8m")
	cmd.Flags().StringVar(&file, "file", "", "where to; - is standard output (NAME.mp4)")
	return cmd
}

func snapshotCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	var at, file string
	cmd := &cobra.Command{Use: "snapshot NAME", Short: "Save one picture as JPEG", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		q := url.Values{}
		if at != "" {
			q.Set("at", at)
		}
		return c.download(cmd.Context(), streamPath(args[0], "/still.jpg"), q, name(file, args[0]+".jpg"))
	}}
	c.bind(cmd)
	cmd.Flags().StringVar(&at, "at", "", "RFC 3339, or before now: -10m (newest)")
	cmd.Flags().StringVar(&file, "file", "", "where to; - is standard output (NAME.jpg)")
	return cmd
}

func name(file, otherwise string) string {
	if file == "" {
		return otherwise
	}
	return file
}

// download saves an answer, with a bar on a terminal. A file appears only when it is whole.
func (c *client) download(ctx context.Context, path string, q url.Values, file string) error {
	res, err := c.open(ctx, http.MethodGet, path, q, nil, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if file == "-" {
		_, err := io.Copy(c.t.out, res.Body)
		return err
	}
	part := file + ".part"
	f, err := os.Create(part)
	if err != nil {
		return err
	}
	var to io.Writer = f
	if e, ok := c.t.err.(*os.File); ok && term.IsTerminal(int(e.Fd())) {
		bar := progressbar.NewOptions64(res.ContentLength, progressbar.OptionSetWriter(e), progressbar.OptionShowBytes(true),
			progressbar.OptionSetDescription(file), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		to = io.MultiWriter(f, bar)
	}
	n, err := io.Copy(to, res.Body)
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("save %s: %w", file, err), os.Remove(part))
	}
	if err := os.Rename(part, file); err != nil {
		return err
	}
	var notes []string
	for _, h := range []string{"X-Penstock-Start", "X-Penstock-End", "X-Penstock-Coverage"} {
		if v := res.Header.Get(h); v != "" {
			notes = append(notes, strings.ToLower(strings.TrimPrefix(h, "X-Penstock-"))+" "+v)
		}
	}
	fmt.Fprintf(c.t.err, "%s: %s %s\n", file, quantity.Bytes(n), strings.Join(notes, ", "))
	return nil
}

// exactly and atLeast are cobra's checks, as usage errors.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.MinimumNArgs(n)(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
