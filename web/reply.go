package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"penstock/internal/fault"
)

// statusOf is the HTTP status of each kind of fault.
func statusOf(k fault.Kind) int {
	switch k {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.InUse:
		return http.StatusConflict
	case fault.Throttled:
		return http.StatusTooManyRequests
	case fault.Denied:
		return http.StatusForbidden
	case fault.Unauthentic:
		return http.StatusUnauthorized
	case fault.Expired:
		return http.StatusGone
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// errorBody is the native API's error document.
type errorBody struct {
	Error struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Hint      string `json:"hint,omitempty"`
		RequestID string `json:"request_id"`
	} `json:"error"`
}

// fail answers err in the native API's shape. An internal fault is logged with its
// cause, which the client never sees.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	kind := fault.KindOf(err)
	switch {
	case kind == fault.Internal && r.Context().Err() != nil:
		return // the caller left: nobody is there to read an answer
	case kind == fault.Unauthentic:
		w.Header().Set("WWW-Authenticate", `Bearer realm="penstock"`)
	case kind == fault.Throttled && w.Header().Get("Retry-After") == "":
		// Whole seconds, rounded up (RFC 9110 10.2.3).
		w.Header().Set("Retry-After", strconv.Itoa(max(2, int((fault.AfterOf(err)+time.Second-1)/time.Second))))
	case kind == fault.Unavailable && fault.AfterOf(err) > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int((fault.AfterOf(err)+time.Second-1)/time.Second)))
	}
	s.answer(w, statusOf(kind), s.errorOf(w, r, err))
}

// errorOf is what the client is told of err. The cause of an internal fault goes into the
// log instead.
func (s *Server) errorOf(w http.ResponseWriter, r *http.Request, err error) errorBody {
	kind := fault.KindOf(err)
	var body errorBody
	body.Error.Code = kind.String()
	body.Error.RequestID = w.Header().Get("X-Request-Id")
	body.Error.Message, body.Error.Hint = err.Error(), fault.HintOf(err)
	if kind == fault.Internal {
		s.c.Logger.Error("request", "method", r.Method, "path", r.URL.Path, "err", err, "request_id", body.Error.RequestID)
		body.Error.Message, body.Error.Hint = "something went wrong here", "look for this request_id in the server's log"
	}
	return body
}

// answer sends v as JSON.
func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.c.Logger.Debug("answer cut short", slog.Any("err", err))
	}
}

// maxBody bounds a JSON request: the largest is a policy document. bodyTimeout is what
// a client has to send it.
const (
	maxBody     = 64 << 10
	bodyTimeout = 15 * time.Second
)

// readBody reads the whole body of a request, within both bounds.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	conn := http.NewResponseController(w)
	if conn.SetReadDeadline(time.Now().Add(bodyTimeout)) == nil {
		// What is done with the body may take longer than it did to come.
		defer func() { _ = conn.SetReadDeadline(time.Time{}) }() // fails only where the connection is gone
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return nil, fault.New(fault.Invalid, "read request body", "", "longer than 64 KiB")
	}
	return text, fault.Wrap(fault.Invalid, "read request body", "", err)
}

// decode reads a JSON body into v. Unknown members are refused, so that a typo in
// a setting is heard of.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	text, err := readBody(w, r)
	if err != nil {
		return err
	}
	return decodeText(text, v)
}

// decodeText reads one JSON object into v.
func decodeText(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "read request body", "", "empty; a JSON object is needed")
	} else if err != nil {
		return fault.Wrap(fault.Invalid, "read request body", "", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "read request body", "", "something follows the JSON object")
	}
	return nil
}
