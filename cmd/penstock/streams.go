package main

import (
	"context"
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

	"penstock/internal/fault"
	"penstock/internal/quantity"
)

func streamCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	cmd := &cobra.Command{Use: "stream", Short: "List, show, create, change and remove streams"}
	c.bind(cmd)
	var prefix string
	var most bytesize
	keep := duration("24h")
	ls := &cobra.Command{Use: "ls", Short: "List streams", Args: cobra.NoArgs, Example: "  penstock stream ls --prefix gate- -o name", RunE: func(cmd *cobra.Command, _ []string) error {
		docs, err := c.streams(cmd.Context(), prefix)
		if err != nil {
			return err
		}
		return c.t.print(streamHead, docs, streamRow)
	}}
	ls.Flags().StringVar(&prefix, "prefix", "", "only names that begin so")
	info := &cobra.Command{Use: "info NAME", Short: "Show one stream", Args: cobra.ExactArgs(1), Example: "  penstock stream info front-door -o json",
		ValidArgsFunction: c.streamNames(1), RunE: func(cmd *cobra.Command, args []string) error {
			var d map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, streamPath(args[0]), nil, nil, &d); err != nil {
				return err
			}
			return c.t.printOne(d, streamRow)
		}}
	create := &cobra.Command{Use: "create NAME", Short: "Create a stream to push to", Args: cobra.ExactArgs(1), Example: "  penstock stream create front-door --retention 30d",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.create(cmd.Context(), map[string]any{"name": args[0], "retention": string(keep), "retention_bytes": int64(most)})
		}}
	create.Flags().Var(&keep, "retention", "how long media is kept, 1h to 3650d")
	create.Flags().Var(&most, "retention-bytes", "how much of it at most, such as 500GiB (no bound)")
	rm := &cobra.Command{Use: "rm NAME...", Short: "Delete streams and their recordings", Args: cobra.MinimumNArgs(1), Example: "  penstock stream rm front-door",
		ValidArgsFunction: c.streamNames(0), RunE: c.remove}
	cmd.AddCommand(ls, info, create, c.setStream(), rm)
	return cmd
}

// setStream changes what a stream keeps, or shows what that would delete.
func (c *client) setStream() *cobra.Command {
	var keep duration
	var most bytesize
	var dry bool
	cmd := &cobra.Command{Use: "set NAME", Short: "Change how long and how much a stream keeps", Args: cobra.ExactArgs(1), ValidArgsFunction: c.streamNames(1),
		Long: "Change how long and how much a stream keeps. What a shorter retention no longer covers is deleted at once, but for what\n" +
			"events keep; --dry-run tells how much that is, and changes nothing.",
		Example: "  penstock stream set front-door --retention 7d --retention-bytes 500GiB --dry-run\n  penstock stream set front-door --retention-bytes 0",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			if cmd.Flags().Changed("retention") {
				body["retention"] = string(keep)
			}
			if cmd.Flags().Changed("retention-bytes") {
				body["retention_bytes"] = int64(most)
			}
			if len(body) == 0 {
				return usageError{fault.New(fault.Invalid, "change stream", args[0], "nothing is to be changed").WithHint("--retention 7d, --retention-bytes 500GiB")}
			}
			var d map[string]any
			if dry {
				if err := c.call(cmd.Context(), http.MethodPatch, streamPath(args[0]), url.Values{"preview": {"true"}}, body, &d); err != nil {
					return err
				}
				d["name"] = args[0]
				return c.t.result(previewHead, d, previewRow)
			}
			if err := c.call(cmd.Context(), http.MethodPatch, streamPath(args[0]), nil, body, &d); err != nil {
				return err
			}
			return c.t.result(streamHead, d, streamRow)
		}}
	cmd.Flags().Var(&keep, "retention", "how long media is kept, 1h to 3650d")
	cmd.Flags().Var(&most, "retention-bytes", "how much of it at most, such as 500GiB; 0: no bound")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "tell what would be deleted, and change nothing")
	return cmd
}

var previewHead = []string{"name", "deletes", "fragments", "from", "to", "kept by events"}

func previewRow(d map[string]any) []string {
	lost, _ := d["delete"].(map[string]any)
	return []string{text(d, "name"), quantity.Bytes(int64(number(lost, "bytes"))), text(lost, "fragments"), text(lost, "first"), text(lost, "last"),
		quantity.Bytes(int64(number(d, "kept_bytes")))}
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
	return c.t.result(streamHead, d, streamRow)
}

// remove deletes each stream named; that some could not be is exit code 6.
func (c *client) remove(cmd *cobra.Command, names []string) error {
	var errs []error
	for _, name := range names {
		if err := c.call(cmd.Context(), http.MethodDelete, streamPath(name), nil, nil, nil); err != nil {
			errs = append(errs, err)
		}
	}
	return some(errs, len(names))
}

func clipCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	var file string
	start, end := moment("-1m"), moment("now")
	cmd := &cobra.Command{Use: "clip NAME", Short: "Save a window of a recording as one MP4", Args: cobra.ExactArgs(1), ValidArgsFunction: c.streamNames(1),
		Example: "  penstock clip front-door --start -10m --end -8m --file door.mp4",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.download(cmd.Context(), streamPath(args[0], "/clip.mp4"), url.Values{"start": {string(start)}, "end": {string(end)}}, name(file, args[0]+".mp4"))
		}}
	c.bind(cmd)
	cmd.Flags().Var(&start, "start", "RFC 3339, or before now: -10m")
	cmd.Flags().Var(&end, "end", "RFC 3339, or before now: -8m")
	cmd.Flags().StringVar(&file, "file", "", "where to; - is standard output (NAME.mp4)")
	return cmd
}

func snapshotCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	var at moment
	var file string
	cmd := &cobra.Command{Use: "snapshot NAME", Short: "Save one picture as JPEG", Args: cobra.ExactArgs(1), ValidArgsFunction: c.streamNames(1),
		Example: "  penstock snapshot front-door --at -5m --file door.jpg",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if at != "" {
				q.Set("at", string(at))
			}
			return c.download(cmd.Context(), streamPath(args[0], "/still.jpg"), q, name(file, args[0]+".jpg"))
		}}
	c.bind(cmd)
	cmd.Flags().Var(&at, "at", "RFC 3339, or before now: -10m (newest)")
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
	if e, ok := c.t.err.(*os.File); ok && !c.t.quiet && c.t.lively(e) {
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
	return c.saved(file, n, res.Header)
}

// saved tells what a file holds.
func (c *client) saved(file string, n int64, h http.Header) error {
	d := map[string]any{"file": file, "bytes": n}
	for _, name := range []string{"X-Penstock-Time", "X-Penstock-Start", "X-Penstock-End", "X-Penstock-Coverage"} {
		if v := h.Get(name); v != "" {
			d[strings.ToLower(strings.TrimPrefix(name, "X-Penstock-"))] = v
		}
	}
	if c.t.format != "table" {
		return c.t.printOne(d, func(map[string]any) []string { return []string{file} })
	}
	c.t.say("%s: %s%s", file, quantity.Bytes(n), window(h))
	return nil
}

// window says in words what instant or stretch an answer is of, and what it lacks.
func window(h http.Header) string {
	if at, err := time.Parse(time.RFC3339Nano, h.Get("X-Penstock-Time")); err == nil {
		return ", of " + at.Format(time.RFC3339)
	}
	start, err := time.Parse(time.RFC3339Nano, h.Get("X-Penstock-Start"))
	end, err2 := time.Parse(time.RFC3339Nano, h.Get("X-Penstock-End"))
	if errors.Join(err, err2) != nil {
		return ""
	}
	words := fmt.Sprintf(", %s to %s (%s)", start.Format(time.RFC3339), end.Format(time.RFC3339), end.Sub(start).Round(100*time.Millisecond))
	if held := h.Get("X-Penstock-Coverage"); held != "" && held != h.Get("X-Penstock-Start")+"/"+h.Get("X-Penstock-End") {
		words += ", with gaps: it holds " + held
	}
	return words
}
