package awsjson

import (
	"context"
	"errors"
	"net/http"
	"time"

	"penstock/wire/eventstream"
)

// eventWait bounds one write to a reader that does not read.
const eventWait = 60 * time.Second

// Stream is the event stream that answers one call. It is for one goroutine, and valid
// until the handler returns. Nothing is sent before Start or the first Send.
type Stream struct {
	call    *Call
	w       http.ResponseWriter
	control *http.ResponseController
	begin   func(contentType string) // writes the headers that every answer has
	began   bool
	broken  error
	sent    int
	pools   *pools // lend the memory of an event while it is sent: an idle stream has none
}

// eventSize is room for an event that does not say how large it is.
const eventSize = 4 << 10

// settle is how long the answer to an HTTP/1.1 request waits. The AWS SDK for Go closes
// the request's body as soon as an answer begins; where net/http has sent it and not yet
// looked whether there is more, it takes that for a failed request and closes the
// connection under the stream. An answer from far away never comes that soon.
const settle = 20 * time.Millisecond

// Start sends the headers and the initial-response frame, without which clients wait
// for ever. Further calls do nothing.
func (s *Stream) Start() error {
	if s.began || s.broken != nil {
		return s.broken
	}
	s.began = true
	if s.call.Request.ProtoMajor == 1 {
		wait := time.NewTimer(settle)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-s.call.Request.Context().Done():
			s.broken = context.Cause(s.call.Request.Context())
			return s.broken
		}
	}
	s.begin(TypeEvents)
	s.w.WriteHeader(http.StatusOK)
	empty := []byte("{}")
	if s.call.Format == CBOR {
		empty = []byte{0xa0}
	}
	return s.write(eventstream.AppendInitialResponse(s.pools.get(eventSize), s.call.Format.ContentType(), empty))
}

// Send sends one event whose payload out writes, and flushes it. It waits while the
// reader's window is full.
func (s *Stream) Send(event string, out Appender) error {
	if err := s.Start(); err != nil {
		return err
	}
	n := eventSize
	if sized, ok := out.(Sized); ok {
		n += sized.Size(s.call.Format)
	}
	b, at := eventstream.BeginEvent(s.pools.get(n), event, s.call.Format.ContentType())
	if s.call.Format == CBOR {
		b = out.AppendCBOR(b)
	} else {
		b = out.AppendJSON(b)
	}
	return s.write(eventstream.End(b, 0, at))
}

// exception ends a stream that has begun.
func (s *Stream) exception(e *Error) {
	payload := e.appendEvent(nil, s.call.Format)
	_ = s.write(eventstream.AppendException(s.pools.get(eventSize), e.Type, s.call.Format.ContentType(), payload))
}

// end leaves the connection to the next request as it was.
func (s *Stream) end() {
	if s.began && s.broken == nil {
		_ = s.control.SetWriteDeadline(time.Time{}) // it could be set, so it can be taken back
	}
}

// write sends a frame, whose memory goes back to the pools.
func (s *Stream) write(frame []byte) error {
	defer s.pools.put(frame)
	if s.broken != nil {
		return s.broken
	}
	// Sockets go by the machine's clock, whatever Config.Now says.
	if err := s.control.SetWriteDeadline(time.Now().Add(eventWait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.broken = err
		return err
	}
	n, err := s.w.Write(frame)
	s.sent += n
	if err == nil {
		err = s.control.Flush()
	}
	s.broken = err
	return err
}
