package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"penstock/auth"
	"penstock/ingest/telemetry"
	"penstock/internal/fault"
	"penstock/records"
)

const (
	// dataTimeout is what a client has to send a body of records.
	dataTimeout = time.Minute
	// bodiesMax bounds the bodies of records that are in memory at once.
	bodiesMax = 256 << 20
)

// dataBody reads a body of records. What it holds of bodiesMax is given back by release.
func (c *call) dataBody() ([]byte, error) {
	n := c.r.ContentLength
	if n > telemetry.BodyMax {
		return nil, tooLarge()
	}
	if n < 0 {
		n = telemetry.BodyMax
	}
	if !c.s.bodies.TryAcquire(n) {
		return nil, fault.New(fault.Throttled, "read request body", "", "too many large requests at once")
	}
	c.held += n
	conn := http.NewResponseController(c.w)
	if conn.SetReadDeadline(time.Now().Add(dataTimeout)) == nil {
		defer func() { _ = conn.SetReadDeadline(time.Time{}) }() // fails only where the connection is gone
	}
	var body bytes.Buffer
	if c.r.ContentLength > 0 {
		body.Grow(int(n) + bytes.MinRead)
	}
	_, err := io.Copy(&body, http.MaxBytesReader(c.w, c.r.Body, telemetry.BodyMax))
	var big *http.MaxBytesError
	if errors.As(err, &big) {
		return nil, tooLarge()
	}
	return body.Bytes(), fault.Wrap(fault.Invalid, "read request body", "", err)
}

func tooLarge() error {
	return fault.New(fault.Invalid, "read request body", "", "longer than 16 MiB").WithHint("send the records in several requests")
}

// release gives back what the call held of shared memory.
func (c *call) release() {
	if c.held > 0 {
		c.s.bodies.Release(c.held)
	}
}

// putData stores the records of a body, and answers when they are durable.
func putData(c *call) error {
	body, err := c.dataBody()
	if err != nil {
		return err
	}
	var o telemetry.Options
	if o.Format, err = telemetry.FormatOf(c.r.Header.Get("Content-Type"), body); err != nil {
		return err
	}
	if key := c.r.URL.Query().Get("key"); strings.HasPrefix(key, "/") {
		o.Pointer = key
	} else {
		o.Key = key
	}
	if key := c.r.Header.Get("X-Partition-Key"); key != "" {
		o.Key = key
	}
	in, err := telemetry.Parse(body, o)
	if err != nil {
		return err
	}
	out := make([]records.Placed, len(in))
	if err := c.data.Put(c.r.Context(), in, out); err != nil {
		return err
	}
	return c.placed(out)
}

// placed answers where records went. When some were refused the status is that of the
// refusal, and the answer names both: nothing of a request that was answered 200 is
// missing.
func (c *call) placed(out []records.Placed) error {
	answer := make([]byte, 0, 128*len(out)+64)
	answer = append(answer, `{"records":[`...)
	failed := 0
	var cause error
	for i, p := range out {
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = p.Shard.Append(append(answer, `{"shard":"`...))
		if p.Err != nil {
			failed, cause = failed+1, p.Err
			answer = append(append(append(answer, `","error":"`...), fault.KindOf(p.Err).String()...), `"}`...)
			continue
		}
		answer = append(p.Seq.Append(append(answer, `","sequence_number":"`...)), `"}`...)
	}
	answer = append(answer, ']')
	status := http.StatusOK
	if failed == len(out) {
		return cause
	}
	if failed > 0 {
		status = statusOf(fault.KindOf(cause))
		e := c.s.errorOf(c.w, c.r, cause)
		e.Error.Hint = "the records without an error are stored; send the others again"
		text, err := json.Marshal(e.Error)
		if err != nil {
			return err
		}
		answer = append(append(answer, `,"error":`...), text...)
		c.w.Header().Set("Retry-After", "2")
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	c.w.WriteHeader(status)
	if _, err := c.w.Write(append(answer, '}', '\n')); err != nil {
		c.s.c.Logger.Debug("answer cut short", "err", err)
	}
	return nil
}

// putting notes that somebody puts records: once in a while, not for each request.
func (c *call) putting(rt route, err error) {
	c.s.c.Auth.Note(c.r.Context(), c.principal, auth.Deed{Action: rt.Action, Object: c.data.ARN(), Remote: remoteHost(c.r), Detail: "put", Err: err, Every: auth.ViewEvery})
}
