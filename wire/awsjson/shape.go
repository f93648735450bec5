package awsjson

import (
	"fmt"
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
	not  *regexp.Regexp // what the string must not begin with; nil: no such thing
}

// MustPattern compiles text, which comes from a service model, not from a request; it
// panics when text cannot be compiled.
func MustPattern(text string) *Pattern {
	p, err := CompilePattern(text, text)
	if err != nil {
		panic(err)
	}
	return p
}

// MustPatternAs compiles plain, which matches what text does, and prints text.
func MustPatternAs(text, plain string) *Pattern {
	p, err := CompilePattern(text, plain)
	if err != nil {
		panic(err)
	}
	return p
}

// CompilePattern compiles plain as a Pattern that prints text. Of what Java knows and
// package regexp does not, it takes \uXXXX, and a look-ahead (?!…) at the beginning.
func CompilePattern(text, plain string) (*Pattern, error) {
	p := &Pattern{Text: text}
	rest := regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`).ReplaceAllString(plain, `\x{$1}`)
	if after, ok := strings.CutPrefix(strings.TrimPrefix(rest, "^"), "(?!"); ok {
		not, whole, ok := closing(after)
		if !ok {
			return nil, fmt.Errorf("the look-ahead of %q does not end", plain)
		}
		var err error
		if p.not, err = regexp.Compile(`\A(?:` + not + `)`); err != nil {
			return nil, err
		}
		rest = whole
	}
	var err error
	p.re, err = regexp.Compile(`\A(?:` + rest + `)\z`)
	return p, err
}

// closing cuts s at the parenthesis that closes one opened before.
func closing(s string) (before, after string, ok bool) {
	open := 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			open++
		case ')':
			if open--; open == 0 {
				return s[:i], s[i+1:], true
			}
		}
	}
	return "", "", false
}

// Match reports whether the whole of s matches.
func (p *Pattern) Match(s string) bool {
	return p.re.MatchString(s) && (p.not == nil || !p.not.MatchString(s))
}

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
