package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// Limits of what is read before it is sent.
const (
	batchLines = 500
	batchBytes = 1 << 20
	batchWait  = 50 * time.Millisecond
	lineMax    = 10 << 20
	bodyMax    = 16 << 20
)

// kindsOf are the content types of --format. Lines are records of their own.
func kindsOf() map[string]string {
	return map[string]string{"lines": "text/plain; records=lines", "json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv",
		"cbor": "application/cbor", "bytes": "application/octet-stream"}
}

func (c *client) dataPut() *cobra.Command {
	var key, format, file string
	cmd := &cobra.Command{Use: "put NAME [TEXT...]", Short: "Put records: each TEXT, each line of standard input, or a file", Args: cobra.MinimumNArgs(1), ValidArgsFunction: c.dataNames(1),
		Example: "  penstock data put sensors --key kitchen '{\"t\":21.5}'\n" +
			"  tail -f app.log | penstock data put logs\n" +
			"  penstock data put trucks --format csv --key /truck --file positions.csv",
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, ok := kindsOf()[format]
			if !ok {
				return usageError{fmt.Errorf("format %q: not lines, json, ndjson, csv, cbor or bytes", format)}
			}
			in, done, err := c.t.records(file, args[1:])
			if err != nil {
				return err
			}
			defer done()
			p := &putter{c: c, path: dataPath(args[0]), query: url.Values{}, kind: kind}
			if key != "" {
				p.query.Set("key", key)
			}
			if err := c.settle(); err != nil {
				return err
			}
			if format == "lines" || format == "ndjson" {
				return p.lines(cmd.Context(), in)
			}
			return p.whole(cmd.Context(), in)
		}}
	cmd.Flags().StringVar(&key, "key", "", "partition key of all records, or a JSON pointer to it in each (/sensor/id); random when absent")
	cmd.Flags().StringVar(&format, "format", "lines", "lines, json, ndjson, csv, cbor or bytes")
	cmd.Flags().StringVar(&file, "file", "", "read this file instead of standard input")
	return cmd
}

// records is what to read records from: the words given, a file, or standard input.
func (t *terminal) records(file string, words []string) (io.Reader, func(), error) {
	switch {
	case len(words) > 0 && file != "":
		return nil, nil, usageError{errors.New("records on the command line and --file exclude each other")}
	case len(words) > 0:
		return strings.NewReader(strings.Join(words, "\n") + "\n"), func() {}, nil
	case file != "" && file != "-":
		f, err := os.Open(file)
		if err != nil {
			return nil, nil, err
		}
		return f, func() { _ = f.Close() }, nil // it was only read
	}
	return t.input(), func() {}, nil
}

// putter sends bodies to one data stream.
type putter struct {
	c      *client
	path   string
	query  url.Values
	kind   string
	wrote  bool
	stored int
}

// whole sends everything in one request.
func (p *putter) whole(ctx context.Context, in io.Reader) error {
	body, err := io.ReadAll(io.LimitReader(in, bodyMax+1))
	if err != nil {
		return err
	}
	if len(body) > bodyMax {
		return usageError{fmt.Errorf("more than %d MiB: send it in parts", bodyMax>>20)}
	}
	return p.send(ctx, body)
}

// lines sends lines as they come: what was read in a moment, in one request.
func (p *putter) lines(ctx context.Context, in io.Reader) error {
	lines, failed := make(chan []byte), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		scan := bufio.NewScanner(in)
		scan.Buffer(make([]byte, 64<<10), lineMax)
		for scan.Scan() {
			select {
			case lines <- append(bytes.Clone(scan.Bytes()), '\n'):
			case <-ctx.Done():
				return
			}
		}
		failed <- scan.Err()
		close(lines)
	}()
	var body []byte
	for n, open := 0, true; open; {
		var late <-chan time.Time
		if n > 0 {
			late = time.After(batchWait)
		}
		full := false
		select {
		case line, more := <-lines:
			body, open = append(body, line...), more
			n++
			full = n >= batchLines || len(body) >= batchBytes || !more
		case <-late:
			full = true
		case <-ctx.Done():
			return ctx.Err()
		}
		if full && len(bytes.TrimSpace(body)) > 0 {
			if err := p.send(ctx, body); err != nil {
				return err
			}
		}
		if full {
			body, n = body[:0], 0
		}
	}
	return <-failed
}

// send puts one body and prints where its records went.
func (p *putter) send(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	res, err := p.c.open(ctx, http.MethodPost, p.path, p.query, bytes.NewReader(body), http.Header{"Content-Type": {p.kind}})
	if err != nil {
		if p.stored > 0 {
			return partly{fmt.Errorf("%w; %d records before were stored", err, p.stored)}
		}
		return err
	}
	defer res.Body.Close()
	var answer struct{ Records []map[string]any }
	if err := json.NewDecoder(io.LimitReader(res.Body, answerLimit)).Decode(&answer); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	p.stored += len(answer.Records)
	return p.print(answer.Records)
}

// print writes rows at once; a table's head stands once above all of them.
func (p *putter) print(docs []map[string]any) error {
	row := func(d map[string]any) []string { return []string{text(d, "shard"), text(d, "sequence_number")} }
	if p.c.t.format != "table" {
		return p.c.t.print(nil, docs, row)
	}
	w := tabwriter.NewWriter(p.c.t.out, 0, 4, 3, ' ', 0)
	if !p.wrote {
		fmt.Fprintln(w, "SHARD\tSEQUENCE NUMBER")
		p.wrote = true
	}
	for _, d := range docs {
		fmt.Fprintln(w, strings.Join(row(d), "\t"))
	}
	return w.Flush()
}
