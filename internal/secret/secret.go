// Package secret holds a string that does not print itself.
//
// Passwords, keys and tokens are of this type from where they are read to where
// they are used, so that a log line, an error or a dump of a struct shows *** instead.
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
	"unique"
)

// Mask is what a Text prints instead of itself.
const Mask = "***"

// Text is a secret string. The zero value is "no secret". It is immutable and may be
// shared; a copy is cheap. It formats, logs and marshals as "***" (empty: as "").
//
// The string is behind a handle: fmt reaches unexported fields of a struct without
// asking their methods, and then finds an address. Equal texts compare equal with ==.
type Text struct{ h unique.Handle[string] }

// New returns the secret s.
func New(s string) Text {
	if s == "" {
		return Text{}
	}
	return Text{unique.Make(s)}
}

// Reveal returns the secret itself, for the one place that needs it.
func (t Text) Reveal() string {
	if t.Empty() {
		return ""
	}
	return t.h.Value()
}

// Empty reports whether there is no secret.
func (t Text) Empty() bool { return t == Text{} }

// Equal compares in time that does not depend on where the two differ.
func (t Text) Equal(other string) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(other)) == 1
}

// String returns "***", or "" when empty.
func (t Text) String() string {
	if t.Empty() {
		return ""
	}
	return Mask
}

// GoString keeps %#v from showing the field.
func (t Text) GoString() string { return fmt.Sprintf("secret.Text(%q)", t.String()) }

// Format prints the mask for every verb, %x and %q too.
func (t Text) Format(f fmt.State, verb rune) {
	switch verb {
	case 'q':
		fmt.Fprintf(f, "%q", t.String())
	case 'v':
		if f.Flag('#') {
			fmt.Fprint(f, t.GoString())
			return
		}
		fallthrough
	default:
		fmt.Fprint(f, t.String())
	}
}

// LogValue makes slog print the mask.
func (t Text) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText writes the mask, so that JSON and YAML never carry the secret.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a secret from a config file or a request.
func (t *Text) UnmarshalText(b []byte) error {
	*t = New(string(b))
	return nil
}
