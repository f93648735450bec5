package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/internal/fault"
)

// answerLimit bounds what a server may answer a command with, clips aside.
const answerLimit = 64 << 20

// client talks to a running server's native API.
type client struct {
	t             *terminal
	server, token string
	format        string
}

// bind adds the flags that all client commands share.
func (c *client) bind(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&c.server, "server", "", "URL of the server (PENSTOCK_SERVER; http://127.0.0.1:8080)")
	cmd.PersistentFlags().StringVar(&c.token, "token", "", "bearer token (PENSTOCK_TOKEN)")
	cmd.PersistentFlags().StringVarP(&c.format, "output", "o", "table", "table, json, jsonl, yaml or name")
}

// settle fills in from the environment what no flag said.
func (c *client) settle() error {
	if c.server == "" {
		c.server, _ = c.t.env("PENSTOCK_SERVER")
	}
	if c.server == "" {
		c.server = "http://" + defaults().HTTP
	}
	c.server = strings.TrimRight(c.server, "/")
	if c.token == "" {
		c.token, _ = c.t.env("PENSTOCK_TOKEN")
	}
	switch c.format {
	case "table", "json", "jsonl", "yaml", "name":
		return nil
	}
	return usageError{fmt.Errorf("output %q: not table, json, jsonl, yaml or name", c.format)}
}

// open sends a request and returns the answer's body once its status is good. A body
// that is an io.Reader is sent as it is, all others as JSON.
func (c *client) open(ctx context.Context, method, path string, query url.Values, body any, header http.Header) (*http.Response, error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	r, streamed := body.(io.Reader)
	if body != nil && !streamed {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(text)
	}
	address := c.server + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, r)
	if err != nil {
		return nil, usageError{fmt.Errorf("server %q: %w", c.server, err)}
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, unreachable{fmt.Errorf("reach %s: %w", c.server, err)}
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, c.refusal(res, method+" "+path)
}

// kinds of the codes that the native API sends.
var kinds = map[string]fault.Kind{
	"invalid": fault.Invalid, "not_found": fault.NotFound, "in_use": fault.InUse, "throttled": fault.Throttled, "denied": fault.Denied,
	"unauthenticated": fault.Unauthentic, "expired": fault.Expired, "unavailable": fault.Unavailable,
}

func (c *client) refusal(res *http.Response, what string) error {
	var body struct {
		Error struct{ Code, Message, Hint string }
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, answerLimit))
	if err != nil || json.Unmarshal(text, &body) != nil || body.Error.Code == "" {
		return fmt.Errorf("%s: the server answered %s", what, res.Status)
	}
	e := fault.New(kinds[body.Error.Code], "", "", body.Error.Message).WithHint(body.Error.Hint)
	if e.Kind == fault.Unauthentic && c.token == "" {
		return e.WithHint("pass --token, or set PENSTOCK_TOKEN, with what `penstock key create` printed")
	}
	return e
}

// call sends a request and decodes its answer into v, which may be nil.
func (c *client) call(ctx context.Context, method, path string, query url.Values, body, v any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	res, err := c.open(ctx, method, path, query, body, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if v == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, answerLimit)).Decode(v); err != nil {
		return fmt.Errorf("read answer of %s: %w", path, err)
	}
	return nil
}

func streamPath(name string, more ...string) string {
	return "/v1/streams/" + url.PathEscape(name) + strings.Join(more, "")
}
