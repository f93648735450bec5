package awsjson

import (
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
	payload []byte
	frame   []byte
}

// Start sends the headers and the initial-response frame, without which clients wait
// for ever. Further calls do nothing.
func (s *Stream) Start() error {
	if s.began || s.broken != nil {
		return s.broken
	}
	s.began = true
	s.begin(TypeEvents)
	s.w.WriteHeader(http.StatusOK)
	empty := []byte("{}")
	if s.call.Format == CBOR {
		empty = []byte{0xa0}
	}
	return s.write(eventstream.AppendInitialResponse(s.frame[:0], s.call.Format.ContentType(), empty))
}

// Send sends one event whose payload out writes, and flushes it. It waits while the
// reader's window is full.
func (s *Stream) Send(event string, out Appender) error {
	if err := s.Start(); err != nil {
		return err
	}
	if s.call.Format == CBOR {
		s.payload = out.AppendCBOR(s.payload[:0])
	} else {
		s.payload = out.AppendJSON(s.payload[:0])
	}
	return s.write(eventstream.AppendEvent(s.frame[:0], event, s.call.Format.ContentType(), s.payload))
}

// exception ends a stream that has begun.
func (s *Stream) exception(e *Error) {
	s.payload = e.appendEvent(s.payload[:0], s.call.Format)
	_ = s.write(eventstream.AppendException(s.frame[:0], e.Type, s.call.Format.ContentType(), s.payload))
}

// end leaves the connection to the next request as it was.
func (s *Stream) end() {
	if s.began && s.broken == nil {
		_ = s.control.SetWriteDeadline(time.Time{}) // it could be set, so it can be taken back
	}
}

func (s *Stream) write(frame []byte) error {
	if s.broken != nil {
		return s.broken
	}
	s.frame = frame
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
