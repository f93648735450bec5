// Package awsjson is the envelope of the AWS JSON 1.1 protocol and of its CBOR twin
// (application/x-amz-cbor-1.1): one URL, the operation in X-Amz-Target, the exact order
// of checks, coercion and validation with the texts that AWS clients show, and bodies
// that need no allocation for each record. It knows no service: a Model made by
// api/internal/shapegen says which operations and shapes there are.
//
// A request is decoded one of two ways that give the same values: an input that is a
// FastInput reads the body in one pass; whatever it finds odd goes the exact way, over a
// tree of the whole body, which also words all errors.
//
// It leaves to the caller who may call (Config.Authenticate) and what an operation does.
package awsjson

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"time"
)

// Format is how a body is written.
type Format uint8

// The formats.
const (
	JSON Format = iota // application/x-amz-json-1.1
	CBOR               // application/x-amz-cbor-1.1
)

// The content types of the formats, and of event streams.
const (
	TypeJSON   = "application/x-amz-json-1.1"
	TypeCBOR   = "application/x-amz-cbor-1.1"
	TypeEvents = "application/vnd.amazon.eventstream"
	typeCoral  = "application/json"
)

// ContentType returns the format's media type.
func (f Format) ContentType() string {
	if f == CBOR {
		return TypeCBOR
	}
	return TypeJSON
}

// Call is one request. It is valid until the handler returns.
type Call struct {
	Request   *http.Request // the body is read already
	Target    string        // of the service: "Kinesis_20131202"
	Operation string
	RequestID string
	Format    Format
}

// Appender is an output that writes itself, so that a hot answer needs no struct.
// Its pointer type may be the O of Handle.
type Appender interface {
	AppendJSON(dst []byte) []byte
	AppendCBOR(dst []byte) []byte
}

// Sized is an Appender that knows about how long its answer will be, in bytes: one that is
// large is then written into a buffer of its size, not into one that grows.
type Sized interface {
	Appender
	Size(f Format) int
}

// FastInput is an input that can be read in one pass. DecodeFast answers false for
// whatever it does not take exactly as the slow way does, and for all that does not
// satisfy the model; Reset makes the value as new, keeping its memory.
type FastInput interface {
	DecodeFast(r *Reader) bool
	Reset()
}

// Handler is an operation's code, made by Handle, HandleVoid or HandleStream.
type Handler struct {
	name   string
	input  reflect.Type
	output reflect.Type // nil: no output
	stream bool
	call   func(ctx context.Context, c *Call, in any, s *Stream) (any, error)
}

// Handle makes the Handler of an operation with an answer. The input, and every slice in
// it, belongs to the server again when f returns; strings may be kept. *O is the model's
// output type, or an Appender.
func Handle[I, O any](name string, f func(context.Context, *Call, *I) (*O, error)) Handler {
	return Handler{
		name: name, input: reflect.TypeFor[I](), output: reflect.TypeFor[O](),
		call: func(ctx context.Context, c *Call, in any, _ *Stream) (any, error) {
			out, err := f(ctx, c, in.(*I))
			if err != nil {
				return nil, err
			}
			return out, nil
		},
	}
}

// HandleVoid makes the Handler of an operation whose answer is empty.
func HandleVoid[I any](name string, f func(context.Context, *Call, *I) error) Handler {
	return Handler{
		name: name, input: reflect.TypeFor[I](),
		call: func(ctx context.Context, c *Call, in any, _ *Stream) (any, error) {
			return nil, f(ctx, c, in.(*I))
		},
	}
}

// HandleStream makes the Handler of an operation that answers with an event stream. An
// error before the first event is an ordinary answer, a later one ends the stream with
// an exception event; nil ends it cleanly.
func HandleStream[I any](name string, f func(context.Context, *Call, *I, *Stream) error) Handler {
	return Handler{
		name: name, input: reflect.TypeFor[I](), stream: true,
		call: func(ctx context.Context, c *Call, in any, s *Stream) (any, error) {
			return nil, f(ctx, c, in.(*I), s)
		},
	}
}

// Service is a model with the code of all its operations.
type Service struct {
	Model    *Model
	Handlers []Handler
}

// Outcome is what Config.Observe hears of an answered request.
type Outcome struct {
	Status  int
	Type    string // of the exception; empty: none
	Err     error  // what the handler or the authentication returned; nil with success
	In, Out int    // bytes of the bodies
	Took    time.Duration
	Fast    bool // the input was decoded in one pass
}

// Config says what a Server serves. Zero values mean the documented defaults.
type Config struct {
	Services []Service
	// Authenticate proves who sent body and returns a context that says so. It is asked
	// only for requests that carry a signature with all its parts (spec 2.6, 2.7). nil:
	// any such request may pass.
	Authenticate func(ctx context.Context, c *Call, body []byte) (context.Context, error)
	// Vouch says from the headers alone whether there is somebody who can have signed a
	// request, and whether it is proved that they did, before more of its body is kept than a
	// stranger's may be: one of more than 64 KiB, or any while bodies hold more than 64 MiB. An
	// error is the answer; what comes of the body is thrown away. Bodies that are not proved
	// share 64 MiB, half of it for one address, and wait for it for ten seconds: Vouch is asked
	// again meanwhile. nil: whoever names all parts of a signature is believed.
	Vouch func(ctx context.Context, c *Call) (proved bool, err error)
	// Exception words an error of Vouch, Authenticate or of a handler that is no *Error. nil, or
	// a nil answer: Internal.
	Exception func(c *Call, err error) *Error
	// Observe hears of every answer, on the request's goroutine, Call.Operation being
	// empty when it is unknown. nil: nobody.
	Observe func(c *Call, o Outcome)
	// MaxBody is the largest body in bytes; a larger one is answered with 413. Default 16 MiB:
	// 10 MiB of data, base64, and keys.
	MaxBody int64
	// Budget bounds the bytes of all bodies held at once; past it the answer is 503, which
	// clients retry. Default 1 GiB.
	Budget int64
	// Now is the server's clock. nil: time.Now.
	Now func() time.Time
	// Rand makes request ids. nil: crypto/rand.
	Rand io.Reader
	// Logger hears of panics and of answers that could not be written. nil: discards.
	Logger *slog.Logger
}

// check finds the handler of each operation, and names what does not fit.
func (s *Service) check() (map[string]*operation, error) {
	byName := make(map[string]Handler, len(s.Handlers))
	for _, h := range s.Handlers {
		if _, twice := byName[h.name]; twice {
			return nil, fmt.Errorf("awsjson: %s.%s has two handlers", s.Model.Target, h.name)
		}
		byName[h.name] = h
	}
	ops := make(map[string]*operation, len(s.Model.Operations))
	for i := range s.Model.Operations {
		m := &s.Model.Operations[i]
		h, ok := byName[m.Name]
		if !ok {
			return nil, fmt.Errorf("awsjson: %s.%s has no handler", s.Model.Target, m.Name)
		}
		delete(byName, m.Name)
		if err := h.fits(m); err != nil {
			return nil, fmt.Errorf("awsjson: %s.%s: %w", s.Model.Target, m.Name, err)
		}
		ops[m.Name] = newOperation(m, h)
	}
	for name := range byName {
		return nil, fmt.Errorf("awsjson: the model %s has no operation %s", s.Model.Target, name)
	}
	return ops, nil
}

func (h Handler) fits(m *OperationModel) error {
	if want := reflect.TypeOf(m.New()).Elem(); h.input != want {
		return fmt.Errorf("the handler takes %v, the model has %v", h.input, want)
	}
	switch {
	case h.stream:
		if m.Output == nil || !streams(m.Output) {
			return fmt.Errorf("the handler answers with events, the model does not")
		}
	case h.output == nil:
		if m.Output != nil {
			return fmt.Errorf("the handler has no output, the model has %s", m.Output.Name)
		}
	case m.Output == nil:
		return fmt.Errorf("the handler has an output, the model has none")
	case reflect.PointerTo(h.output).Implements(reflect.TypeFor[Appender]()):
	default:
		if want := reflect.TypeOf(m.Out()).Elem(); h.output != want {
			return fmt.Errorf("the handler answers %v, the model has %v", h.output, want)
		}
	}
	return nil
}

// streams reports whether one of the output's members is an event stream.
func streams(s *Shape) bool {
	for _, m := range s.Members {
		if m.Shape.Events {
			return true
		}
	}
	return false
}
