package awsjson

import (
	"regexp"
	"strings"
)

// Kind is the wire type of a Shape.
type Kind uint8

// The kinds, and the Go types that a struct holds them in.
const (
	Structure Kind = iota // a struct, or a pointer to one where it may be absent
	List                  // a slice; nil is absent
	Map                   // map[string]string; nil is absent
	String                // string, or *string where the empty string is not the same as none
	Integer               // int32, or *int32 where it may be absent
	Long                  // int64, or *int64
	Double                // float64, or *float64
	Boolean               // bool, or *bool
	Blob                  // []byte; nil is absent
	Timestamp             // time.Time; the zero Time is absent
)

// Shape is one type of a service model with its limits. It does not change once made.
type Shape struct {
	Name     string
	Kind     Kind
	Members  []Member // of a Structure, in the order of the Go struct's fields
	Elem     *Shape   // of a List; the values of a Map
	Key      *Shape   // of a Map
	Min, Max *int64   // length of strings, blobs, lists and maps; value of numbers; nil: no limit
	Pattern  *Pattern // of a String; nil: none
	Enum     []string // of a String, in the order that an error prints
	Event    bool     // a Structure that is one event of an event stream
	Events   bool     // a Structure that is an event stream
}

// Member is one member of a Structure.
type Member struct {
	Name     string
	Shape    *Shape
	Required bool
}

// Pattern is a regular expression that a whole string must match.
type Pattern struct {
	Text string // as the model and an error print it
	re   *regexp.Regexp
}

// MustPattern compiles text, which comes from a service model, not from a request; it
// panics when text is no regular expression.
func MustPattern(text string) *Pattern {
	return &Pattern{Text: text, re: regexp.MustCompile(`\A(?:` + text + `)\z`)}
}

// Match reports whether the whole of s matches.
func (p *Pattern) Match(s string) bool { return p.re.MatchString(s) }

// Limit returns a pointer for Shape.Min and Shape.Max.
func Limit(n int64) *int64 { return &n }

// OperationModel is what a service model says of one operation.
type OperationModel struct {
	Name   string
	Input  *Shape
	Output *Shape     // nil: the answer's body is empty
	New    func() any // a pointer to a new input struct
	Out    func() any // a pointer to a new output struct; nil with a nil Output
	Errors []string   // the exceptions that the model names
}

// Model is a service: what the generator makes of a service model.
type Model struct {
	Target     string // of X-Amz-Target, before the dot: "Kinesis_20131202"
	Service    string // the name that signatures are scoped to: "kinesis"
	Operations []OperationModel
}

// lowerFirst returns a member's name as an error's path spells it.
func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
