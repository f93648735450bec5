package awsjson

import (
	"fmt"
	"net/http"
	"strings"
)

// Error is an exception as the wire shows it.
type Error struct {
	Type    string // the short name: "ResourceNotFoundException"
	Message string // may be empty: then the body has no message
	Status  int    // 0: 400
	upper   bool   // "Message", as only a SerializationException spells it
}

// Error returns the type and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Type
	}
	return e.Type + ": " + e.Message
}

func (e *Error) status() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

// NewError returns an Error with status 400 and a formatted message.
func NewError(kind, format string, args ...any) *Error {
	return &Error{Type: kind, Message: fmt.Sprintf(format, args...)}
}

// Internal returns the answer to a failure of ours: 500, and no word of the cause.
func Internal() *Error {
	return &Error{Type: "InternalFailure", Status: http.StatusInternalServerError}
}

// problemsMax is how many problems a ValidationException names.
const problemsMax = 10

// Violation words one broken constraint: value is printed in quotes, path is as in
// "records.1.member.partitionKey", constraint as in "Member must not be null".
func Violation(value, path, constraint string) string {
	return "Value '" + value + "' at '" + path + "' failed to satisfy constraint: " + constraint
}

// NullViolation words a missing member.
func NullViolation(path string) string {
	return "Value null at '" + path + "' failed to satisfy constraint: Member must not be null"
}

// BareViolation words a broken constraint the newer way, without the value: so AWS does
// for blobs and for lists of structures.
func BareViolation(path, constraint string) string {
	return "Value at '" + path + "' failed to satisfy constraint: " + constraint
}

// Invalid returns the ValidationException that names problems, made by Violation,
// NullViolation and BareViolation; only the first ten of them.
func Invalid(problems ...string) *Error {
	if len(problems) > problemsMax {
		problems = problems[:problemsMax]
	}
	s := "s"
	if len(problems) == 1 {
		s = ""
	}
	return NewError("ValidationException", "%d validation error%s detected: %s", len(problems), s, strings.Join(problems, "; "))
}

func serialization(message string) *Error {
	return &Error{Type: "SerializationException", Message: message, upper: true}
}
