// Package s3 keeps objects in an S3-compatible store: a storage.Bucket over minio-go.
//
// It makes each request once: storage/retry repeats what can succeed later. An object of
// up to Config.PartSize is one PUT, so that a process that dies leaves no parts behind.
// Correctness never rests on conditional writes, which some servers answer with 200 and
// an overwrite: Probe finds out, and until it did, Put looks before it writes.
//
// Specification: Amazon S3 API Reference (PutObject, GetObject, ListObjectsV2,
// DeleteObjects, HeadObject).
package s3

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/internal/secret"
	"penstock/storage"
)

// maxPrefix bounds Config.Prefix: with the longest key it stays under S3's 1,024 bytes.
const maxPrefix = 400

// The bounds of a part, S3's own: 5 MiB to 5 GiB.
const (
	minPart = 5 << 20
	maxPart = 5 << 30
)

// Config says where the store is and who we are to it.
type Config struct {
	// Endpoint is "host:port", or a URL whose scheme then decides about TLS. Required.
	Endpoint  string
	Bucket    string // must exist; required
	Prefix    string // goes before each key, with a slash between; may be empty
	Region    string // "": us-east-1, which most compatible servers expect
	AccessKey string
	SecretKey secret.Text
	// PathStyle asks for http://host/bucket/key; otherwise only hosts known to need the
	// bucket in their name get it there.
	PathStyle bool
	TLS       bool
	CAFile    string // PEM file with further certificate authorities
	// Stall ends a request when no byte moved either way for so long. 0: 30 s.
	Stall time.Duration
	// PartSize is the largest object sent in one PUT, in bytes; a larger one is sent in
	// parts of this size, and needs an empty AbortIncompleteMultipartUpload rule on the
	// server to be tidied away when we die meanwhile. 0: 128 MiB.
	PartSize int64
	Dial     host.Dial // nil: net.Dialer with a timeout of 10 s
	Rand     io.Reader // names the probe's object; nil: crypto/rand
}

// Validate names the field that is wrong.
func (c Config) Validate() error {
	bad := func(text string) error {
		return fault.New(fault.Invalid, "open s3 bucket", c.Bucket, text)
	}
	switch {
	case c.Endpoint == "":
		return bad("Endpoint is empty")
	case c.Bucket == "":
		return bad("Bucket is empty")
	case c.AccessKey == "" != c.SecretKey.Empty():
		return bad("AccessKey and SecretKey come together")
	case len(c.Prefix) > maxPrefix:
		return bad(fmt.Sprintf("Prefix is longer than %d bytes", maxPrefix))
	case c.Prefix != "" && storage.CheckKey("", c.Prefix) != nil:
		return bad("Prefix: " + storage.CheckKey("prefix", c.Prefix).Error())
	case c.Stall < 0:
		return bad("Stall is negative")
	case c.PartSize != 0 && (c.PartSize < minPart || c.PartSize > maxPart):
		return bad("PartSize is not between 5 MiB and 5 GiB")
	}
	_, _, err := c.endpoint()
	return err
}

func (c Config) withDefaults() Config {
	c.Region = cmp.Or(c.Region, "us-east-1")
	c.Stall = cmp.Or(c.Stall, 30*time.Second)
	c.PartSize = cmp.Or(c.PartSize, 128<<20)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	return c
}

// endpoint splits Endpoint into host and whether to use TLS.
func (c Config) endpoint() (address string, secure bool, err error) {
	if !strings.Contains(c.Endpoint, "://") {
		return c.Endpoint, c.TLS, nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return "", false, fault.New(fault.Invalid, "open s3 bucket", c.Bucket, "Endpoint is not like https://host:port")
	}
	return u.Host, u.Scheme == "https", nil
}

// Bucket is a storage.Bucket. Its methods may be called at once.
type Bucket struct {
	cfg       Config
	prefix    string // "" or with its slash
	secure    bool
	client    *minio.Core
	transport *http.Transport
	// conditional is set once Probe saw the server honour If-None-Match.
	conditional atomic.Bool
}

var _ storage.Bucket = (*Bucket)(nil)

// Open reads the CA file and sends nothing yet: a server that is away now may be back
// when it is needed. Probe asks what it can do.
func Open(_ context.Context, cfg Config) (*Bucket, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	address, secure, err := cfg.endpoint()
	if err != nil {
		return nil, err
	}
	b := &Bucket{cfg: cfg, secure: secure}
	if cfg.Prefix != "" {
		b.prefix = cfg.Prefix + "/"
	}
	roots, err := authorities(cfg)
	if err != nil {
		return nil, err
	}
	b.transport = &http.Transport{
		DialContext:           stallDial(cfg.Dial, cfg.Stall),
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   cfg.Stall,
		ResponseHeaderTimeout: 2 * cfg.Stall, // the stall of the connection comes first
		IdleConnTimeout:       cfg.Stall / 2,
		MaxIdleConnsPerHost:   16,
		DisableCompression:    true, // objects come back as they are
	}
	lookup := minio.BucketLookupAuto
	if cfg.PathStyle {
		lookup = minio.BucketLookupPath
	}
	b.client, err = minio.NewCore(address, &minio.Options{
		Creds:        credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey.Reveal(), ""),
		Secure:       secure,
		Transport:    sized{b.transport},
		Region:       cfg.Region,
		BucketLookup: lookup,
		MaxRetries:   1,
	})
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "open s3 bucket", cfg.Bucket, err)
	}
	return b, nil
}

func authorities(cfg Config) (*x509.CertPool, error) {
	if cfg.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(cfg.CAFile)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "read CAFile", cfg.CAFile, err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fault.New(fault.Invalid, "read CAFile", cfg.CAFile, "it holds no PEM certificate")
	}
	return pool, nil
}

// String names the store without its keys.
func (b *Bucket) String() string {
	address, secure, _ := b.cfg.endpoint()
	scheme := "http"
	if secure {
		scheme = "https"
	}
	return scheme + "://" + address + "/" + b.cfg.Bucket + "/" + b.prefix
}

// Close closes the idle connections; twice is fine.
func (b *Bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

// sized sends "Content-Length: 0" with an empty object. minio-go hands over an empty body
// without saying so, which net/http would send chunked, and S3 refuses that.
type sized struct{ next http.RoundTripper }

// RoundTrip sends the request.
func (s sized) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody && req.ContentLength == 0 {
		if err := req.Body.Close(); err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = http.NoBody
	}
	return s.next.RoundTrip(req)
}

// stallDial makes connections that fail when nothing moves for d.
func stallDial(dial host.Dial, d time.Duration) host.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &stallConn{c, d}, nil
	}
}

// stallConn moves its deadline on with every byte. A write moves the reading deadline
// too: while a body goes out, net/http already waits for the answer.
type stallConn struct {
	net.Conn
	d time.Duration
}

// Read waits at most d past the last movement.
func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.d)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write writes p in pieces, each of which may take d.
func (c *stallConn) Write(p []byte) (int, error) {
	const piece = 64 << 10
	total := 0
	for {
		if err := c.SetDeadline(time.Now().Add(c.d)); err != nil {
			return total, err
		}
		n, err := c.Conn.Write(p[:min(len(p), piece)])
		total, p = total+n, p[n:]
		if err != nil || len(p) == 0 {
			return total, err
		}
	}
}
