package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/internal/quantity"
)

func dataCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	cmd := &cobra.Command{Use: "data", Short: "Create, fill, follow and reshape data streams"}
	c.bind(cmd)
	cmd.AddCommand(c.dataList(), c.dataInfo(), c.dataCreate(), c.dataRemove(), c.dataPut(), c.dataTail(), c.dataSplit(), c.dataMerge())
	return cmd
}

func dataPath(name string, more ...string) string {
	return "/v1/data/" + url.PathEscape(name) + strings.Join(more, "")
}

var dataHead = []string{"name", "status", "mode", "shards", "kept", "records/s", "bytes/s", "refused/s"}

func dataRow(d map[string]any) []string {
	load, _ := d["load"].(map[string]any)
	row := []string{text(d, "name"), text(d, "status"), text(d, "mode"), text(d, "open_shards"), text(d, "retention")}
	if unmeasured(d) {
		return append(row, "-", "-", "-")
	}
	return append(row, fmt.Sprintf("%.1f", number(load, "records_in")), quantity.Bytes(int64(number(load, "bytes_in"))), fmt.Sprintf("%.1f", number(load, "refused")))
}

// rateWindow is how long a list for people is measured over.
const rateWindow = time.Second

// unmeasured reports whether the rates of a data stream are not known yet.
func unmeasured(d map[string]any) bool {
	load, _ := d["load"].(map[string]any)
	return number(load, "over_s") == 0
}

func (c *client) dataList() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{Use: "ls", Short: "List data streams", Args: cobra.NoArgs, Example: "  penstock data ls -o name", RunE: func(cmd *cobra.Command, _ []string) error {
		docs, err := c.dataStreams(cmd.Context(), prefix)
		if err == nil && c.t.format == "table" && slices.ContainsFunc(docs, unmeasured) {
			// Rates are of the time between two questions.
			select {
			case <-time.After(rateWindow):
			case <-cmd.Context().Done():
			}
			docs, err = c.dataStreams(cmd.Context(), prefix)
		}
		if err != nil {
			return err
		}
		return c.t.print(dataHead, docs, dataRow)
	}}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only names that begin so")
	return cmd
}

func (c *client) dataStreams(ctx context.Context, prefix string) ([]map[string]any, error) {
	var list struct{ Streams []map[string]any }
	if err := c.call(ctx, http.MethodGet, "/v1/data", nil, nil, &list); err != nil {
		return nil, err
	}
	docs := []map[string]any{}
	for _, d := range list.Streams {
		if strings.HasPrefix(text(d, "name"), prefix) {
			docs = append(docs, d)
		}
	}
	return docs, nil
}

var shardHead = []string{"shard", "state", "parents", "from", "to", "records/s", "bytes/s", "hot key"}

func shardRow(d map[string]any) []string {
	state, hot := "closed", text(d, "hot_key")
	if open, _ := d["open"].(bool); open {
		state = "open"
	}
	if share := number(d, "hot_share"); share > 0 {
		hot += fmt.Sprintf(" (%.0f %%)", share*100)
	}
	return []string{text(d, "id"), state, joined(d["parents"]), text(d, "from"), text(d, "to"),
		fmt.Sprintf("%.1f", number(d, "records_in")), quantity.Bytes(int64(number(d, "bytes_in"))), hot}
}

func joined(list any) string {
	var out []string
	values, _ := list.([]any)
	for _, v := range values {
		out = append(out, fmt.Sprint(v))
	}
	if out == nil {
		return "-"
	}
	return strings.Join(out, ",")
}

// shards prints the shards of a stream as a table, or the whole document.
func (c *client) shards(d map[string]any) error {
	if c.t.format != "table" {
		return c.t.printOne(d, dataRow)
	}
	return c.t.print(shardHead, shardsOf(d), shardRow)
}

func shardsOf(d map[string]any) []map[string]any { return members(d, "shards") }

// members are the documents of a list in a document.
func members(d map[string]any, key string) []map[string]any {
	docs := []map[string]any{}
	list, _ := d[key].([]any)
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			docs = append(docs, m)
		}
	}
	return docs
}

func (c *client) dataInfo() *cobra.Command {
	return &cobra.Command{Use: "info NAME", Short: "Show a data stream: its shards, their traffic, its consumers", Args: cobra.ExactArgs(1), Example: "  penstock data info sensors",
		ValidArgsFunction: c.dataNames(1), RunE: func(cmd *cobra.Command, args []string) error {
			var d map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, dataPath(args[0]), nil, nil, &d); err != nil {
				return err
			}
			return c.t.printOne(d, dataRow)
		}}
}

func (c *client) dataCreate() *cobra.Command {
	var shards int
	var largest bytesize
	keep := duration("24h")
	var tags map[string]string
	cmd := &cobra.Command{Use: "create NAME", Short: "Create a data stream", Args: cobra.ExactArgs(1),
		Example: "  penstock data create sensors\n  penstock data create trucks --shards 4 --retention 7d",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"name": args[0], "shards": shards, "retention": string(keep), "tags": tags}
			if largest > 0 {
				body["max_record"] = int64(largest)
			}
			var d map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, "/v1/data", nil, body, &d); err != nil {
				return err
			}
			return c.t.result(dataHead, d, dataRow)
		}}
	cmd.Flags().IntVar(&shards, "shards", 0, "number of shards, with Amazon's limits each; 0: on demand, the stream grows with its traffic")
	cmd.Flags().Var(&keep, "retention", "how long records are kept, 24h to 365d")
	cmd.Flags().Var(&largest, "max-record", "the largest record, 1MiB to 10MiB (1MiB)")
	cmd.Flags().StringToStringVar(&tags, "tag", nil, "NAME=VALUE; may be given several times")
	return cmd
}

func (c *client) dataRemove() *cobra.Command {
	return &cobra.Command{Use: "rm NAME...", Short: "Delete data streams and their records", Args: cobra.MinimumNArgs(1), Example: "  penstock data rm sensors",
		ValidArgsFunction: c.dataNames(0), RunE: func(cmd *cobra.Command, names []string) error {
			var errs []error
			for _, name := range names {
				if err := c.call(cmd.Context(), http.MethodDelete, dataPath(name), nil, nil, nil); err != nil {
					errs = append(errs, err)
				}
			}
			return some(errs, len(names))
		}}
}

func (c *client) dataSplit() *cobra.Command {
	var at string
	cmd := &cobra.Command{Use: "split NAME SHARD", Short: "Split a shard in two", Args: cobra.ExactArgs(2), ValidArgsFunction: c.shardNames(1),
		Example: "  penstock data split trucks shardId-000000000000", RunE: func(cmd *cobra.Command, args []string) error {
			return c.reshape(cmd.Context(), dataPath(args[0], "/split"), map[string]any{"shard": args[1], "at": at})
		}}
	cmd.Flags().StringVar(&at, "at", "", "hash key where the second half begins (the middle)")
	return cmd
}

func (c *client) dataMerge() *cobra.Command {
	return &cobra.Command{Use: "merge NAME SHARD SHARD", Short: "Merge two neighbouring shards", Args: cobra.ExactArgs(3), ValidArgsFunction: c.shardNames(2),
		Example: "  penstock data merge trucks shardId-000000000001 shardId-000000000002", RunE: func(cmd *cobra.Command, args []string) error {
			return c.reshape(cmd.Context(), dataPath(args[0], "/merge"), map[string]any{"shards": args[1:]})
		}}
}

func (c *client) reshape(ctx context.Context, path string, body any) error {
	var d map[string]any
	if err := c.call(ctx, http.MethodPost, path, nil, body, &d); err != nil {
		return err
	}
	return c.shards(d)
}
