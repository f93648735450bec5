package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/cmd/penstock/capacity"
	"penstock/internal/fault"
	"penstock/internal/loadgen"
	"penstock/internal/quantity"
	"penstock/wire/sigv4"
)

// Limits of PutRecords (KDS PutRecords), and of this program's memory: it holds some
// requests of each kind.
const (
	putBatchMost = 500
	putBytesMost = 9 << 20
	recordMost   = 1 << 20
)

// putBench is `penstock bench put`.
type putBench struct {
	bench
	conns, batch, shards int
	size                 bytesize
	cbor                 bool
	stream               string
}

func benchPut(t *terminal) *cobra.Command {
	b := &putBench{bench: bench{client: &client{t: t}, duration: "10s"}, size: loadgen.DefaultRecord}
	cmd := &cobra.Command{Use: "put", Short: "Put data records as fast as they become durable", Args: cobra.NoArgs,
		Long: "Puts data records with signed PutRecords (PutRecord with --batch 1), each connection one after the other, into a\n" +
			"data stream of its own that goes afterwards, or the one that --stream names, where they stay.\n\n" +
			"An answer comes when its records are durable. Requests are signed with the access key in AWS_ACCESS_KEY_ID and\n" +
			"AWS_SECRET_ACCESS_KEY where that is one of Penstock's (PSAK...); with the token of an admin alone a key that may do\n" +
			"nothing but this is made for the while.",
		Example: "  penstock bench put\n  penstock bench put --batch 1 --conns 256\n  penstock bench put --server https://penstock.example:8080 --yes -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.run(cmd.Context())
		}}
	b.bind(cmd, true)
	cmd.Flags().IntVar(&b.conns, "conns", 16, "connections, each with one request under way")
	cmd.Flags().IntVar(&b.batch, "batch", 500, "records of a request; 1: PutRecord")
	cmd.Flags().Var(&b.size, "size", "bytes of a record")
	cmd.Flags().BoolVar(&b.cbor, "cbor", false, "CBOR, as the KPL and the SDK for Java send, and not JSON")
	cmd.Flags().IntVar(&b.shards, "shards", 0, "shards of the stream, with Amazon's limits each; 0: on demand, which has no such limits")
	cmd.Flags().StringVar(&b.stream, "stream", "", "put into this data stream; the records stay there")
	must(cmd.RegisterFlagCompletionFunc("stream", b.dataNames(0)))
	return cmd
}

// load checks what was asked for.
func (b *putBench) load() (l loadgen.PutLoad, window time.Duration, err error) {
	l = loadgen.PutLoad{Conns: b.conns, Batch: b.batch, Codec: loadgen.JSON(), Size: int(min(int64(b.size), recordMost+1))}
	if b.cbor {
		l.Codec = loadgen.CBOR()
	}
	window, err = b.duration.window()
	switch err := cmp.Or(err, within("conns", b.conns, 1, benchMany), within("batch", b.batch, 1, putBatchMost),
		within("size", l.Size, 1, recordMost), within("shards", b.shards, 0, benchMany)); {
	case err != nil:
		return l, 0, err
	case l.Batch*l.Size > putBytesMost:
		return l, 0, usageError{fmt.Errorf("%d records of %s are more than a request may have: 9 MiB", l.Batch, quantity.Bytes(int64(l.Size)))}
	case b.stream != "" && b.shards != 0:
		return l, 0, usageError{errors.New("--stream and --shards exclude each other: that stream has its shards")}
	}
	return l, window, nil
}

func (b *putBench) run(ctx context.Context) (err error) {
	l, window, err := b.load()
	if err != nil {
		return err
	}
	tg, done, err := b.target(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	stream := cmp.Or(b.stream, benchName())
	signer, revoke, err := tg.signer(ctx, stream)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, revoke()) }()
	e, err := tg.endpoint(signer)
	if err != nil {
		return err
	}
	if b.stream == "" {
		if err := b.create(ctx, tg, e, stream); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, tg.dropData(ctx, e, stream)) }()
	}
	f := &putFigures{l: l, tg: tg, stream: b.stream, window: window}
	if err := f.measure(ctx, e, stream); err != nil {
		return err
	}
	if err := tg.t.findings(f.rows(), f.verdict(), f.document()); err != nil {
		return err
	}
	return f.refused()
}

// signer proves who puts: the caller's access key, or one that is made of the caller's token
// and may do nothing but this.
func (tg *target) signer(ctx context.Context, stream string) (s *sigv4.Signer, revoke func() error, err error) {
	env := func(name string) string { v, _ := tg.t.env(name); return v }
	s = &sigv4.Signer{Region: defaults().Region, Service: "kinesis", AccessKey: env("AWS_ACCESS_KEY_ID"), Secret: env("AWS_SECRET_ACCESS_KEY")}
	none := func() error { return nil }
	switch {
	case tg.own != nil:
		s.AccessKey, s.Secret = tg.own.key.ID, tg.own.key.Secret.Reveal()
		return s, none, nil
	case strings.HasPrefix(s.AccessKey, "PSAK") && s.Secret != "":
		s.Region = cmp.Or(env("AWS_REGION"), env("AWS_DEFAULT_REGION"), s.Region)
		return s, none, nil
	}
	var made struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	err = tg.call(ctx, http.MethodPost, "/v1/keys", nil, map[string]any{"name": "penstock bench", "role": "operator", "streams": []string{stream}, "ttl": "2h"}, &made)
	if fault.Is(err, fault.Denied) {
		return nil, nil, fault.New(fault.Denied, "sign requests", "", "a token does not, and this one may not make a key that does").
			WithHint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which `penstock key create` printed beside the token")
	}
	if err != nil {
		return nil, nil, err
	}
	s.AccessKey, s.Secret = made.ID, made.Secret
	return s, func() error {
		ctx, cancel := tidy(ctx)
		defer cancel()
		return tg.call(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(made.ID), nil, nil, nil)
	}, nil
}

// endpoint is where requests go.
func (tg *target) endpoint(s *sigv4.Signer) (*loadgen.Endpoint, error) {
	u, err := url.Parse(tg.server)
	if err != nil {
		return nil, err
	}
	e := &loadgen.Endpoint{Address: u.Host, Host: u.Host, Signer: s}
	if u.Port() == "" {
		e.Address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	if u.Scheme == "https" {
		e.Dial = tg.dialTLS
	}
	return e, nil
}

// dialTLS opens a connection to a server that is trusted as the client's settings say.
func (c *client) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	return (&tls.Dialer{Config: c.tlsConfig()}).DialContext(ctx, network, address)
}

// tlsConfig is the client's trust, for protocols that are not its HTTP.
func (c *client) tlsConfig() *tls.Config {
	if t, ok := c.http.Transport.(*http.Transport); ok && t != nil && t.TLSClientConfig != nil {
		return &tls.Config{RootCAs: t.TLSClientConfig.RootCAs, MinVersion: tls.VersionTLS12}
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}

// create makes the data stream, once it is sure that it can be removed again.
func (b *putBench) create(ctx context.Context, tg *target, e *loadgen.Endpoint, stream string) error {
	var refused *loadgen.Refusal
	if err := e.DeleteStream(ctx, stream); err == nil || !errors.As(err, &refused) || refused.Code != "ResourceNotFoundException" {
		return tg.refusedBy(err, "delete data stream", stream)
	}
	_, err := e.CreateStream(ctx, stream, b.shards)
	if err != nil && ctx.Err() != nil { // it may be there
		return errors.Join(ctx.Err(), tg.dropData(ctx, e, stream))
	}
	return tg.refusedBy(err, "create data stream", stream)
}

// dropData deletes the data stream that was made.
func (tg *target) dropData(ctx context.Context, e *loadgen.Endpoint, stream string) error {
	if tg.own != nil {
		return nil // it goes with all its data
	}
	ctx, cancel := tidy(ctx)
	defer cancel()
	err := e.DeleteStream(ctx, stream)
	var refused *loadgen.Refusal
	if errors.As(err, &refused) && refused.Code == "ResourceNotFoundException" {
		return nil
	}
	if err != nil {
		return &fault.Error{Kind: fault.KindOf(err), Op: "delete data stream", Resource: stream, Err: err, Hint: "penstock data rm " + stream}
	}
	return nil
}

// refusedBy words what a server of the AWS wire answered.
func (tg *target) refusedBy(err error, op, stream string) error {
	var refused *loadgen.Refusal
	if !errors.As(err, &refused) {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			return tg.unreached(err)
		}
		return err
	}
	kind, hint := fault.Internal, ""
	switch refused.Code {
	case "ResourceNotFoundException":
		kind, hint = fault.NotFound, "penstock data ls"
	case "AccessDeniedException", "NotAuthorizedException":
		kind, hint = fault.Denied, "use a key of the role operator or admin, or name a stream that it may put to with --stream"
	case "UnrecognizedClientException", "InvalidSignatureException", "MissingAuthenticationTokenException", "IncompleteSignatureException":
		kind, hint = fault.Unauthentic, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are those of a key that this server knows"
	case "LimitExceededException":
		kind, hint = fault.Throttled, "penstock data ls"
	}
	return &fault.Error{Kind: kind, Op: op, Resource: stream, Err: errors.New(refused.Code + ": " + refused.Message), Hint: hint}
}

// putFigures are what was measured.
type putFigures struct {
	l      loadgen.PutLoad
	tg     *target
	stream string // that was named
	window time.Duration
	tally  *loadgen.Tally
	meter  *meter
	shards int
}

func (f *putFigures) measure(ctx context.Context, e *loadgen.Endpoint, stream string) (err error) {
	stop := f.tg.t.progress(ctx, f.l.String(), f.window+loadgen.WarmUp)
	f.tally, err = e.Put(ctx, stream, f.l, f.window, func(end bool) {
		if end {
			f.meter.end(ctx)
			return
		}
		f.meter = f.tg.begin(ctx)
	})
	stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return f.tg.refusedBy(err, "put into data stream", stream)
	}
	if s, err := e.Describe(ctx, stream); err == nil { // who may put need not describe
		f.shards = s.OpenShardCount
	}
	return nil
}

// refused is the outcome when not all records were taken.
func (f *putFigures) refused() error {
	n := f.tally.RefusedRecords()
	if n == 0 {
		return nil
	}
	hint := "the server's log says why"
	if f.tally.Refused["ProvisionedThroughputExceededException"] > 0 {
		hint = "give the stream more shards, or leave --shards away: on demand it has no such limits"
	}
	return partly{&fault.Error{Kind: fault.Throttled, Err: fmt.Errorf("%s of %s records were refused: %s", capacity.Count(float64(n)),
		capacity.Count(float64(n+f.tally.Records)), strings.Join(slices.Sorted(maps.Keys(f.tally.Refused)), ", ")), Hint: hint}}
}

func (f *putFigures) bytes() float64 { return f.tally.Rate() * float64(f.l.Record()) }

func (f *putFigures) calls() float64 { return float64(len(f.tally.Waits)) / f.tally.Seconds }

func (f *putFigures) wait(q float64) float64 { return loadgen.Quantile(f.tally.Waits, q) }

func (f *putFigures) rows() [][2]string {
	rows := [][2]string{
		{"load", fmt.Sprintf("%s, %s bytes each, %s", f.l, capacity.Count(float64(f.l.Record())), f.window)},
		{"server", f.tg.where()},
		{"records", fmt.Sprintf("%s/s, %s/s, durable", capacity.Count(f.tally.Rate()), quantity.Bytes(int64(f.bytes())))},
		{"calls", fmt.Sprintf("%s/s", capacity.Count(f.calls()))},
		{"wait of a call", fmt.Sprintf("p50 %s, p95 %s, p99 %s, max %s", ms(f.wait(0.5)), ms(f.wait(0.95)), ms(f.wait(0.99)), ms(f.wait(1)))},
	}
	for _, code := range slices.Sorted(maps.Keys(f.tally.Refused)) {
		rows = append(rows, [2]string{"refused", capacity.Count(float64(f.tally.Refused[code])) + " records: " + cut(code, 48)})
	}
	if f.shards > 0 {
		rows = append(rows, [2]string{"shards", capacity.Count(float64(f.shards))})
	}
	return append(rows, f.meter.row(), f.memory())
}

func (f *putFigures) memory() [2]string {
	if !f.meter.known {
		return [2]string{"memory", "-"}
	}
	return [2]string{"memory", "server " + quantity.Bytes(int64(f.meter.server.RSS))}
}

func (f *putFigures) verdict() capacity.Verdict {
	shares := f.meter.cpu()
	if f.meter.known {
		shares = append(shares, capacity.Share{Bound: capacity.Sync, Used: f.meter.server.LaneSync,
			Words: fmt.Sprintf("the disk's syncs: the server waits for them %.0f %% of the time", 100*min(1, f.meter.server.LaneSync))})
	}
	if n := f.tally.RefusedRecords(); n > 0 {
		shares = append(shares, capacity.Share{Bound: capacity.Limits, Used: 1, Words: "what the shards or the server allow: records were refused"})
	}
	v := capacity.Judge(shares, capacity.Share{Bound: capacity.Waiting,
		Words: "nothing is used up: each connection waits for its answer (more --conns ask for more)"})
	v.Words = fmt.Sprintf("%s records/s, %s/s. What ends first is %s.", capacity.Count(f.tally.Rate()), quantity.Bytes(int64(f.bytes())), v.Words)
	if v.Bound == capacity.Waiting {
		v.Words = strings.Replace(v.Words, "What ends first is nothing is", "Nothing is", 1)
	}
	return v
}

func (f *putFigures) document() map[string]any {
	refused := map[string]any{}
	for code, n := range f.tally.Refused {
		refused[code] = n
	}
	d := map[string]any{
		"bench": "put", "server": f.tg.where(), "own": f.tg.own != nil, "operation": f.l.Op(), "encoding": f.l.Codec.Name,
		"connections": f.l.Conns, "batch": f.l.Batch, "record_bytes": f.l.Record(), "seconds": loadgen.Rounded(f.tally.Seconds),
		"records": f.tally.Records, "records_per_s": loadgen.Rounded(f.tally.Rate()), "bytes_per_s": loadgen.Rounded(f.bytes()),
		"calls": len(f.tally.Waits), "calls_per_s": loadgen.Rounded(f.calls()), "sent_bytes": f.tally.Sent, "refused": refused, "shards": f.shards,
		"wait_ms": map[string]any{"p50": loadgen.Rounded(f.wait(0.5)), "p95": loadgen.Rounded(f.wait(0.95)), "p99": loadgen.Rounded(f.wait(0.99)), "max": loadgen.Rounded(f.wait(1))},
		"usage":   f.meter.document(),
	}
	if f.stream != "" {
		d["stream"] = f.stream
	}
	if f.meter.known {
		d["disk_busy"] = loadgen.Rounded(f.meter.server.LaneSync)
	}
	return d
}
