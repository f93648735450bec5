package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"penstock/internal/fault"
)

func (c *client) dataTail() *cobra.Command {
	var from, shard string
	var filters []string
	var limit int
	var once, raw bool
	cmd := &cobra.Command{Use: "tail NAME", Short: "Follow a data stream", Args: cobra.ExactArgs(1), ValidArgsFunction: c.dataNames(1),
		Example: "  penstock data tail sensors\n  penstock data tail trucks --from -1h --filter key:truck-7 --no-follow -o jsonl\n  penstock data tail trucks --filter /driver/name=ann",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFrom(from, shard); err != nil {
				return err
			}
			q := url.Values{"from": {from}, "filter": filters}
			if shard != "" {
				q.Set("shard", shard)
			}
			if once {
				q.Set("follow", "no")
			}
			if limit > 0 {
				q.Set("limit", strconv.Itoa(limit))
			}
			return c.tail(cmd.Context(), dataPath(args[0], "/tail"), q, raw)
		}}
	cmd.Flags().StringVar(&from, "from", "latest", "latest, horizon, RFC 3339, before now: -10m, or with --shard a sequence number")
	cmd.Flags().StringVar(&shard, "shard", "", "this shard alone")
	cmd.Flags().StringArrayVar(&filters, "filter", nil, "key:truck-*, /json/pointer=value, or a text; all that are given must fit")
	cmd.Flags().IntVar(&limit, "limit", 0, "end after so many records")
	cmd.Flags().BoolVar(&once, "no-follow", false, "end when everything that is there was shown")
	cmd.Flags().BoolVar(&raw, "raw", false, "print the data alone, one record a line")
	return cmd
}

// checkFrom refuses what no server takes.
func checkFrom(from, shard string) error {
	var m moment
	if from == "latest" || from == "horizon" || shard != "" || m.Set(from) == nil {
		return nil
	}
	return usageError{fmt.Errorf("from %q: not latest, horizon, RFC 3339 or -10m", from)}
}

// tail prints records as they come.
func (c *client) tail(ctx context.Context, path string, q url.Values, raw bool) error {
	res, err := c.open(ctx, http.MethodGet, path, q, nil, http.Header{"Accept": {"application/x-ndjson"}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 64<<10), answerLimit)
	first := true
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			continue // the server is still there
		}
		var e map[string]json.RawMessage
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("read a record: %w", err)
		}
		if e["error"] != nil {
			return refused(e["error"])
		}
		if err := c.show(line, e, raw, first); err != nil {
			return err
		}
		first = false
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil {
		return unreachable{fmt.Errorf("the tail broke off: %w", err)}
	}
	return nil
}

func refused(text []byte) error {
	var e struct{ Code, Message, Hint string }
	if err := json.Unmarshal(text, &e); err != nil {
		return errors.New("the tail ended with an error that cannot be read")
	}
	return fault.New(kinds[e.Code], "", "", e.Message).WithHint(e.Hint)
}

// show prints one record.
func (c *client) show(line []byte, e map[string]json.RawMessage, raw, first bool) error {
	word := func(name string) string {
		var s string
		if json.Unmarshal(e[name], &s) != nil {
			return string(e[name])
		}
		return s
	}
	data := string(e["json"])
	if data == "" {
		data = word("text") + word("data")
	}
	var err error
	switch {
	case raw:
		_, err = fmt.Fprintln(c.t.out, data)
	case c.t.format == "json" || c.t.format == "jsonl":
		_, err = fmt.Fprintf(c.t.out, "%s\n", line)
	case c.t.format == "name":
		_, err = fmt.Fprintln(c.t.out, word("sequence_number"))
	case c.t.format == "yaml":
		var d map[string]any
		if err = json.Unmarshal(line, &d); err == nil {
			err = c.t.print(nil, []map[string]any{d}, nil)
		}
	default:
		if first {
			fmt.Fprintf(c.t.out, "%-24s  %-20s  %-16s  DATA\n", "TIME", "SHARD", "KEY")
		}
		_, err = fmt.Fprintf(c.t.out, "%-24s  %-20s  %-16s  %s\n", word("time"), word("shard"), plain(word("key")), plain(data))
	}
	return err
}
