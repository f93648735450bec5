package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"penstock/internal/fault"
)

func eventCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	cmd := &cobra.Command{Use: "event", Short: "Say and list what happened on a stream, and keep its video"}
	c.bind(cmd)
	cmd.AddCommand(c.eventAdd(), c.eventList(), c.eventEnd(), c.eventSet(), c.eventRemove())
	return cmd
}

func eventPath(stream, id string) string { return streamPath(stream, "/events/", url.PathEscape(id)) }

var eventHead = []string{"id", "kind", "start", "end", "kept", "by", "label"}

func eventRow(d map[string]any) []string {
	end := text(d, "end")
	if d["open"] == true {
		end = "goes on"
	}
	kept := text(d, "keep")
	if until := text(d, "kept_until"); until != "-" {
		kept = "until " + until
	}
	return []string{text(d, "id"), text(d, "kind"), text(d, "start"), end, kept, text(d, "by"), text(d, "label")}
}

// eventAdd marks an instant, a stretch, or the begin of one.
func (c *client) eventAdd() *cobra.Command {
	var kind, label, keep, data, id string
	var start, end moment
	before, after := duration("10s"), duration("10s")
	var open bool
	cmd := &cobra.Command{Use: "add NAME", Short: "Mark an instant or a stretch of a stream, or begin an event that is ended later", Args: cobra.ExactArgs(1), ValidArgsFunction: c.streamNames(1),
		Example: "  penstock event add front-door --label 'parcel taken' --start -5m --end -4m --keep forever\n" +
			"  penstock event add front-door --kind recording --open --keep 30d",
		RunE: func(cmd *cobra.Command, args []string) error {
			if open && end != "" {
				return usageError{fault.New(fault.Invalid, "add event", args[0], "an open event has no end yet").WithHint("leave out --open or --end")}
			}
			body := map[string]any{"kind": kind, "label": label, "keep": keep, "id": id, "start": string(start), "end": string(end), "open": open,
				"before": string(before), "after": string(after)}
			if data != "" {
				if !json.Valid([]byte(data)) {
					return usageError{fault.New(fault.Invalid, "read data", strconv.Quote(data), "it is not JSON").WithHint(`--data '{"score":0.9}'`)}
				}
				body["data"] = json.RawMessage(data)
			}
			return c.event(cmd.Context(), http.MethodPost, streamPath(args[0], "/events"), body)
		}}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "mark", "what it is, such as motion or person")
	f.StringVar(&label, "label", "", "words for people")
	f.Var(&start, "start", "RFC 3339, or before now: -10m (now)")
	f.Var(&end, "end", "RFC 3339, or before now: -8m (its start)")
	f.BoolVar(&open, "open", false, "it goes on until penstock event end, or for a day")
	f.Var(&before, "before", "of the video that is kept, before its start; at most 10m")
	f.Var(&after, "after", "and after its end")
	f.StringVar(&keep, "keep", "", "keep its video for this long, such as 30d, or forever (as long as the stream does)")
	f.StringVar(&data, "data", "", "a JSON object with more, at most 4 KiB")
	f.StringVar(&id, "id", "", "its id; a second try with the same adds nothing (a random one)")
	must(cmd.RegisterFlagCompletionFunc("keep", cobra.FixedCompletions([]string{"1d", "7d", "30d", "365d", "forever"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// event sends a request that an event answers, and prints that.
func (c *client) event(ctx context.Context, method, path string, body map[string]any) error {
	var d map[string]any
	if err := c.call(ctx, method, path, nil, body, &d); err != nil {
		return err
	}
	return c.t.result(eventHead, d, eventRow)
}

func (c *client) eventList() *cobra.Command {
	start, end := moment("-1d"), moment("")
	var kind string
	var limit int
	cmd := &cobra.Command{Use: "ls NAME", Short: "List what happened, oldest first", Args: cobra.ExactArgs(1), ValidArgsFunction: c.streamNames(1),
		Example: "  penstock event ls front-door --start -7d --kind person -o jsonl",
		RunE: func(cmd *cobra.Command, args []string) error {
			docs, err := c.events(cmd.Context(), args[0], url.Values{"start": {string(start)}, "end": {string(end)}, "kind": {kind}}, limit)
			if err != nil {
				return err
			}
			return c.t.print(eventHead, docs, eventRow)
		}}
	cmd.Flags().Var(&start, "start", "RFC 3339, or before now: -7d")
	cmd.Flags().Var(&end, "end", "RFC 3339, or before now: -1h (no bound)")
	cmd.Flags().StringVar(&kind, "kind", "", "of this kind alone")
	cmd.Flags().IntVar(&limit, "limit", 10_000, "at most so many; 0: all")
	return cmd
}

// events reads pages of a list until there is no more, or limit is reached.
func (c *client) events(ctx context.Context, stream string, q url.Values, limit int) ([]map[string]any, error) {
	docs := []map[string]any{}
	for {
		var page struct {
			Events []map[string]any
			Next   string
		}
		if err := c.call(ctx, http.MethodGet, streamPath(stream, "/events"), q, nil, &page); err != nil {
			return nil, err
		}
		docs = append(docs, page.Events...)
		if limit > 0 && len(docs) >= limit {
			if len(docs) > limit || page.Next != "" {
				c.t.say("there are more than %d: name a window, or raise --limit", limit)
			}
			return docs[:limit], nil
		}
		if page.Next == "" {
			return docs, nil
		}
		q.Set("next", page.Next)
	}
}

func (c *client) eventEnd() *cobra.Command {
	at := moment("now")
	cmd := &cobra.Command{Use: "end NAME ID", Short: "End an event that goes on", Args: cobra.ExactArgs(2), ValidArgsFunction: c.eventNames(1, true),
		Example: "  penstock event end front-door gzsa3kpd5q7w2mfx --at -5s",
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.event(cmd.Context(), http.MethodPatch, eventPath(args[0], args[1]), map[string]any{"end": string(at)})
		}}
	cmd.Flags().Var(&at, "at", "when it ended: RFC 3339, or before now: -5s")
	return cmd
}

func (c *client) eventSet() *cobra.Command {
	var label, keep string
	cmd := &cobra.Command{Use: "set NAME ID", Short: "Change an event's label, or how long its video is kept", Args: cobra.ExactArgs(2), ValidArgsFunction: c.eventNames(1, false),
		Example: "  penstock event set front-door gzsa3kpd5q7w2mfx --keep forever\n  penstock event set front-door gzsa3kpd5q7w2mfx --keep ''",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			for name, value := range map[string]string{"label": label, "keep": keep} {
				if cmd.Flags().Changed(name) {
					body[name] = value
				}
			}
			if len(body) == 0 {
				return usageError{fault.New(fault.Invalid, "change event", args[1], "nothing is to be changed").WithHint("--keep 30d, --label WORDS")}
			}
			return c.event(cmd.Context(), http.MethodPatch, eventPath(args[0], args[1]), body)
		}}
	cmd.Flags().StringVar(&label, "label", "", "words for people")
	cmd.Flags().StringVar(&keep, "keep", "", "keep its video for this long from now, such as 30d, or forever; empty: no longer than the stream does")
	return cmd
}

func (c *client) eventRemove() *cobra.Command {
	return &cobra.Command{Use: "rm NAME ID...", Short: "Delete events; video that they alone kept goes", Args: cobra.MinimumNArgs(2), ValidArgsFunction: c.eventNames(0, false),
		Example: "  penstock event rm front-door gzsa3kpd5q7w2mfx",
		RunE: func(cmd *cobra.Command, args []string) error {
			var errs []error
			for _, id := range args[1:] {
				if err := c.call(cmd.Context(), http.MethodDelete, eventPath(args[0], id), nil, nil, nil); err != nil {
					errs = append(errs, err)
				}
			}
			return some(errs, len(args)-1)
		}}
}

// eventNames completes a stream, and then up to most of its events of the last week; 0:
// any number.
func (c *client) eventNames(most int, openOnly bool) completer {
	names := c.streamNames(1)
	if most > 0 {
		most++
	}
	ids := c.words(most, func(ctx context.Context, args []string, _ string) ([]string, error) {
		docs, err := c.events(ctx, args[0], url.Values{"start": {"-7d"}}, 200)
		var out []string
		for _, d := range docs {
			if !openOnly || d["open"] == true {
				out = append(out, cobra.CompletionWithDesc(text(d, "id"), fmt.Sprintf("%s %s %s", text(d, "kind"), text(d, "start"), text(d, "label"))))
			}
		}
		return out, err
	})
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return names(cmd, args, word)
		}
		return ids(cmd, args, word)
	}
}
