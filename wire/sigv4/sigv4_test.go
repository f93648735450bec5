package sigv4_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/wire/sigv4"
)

type vectors struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
	Region    string
	Service   string
	Vectors   []vector
}

type vector struct {
	Name            string
	Kind            string
	Method          string
	Path            string
	URL             string
	SignedHeaders   map[string]string `json:"signed_headers"`
	UnsignedHeaders map[string]string `json:"unsigned_headers"`
	Body            *string
	Authorization   string
}

func load(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/sigv4.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Vectors) < 6 {
		t.Fatalf("%d vectors", len(v.Vectors))
	}
	return v
}

// wireText is the request as it goes over the wire, read back by net/http as a server does.
func (v vector) wireText() string {
	var b strings.Builder
	if v.Kind == "query" {
		u, _ := url.Parse(v.URL)
		fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n", u.RequestURI(), u.Host)
		return b.String() + "\r\n"
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", v.Method, v.Path)
	headers := map[string]string{"authorization": v.Authorization}
	for k, val := range v.SignedHeaders {
		headers[k] = val
	}
	for k, val := range v.UnsignedHeaders {
		headers[k] = val
	}
	var names []string
	for k := range headers {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		fmt.Fprintf(&b, "%s: %s\r\n", k, headers[k])
	}
	b.WriteString("\r\n")
	if v.Body != nil {
		b.WriteString(*v.Body)
	}
	return b.String()
}

func (v vector) body() []byte {
	if v.Body == nil {
		if v.Kind == "query" {
			return []byte{}
		}
		return nil // endless
	}
	return []byte(*v.Body)
}

func read(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func at(seconds int) time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

func verify(r *http.Request, body []byte, secret string, now time.Time) error {
	s, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	return s.Verify(secret, s.Payload(body), now)
}

func TestVectors(t *testing.T) {
	all := load(t)
	for _, v := range all.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			r := read(t, v.wireText())
			if !sigv4.Present(r) {
				t.Fatal("no signature seen")
			}
			s, err := sigv4.Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			if s.AccessKey != all.AccessKey || s.Region != all.Region || s.Service != all.Service || !s.Date.Equal(at(0)) || s.Presigned != (v.Kind == "query") {
				t.Errorf("%+v", s)
			}
			if err := s.Verify(all.SecretKey, s.Payload(v.body()), at(10)); err != nil {
				t.Error(err)
			}
			if err := s.Verify(all.SecretKey+"x", s.Payload(v.body()), at(10)); !fault.Is(err, fault.Unauthentic) {
				t.Errorf("another secret: %v", err)
			}
		})
	}
}

// TestEverySignedPartCounts alters each signed header's value, method, path, query and
// body by one byte.
func TestEverySignedPartCounts(t *testing.T) {
	all := load(t)
	for _, v := range all.Vectors {
		refused := func(what string, r *http.Request, body []byte) {
			t.Helper()
			if err := verify(r, body, all.SecretKey, at(10)); err == nil {
				t.Errorf("%s: %s altered and accepted", v.Name, what)
			}
		}
		r := read(t, v.wireText())
		r.Method += "X"
		refused("method", r, v.body())
		r = read(t, v.wireText())
		r.URL.Path += "x"
		r.URL.RawPath = ""
		refused("path", r, v.body())
		r = read(t, v.wireText())
		r.Host += "x"
		refused("host", r, v.body())
		for name := range v.SignedHeaders {
			switch name {
			case "host", "transfer-encoding", "connection":
				continue // net/http reads these itself
			}
			value := r.Header.Get(name)
			for i := range value {
				r := read(t, v.wireText())
				changed := []byte(value)
				changed[i] ^= 1
				r.Header.Set(name, string(changed))
				refused(fmt.Sprintf("%s byte %d", name, i), r, v.body())
			}
			r := read(t, v.wireText())
			r.Header.Del(name)
			refused(name+" left out", r, v.body())
		}
		if v.Kind == "query" {
			raw := read(t, v.wireText()).URL.RawQuery
			for i := range raw {
				r := read(t, v.wireText())
				changed := []byte(raw)
				changed[i] ^= 1
				if before, _ := url.QueryUnescape(raw); before != "" {
					if after, err := url.QueryUnescape(string(changed)); err == nil && after == before {
						continue // the case of a hexadecimal digit
					}
				}
				r.URL.RawQuery = string(changed)
				refused(fmt.Sprintf("query byte %d (%c)", i, raw[i]), r, v.body())
			}
			r := read(t, v.wireText())
			r.URL.RawQuery += "&extra=1"
			refused("query longer", r, v.body())
		}
		if v.Body != nil {
			for i := range v.body() {
				body := []byte(*v.Body)
				body[i] ^= 1
				refused(fmt.Sprintf("body byte %d", i), read(t, v.wireText()), body)
			}
			refused("body left unread", read(t, v.wireText()), nil)
		}
	}
}

func TestTime(t *testing.T) {
	all := load(t)
	header, query := all.Vectors[0], all.Vectors[4]
	for _, c := range []struct {
		v       vector
		seconds int
		want    string
	}{
		{header, 0, ""}, {header, 300, ""}, {header, -300, ""},
		{header, 301, "Signature expired"}, {header, -301, "Signature not yet current"},
		{query, 299, ""}, {query, 301, "Signature expired"}, {query, -301, "Signature not yet current"},
	} {
		err := verify(read(t, c.v.wireText()), c.v.body(), all.SecretKey, at(c.seconds))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s at %d s: %v, want %q", c.v.Name, c.seconds, err, c.want)
		}
	}
}

func TestASignatureOverAHashIsNoSignatureOverABody(t *testing.T) {
	all := load(t)
	v := all.Vectors[0]
	r := read(t, v.wireText())
	r.Header.Set("X-Amz-Content-Sha256", sigv4.Unsigned)
	if _, err := sigv4.Parse(r); !fault.Is(err, fault.Invalid) {
		t.Errorf("an unsigned payload header: %v", err)
	}
}

func TestSignaturesThatCannotBeRead(t *testing.T) {
	good := load(t).Vectors[0]
	for name, change := range map[string]func(*http.Request){
		"no date":          func(r *http.Request) { r.Header.Del("X-Amz-Date") },
		"another day":      func(r *http.Request) { r.Header.Set("X-Amz-Date", "20260103T030405Z") },
		"no scope":         auth(good, "/us-west-2/kinesisvideo/aws4_request", ""),
		"other terminator": auth(good, "aws4_request", "aws5_request"),
		"host not signed":  auth(good, "host;", ""),
		"unsorted":         auth(good, "host;user-agent", "user-agent;host"),
		"doubled":          auth(good, "host;", "host;host;"),
		"short signature":  auth(good, "Signature=38", "Signature="),
		"a field twice":    auth(good, "SignedHeaders=", "Signature=x, SignedHeaders="),
		"no fields":        func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256") },
		"too long":         func(r *http.Request) { r.Header.Set("Authorization", good.Authorization+strings.Repeat(" ", 9000)) },
		"target unsigned":  func(r *http.Request) { r.Header.Set("X-Amz-Target", "Kinesis_20131202.PutRecord") },
	} {
		r := read(t, good.wireText())
		change(r)
		if _, err := sigv4.Parse(r); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func auth(v vector, from, to string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", strings.Replace(v.Authorization, from, to, 1)) }
}

func FuzzParse(f *testing.F) {
	for _, v := range load(f).Vectors {
		r := read(f, v.wireText())
		f.Add(v.Authorization, r.URL.RawQuery, "20260102T030405Z")
	}
	f.Fuzz(func(t *testing.T, authorization, query, date string) {
		r := &http.Request{Method: "POST", Host: "h", URL: &url.URL{Path: "/x", RawQuery: query}, Header: http.Header{}}
		r.Header.Set("Authorization", authorization)
		r.Header.Set("X-Amz-Date", date)
		s, err := sigv4.Parse(r)
		if err != nil {
			return
		}
		if s.Verify("fuzz", s.Payload([]byte("body")), s.Date) == nil {
			t.Error("a signature by nobody was accepted")
		}
	})
}
