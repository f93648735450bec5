// Package transcript replays wire transcripts in tests: txtar archives of requests, each
// followed by the exact answer.
//
// A file whose name is not "answer" is a request: request line, headers, an empty line,
// the body (its last line break does not belong to it). Content-Length and Host are added.
// Three headers are for the replay alone and are not sent:
//
//	Signed: yes       adds a signature that has all its parts, or what Config.Sign adds
//	Body: cbor        the body is JSON and sent as CBOR; {"$bytes":"6869"} is a byte string,
//	                  {"$ms":1700000000123} an instant
//	Body: hex         the body is hexadecimal, spaces and line breaks are ignored
//
// The answer shows the headers that matter in the order of their names; request ids and
// dates are shown as their form, CBOR in diagnostic notation (RFC 8949 §8), event streams
// message by message, other bytes that are no text in hexadecimal. With -update the answers are rewritten, for a person
// to review.
package transcript

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/tools/txtar"

	"penstock/wire/eventstream"
)

// Config says how to replay.
type Config struct {
	Handler http.Handler
	// Sign signs a request that says "Signed: yes". nil: a form without substance.
	Sign func(r *http.Request, body []byte)
	// Remember finds, by the first group of an expression, what an answer says and no run
	// says again: the value is shown as $NAME, and $NAME in a later request of the archive
	// stands for the newest one.
	Remember map[string]*regexp.Regexp
	// Update rewrites the answers.
	Update bool
}

// Update reports whether the test was run with -update, a flag that the test declares.
func Update() bool {
	f := flag.Lookup("update")
	return f != nil && f.Value.String() == "true"
}

// answerWait bounds how long an answer may take.
const answerWait = 10 * time.Second

// Run replays every archive that pattern matches, each as a subtest. All requests of one
// archive go to the same handler, in order.
func Run(t *testing.T, c Config, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts match %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { run(t, c, file) })
	}
}

func run(t *testing.T, c Config, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(c.Handler)
	defer server.Close()
	known := map[string]string{}
	for i := 0; i < len(archive.Files); i++ {
		request := archive.Files[i]
		if request.Name == "answer" {
			continue
		}
		if i+1 == len(archive.Files) || archive.Files[i+1].Name != "answer" {
			if !c.Update {
				t.Fatalf("%s: %q has no answer", file, request.Name)
			}
			archive.Files = append(archive.Files[:i+1], append([]txtar.File{{Name: "answer"}}, archive.Files[i+1:]...)...)
		}
		got, err := ask(c, server.Listener.Addr().String(), []byte(recall(string(request.Data), known)))
		if err != nil {
			t.Fatalf("%s: %s: %v", file, request.Name, err)
		}
		got = remember(c, got, known)
		want := string(archive.Files[i+1].Data)
		if got == want {
			continue
		}
		if c.Update {
			archive.Files[i+1].Data = []byte(got)
			continue
		}
		t.Errorf("%s: %s\n--- is\n%s--- should be\n%s", file, request.Name, got, want)
	}
	if c.Update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends one request over its own connection and returns the answer as text.
func ask(c Config, address string, text []byte) (string, error) {
	request, err := wire(c, text)
	if err != nil {
		return "", err
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerWait)); err != nil {
		return "", err
	}
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	method, _, _ := strings.Cut(string(request), " ")
	r, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	return show(r, body), nil
}

// recall puts what is known into a request.
func recall(text string, known map[string]string) string {
	for name, value := range known {
		text = strings.ReplaceAll(text, "$"+name, value)
	}
	return text
}

// remember notes what an answer says, and shows its names in place of the values.
func remember(c Config, answer string, known map[string]string) string {
	for name, find := range c.Remember {
		for _, m := range find.FindAllStringSubmatch(answer, -1) {
			known[name] = m[1]
			answer = strings.ReplaceAll(answer, m[1], "$"+name)
		}
	}
	return answer
}

// wire turns a request's text into what is sent.
func wire(c Config, text []byte) ([]byte, error) {
	head, body, _ := bytes.Cut(text, []byte("\n\n"))
	body = bytes.TrimSuffix(body, []byte("\n"))
	lines := strings.Split(strings.TrimSuffix(string(head), "\n"), "\n")
	method, path, ok := strings.Cut(lines[0], " ")
	if path, _, _ = strings.Cut(path, " "); !ok || path == "" {
		return nil, fmt.Errorf("no request line: %q", lines[0])
	}
	r, err := http.NewRequest(method, "http://penstock.test"+path, nil)
	if err != nil {
		return nil, err
	}
	signed := false
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "Signed":
			signed = true
		case "Body":
			if body, err = encode(strings.TrimSpace(value), body); err != nil {
				return nil, err
			}
		default:
			r.Header.Add(name, value)
		}
	}
	if signed && c.Sign != nil {
		c.Sign(r, body)
	} else if signed {
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=00")
		r.Header.Set("X-Amz-Date", "20260101T000000Z")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: penstock.test\r\nConnection: close\r\n", method, path)
	if len(body) > 0 || method == http.MethodPost {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	if err := r.Header.Write(&b); err != nil {
		return nil, err
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes(), nil
}

func encode(kind string, body []byte) ([]byte, error) {
	switch kind {
	case "hex":
		return hex.DecodeString(strings.Join(strings.Fields(string(body)), ""))
	case "cbor":
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		return cbor.Marshal(plain(v))
	}
	return nil, fmt.Errorf("no body is made as %q", kind)
}

// plain replaces what JSON cannot say by what CBOR can.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if h, ok := v["$bytes"].(string); ok {
			b, _ := hex.DecodeString(h)
			return b
		}
		if ms, ok := v["$ms"].(json.Number); ok {
			n, _ := ms.Int64()
			return cbor.Tag{Number: 1, Content: n}
		}
		for k := range v {
			v[k] = plain(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	}
	return v
}

// show writes an answer down.
func show(r *http.Response, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", r.Proto, r.Status)
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, form(name, value))
		}
	}
	if len(body) == 0 {
		return b.String()
	}
	b.WriteString("\n")
	b.WriteString(content(r.Header.Get("Content-Type"), body))
	if !strings.HasSuffix(b.String(), "\n") {
		b.WriteString("\n")
	}
	return b.String()
}

// content shows a body, or a message's payload.
func content(kind string, body []byte) string {
	switch {
	case kind == "application/vnd.amazon.eventstream":
		return messages(body)
	case strings.HasPrefix(kind, "application/x-amz-cbor"):
		text, err := cbor.Diagnose(body)
		if err != nil {
			text = hex.EncodeToString(body) + " (" + err.Error() + ")"
		}
		return text
	case utf8.Valid(body) && !bytes.ContainsRune(body, 0):
		return string(body)
	}
	return hex.EncodeToString(body)
}

// messages shows an event stream: the values of each message's headers, then its payload.
func messages(body []byte) string {
	var b strings.Builder
	for len(body) > 0 {
		m, n, err := eventstream.Decode(body)
		if err != nil {
			return b.String() + hex.EncodeToString(body) + " (" + err.Error() + ")\n"
		}
		for _, h := range m.Headers {
			fmt.Fprintf(&b, "%s=%s ", h.Name, h.Value)
		}
		fmt.Fprintf(&b, "| %s\n", content(m.Get(":content-type"), m.Payload))
		body = body[n:]
	}
	return b.String()
}

// form shows a header whose value never repeats.
func form(name, value string) string {
	switch name {
	case "X-Amzn-Requestid":
		if regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(value) {
			return "<uuid>"
		}
	case "X-Amz-Id-2":
		if regexp.MustCompile(`^[A-Za-z0-9+/]{86,107}={0,2}$`).MatchString(value) {
			return "<72 bytes in base64>"
		}
	case "Date":
		if _, err := http.ParseTime(value); err == nil {
			return "<date>"
		}
	}
	return value
}
