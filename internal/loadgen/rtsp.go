package loadgen

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// Limits of an RTSP answer.
const (
	rtspHeaders = 64
	rtspBody    = 64 << 10
)

// talk is an RTSP client's side of a connection, by hand: the generator must cost little.
type talk struct {
	conn    net.Conn
	br      *bufio.Reader
	auth    string // a header line, or nothing
	session string
	cseq    int

	transport string // of the last answer
}

// Refused is an RTSP request that was not answered with 200.
type Refused struct {
	Method, Status string
	Code           int
}

// Error says what was refused and how.
func (r *Refused) Error() string { return r.Method + ": " + r.Status }

// do sends a request and returns the answer's body.
func (c *talk) do(method, uri, extra, body string) (string, error) {
	c.cseq++
	req := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n%s%s%s", method, uri, c.cseq, c.auth, c.session, extra)
	if body != "" {
		req += fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
	}
	if _, err := io.WriteString(c.conn, req+"\r\n"+body); err != nil {
		return "", err
	}
	status, err := c.br.ReadString('\n')
	if err != nil {
		return "", err
	}
	length, err := c.headers()
	if err != nil {
		return "", err
	}
	answer := make([]byte, length)
	if _, err := io.ReadFull(c.br, answer); err != nil {
		return "", err
	}
	if !strings.Contains(status, " 200 ") {
		r := &Refused{Method: method, Status: strings.TrimSpace(status)}
		if f := strings.Fields(status); len(f) > 1 {
			r.Code, _ = strconv.Atoi(f[1])
		}
		return "", r
	}
	return string(answer), nil
}

// headers reads those of an answer.
func (c *talk) headers() (length int, err error) {
	for range rtspHeaders {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if line = strings.TrimSpace(line); line == "" {
			return length, nil
		}
		k, v, _ := strings.Cut(line, ":")
		v = strings.TrimSpace(v)
		switch strings.ToLower(k) {
		case "session":
			id, _, _ := strings.Cut(v, ";")
			c.session = "Session: " + id + "\r\n"
		case "transport":
			c.transport = v
		case "content-length":
			if length, err = strconv.Atoi(v); err != nil || length < 0 || length > rtspBody {
				return 0, fmt.Errorf("an answer of %q bytes", v)
			}
		}
	}
	return 0, errors.New("an answer of too many headers")
}

// serverPort is the one for RTP that the last answer named.
func (c *talk) serverPort() (int, error) {
	for part := range strings.SplitSeq(c.transport, ";") {
		if v, ok := strings.CutPrefix(part, "server_port="); ok {
			first, _, _ := strings.Cut(v, "-")
			return strconv.Atoi(first)
		}
	}
	return 0, fmt.Errorf("no server_port in %q", c.transport)
}
