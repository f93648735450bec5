package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
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
	context       string // a saved one
	caFile        string
	settled       bool
	http          *http.Client
}

// bind adds the flags that all client commands share.
func (c *client) bind(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&c.server, "server", "", "`URL` of the server (PENSTOCK_SERVER; http://127.0.0.1:8080)")
	cmd.PersistentFlags().StringVar(&c.token, "token", "", "bearer `TOKEN` of a key (better: PENSTOCK_TOKEN, or a saved context)")
	cmd.PersistentFlags().StringVar(&c.context, "context", "", "`NAME` of a saved server (PENSTOCK_CONTEXT; see penstock context)")
	cmd.PersistentFlags().StringVar(&c.caFile, "ca-file", "", "`FILE` with an authority, or self-signed certificate, to trust too (PENSTOCK_CA_FILE)")
	must(cmd.RegisterFlagCompletionFunc("context", c.t.completeContexts))
}

// settle fills in what no flag said: from the environment, then from a saved context. A
// context that a flag names goes before the environment. The token of a context is for
// its own server alone.
func (c *client) settle() error {
	if c.settled {
		return nil
	}
	named := c.context != ""
	if !named {
		c.overlay("PENSTOCK_SERVER", &c.server)
		c.overlay("PENSTOCK_TOKEN", &c.token)
		c.overlay("PENSTOCK_CA_FILE", &c.caFile)
		c.overlay("PENSTOCK_CONTEXT", &c.context)
	}
	if named || c.server == "" {
		if err := c.recall(); err != nil {
			return err
		}
	}
	c.server = strings.TrimRight(cmp.Or(c.server, "http://"+defaults().HTTP), "/")
	if u, err := url.Parse(c.server); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usageError{fault.New(fault.Invalid, "read server", strconv.Quote(c.server), "it is no URL").WithHint("--server http://HOST:8080")}
	}
	c.http = http.DefaultClient
	if c.caFile != "" {
		var err error
		if c.http, err = trusting(c.caFile); err != nil {
			return fmt.Errorf("read certificates to trust: %w", err)
		}
	}
	c.settled = true
	return nil
}

func (c *client) overlay(name string, field *string) {
	if *field == "" {
		*field, _ = c.t.env(name)
	}
}

// recall takes what is missing from the saved context.
func (c *client) recall() error {
	saved, err := c.t.readContexts()
	if err != nil {
		return err
	}
	if c.context == "" {
		c.context = saved.Use
	}
	if c.context == "" {
		return nil
	}
	from, err := saved.find(c.context)
	if err != nil {
		return err
	}
	if c.server != "" && strings.TrimRight(c.server, "/") != from.Server {
		return usageError{fmt.Errorf("--server %s: the context %s is of %s", c.server, c.context, from.Server)}
	}
	c.server = from.Server
	c.token, c.caFile = cmp.Or(c.token, from.Token), cmp.Or(c.caFile, from.CAFile)
	return nil
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
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreached(err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, c.refusal(res, method+" "+path)
}

// unreached tells why a request got no answer. What a request is for may be in its
// address, so that is left out.
func (c *client) unreached(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err
	}
	e := &fault.Error{Kind: fault.Unavailable, Op: "reach", Resource: c.server, Err: err}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		e.Hint = "trust its certificate with --ca-file FILE: a self-signed one is tls/cert.pem in the data directory"
	}
	return unreachable{e}
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
		err := fmt.Errorf("%s: the server answered %s", what, res.Status)
		switch res.StatusCode {
		case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout: // a proxy, before a server that is gone
			return unreachable{err}
		}
		if strings.Contains(string(text), "HTTP request to an HTTPS server") { // net/http says so
			return &fault.Error{Kind: fault.Invalid, Err: err, Hint: "--server https" + strings.TrimPrefix(c.server, "http")}
		}
		return err
	}
	e := fault.New(kinds[body.Error.Code], "", "", body.Error.Message).WithHint(body.Error.Hint)
	if e.Kind == fault.Unauthentic && c.token == "" {
		return e.WithHint("save what `penstock key create` printed with `penstock context add`, or set PENSTOCK_TOKEN")
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
