// Package fault holds the one error type that upper floors look inside.
//
// A Kind says what the caller can do about an error, never where it arose;
// package api turns Kinds into each service's exceptions and HTTP statuses.
package fault

import (
	"errors"
	"strings"
	"time"
)

// Kind says what a caller can do about an error.
type Kind uint8

// The kinds. The zero Kind is Internal, so an error that nobody classified
// never shows its cause to a client.
const (
	Internal    Kind = iota // our own failing: logged, its cause is never shown to a client
	Invalid                 // the request can never succeed as it is
	NotFound                // no such thing, or none that the caller may know of
	InUse                   // the name or the place is taken
	Throttled               // too much at once: the same call may succeed later
	Denied                  // the caller may not do this
	Unauthentic             // the caller did not prove who they are
	Expired                 // it was there; retention or a time limit took it
	Unavailable             // a part that this needs is missing or switched off
)

// String returns the lower-case code that the native API sends.
func (k Kind) String() string {
	switch k {
	case Invalid:
		return "invalid"
	case NotFound:
		return "not_found"
	case InUse:
		return "in_use"
	case Throttled:
		return "throttled"
	case Denied:
		return "denied"
	case Unauthentic:
		return "unauthenticated"
	case Expired:
		return "expired"
	case Unavailable:
		return "unavailable"
	}
	return "internal"
}

// Error is a classified error. The zero value is an Internal error without words.
// It may be shared between goroutines once made.
type Error struct {
	Kind     Kind
	Op       string // what was being done: "append fragment"
	Resource string // to what: a stream's name, an object's key; may be empty
	Hint     string // what to do next, for a person; may be empty
	Err      error  // the cause; may be nil
	// After is when the same call may succeed, with Throttled and Unavailable; zero: soon,
	// or nobody knows.
	After time.Duration
}

// Error joins operation, resource and cause the way STYLE asks:
// "append fragment front-door: disk full".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Resource != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(e.Resource)
	}
	if e.Err != nil {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if b.Len() == 0 {
		return e.Kind.String()
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an Error of kind k whose cause is the text.
func New(k Kind, op, resource, text string) *Error {
	return &Error{Kind: k, Op: op, Resource: resource, Err: errors.New(text)}
}

// Wrap returns an Error of kind k around err, or nil when err is nil.
func Wrap(k Kind, op, resource string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: k, Op: op, Resource: resource, Err: err}
}

// WithHint returns a copy of e that tells a person what to do next.
func (e *Error) WithHint(hint string) *Error {
	c := *e
	c.Hint = hint
	return &c
}

// WithAfter returns a copy of e that says when to try again.
func (e *Error) WithAfter(d time.Duration) *Error {
	c := *e
	c.After = d
	return &c
}

// AfterOf returns the first wait in err's chain, or 0.
func AfterOf(err error) time.Duration {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return 0
		}
		if e.After > 0 {
			return e.After
		}
		err = e.Err
	}
	return 0
}

// KindOf returns the Kind of the first Error in err's chain, or Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err carries kind k.
func Is(err error, k Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == k
}

// HintOf returns the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
