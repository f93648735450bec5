package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"penstock/wire/awsjson"
)

// model is the part of a service model that matters here.
type model struct {
	Metadata struct {
		TargetPrefix    string `json:"targetPrefix"`
		EndpointPrefix  string `json:"endpointPrefix"`
		SigningName     string `json:"signingName"`
		ServiceFullName string `json:"serviceFullName"`
	} `json:"metadata"`
	Operations map[string]operation `json:"operations"`
	Shapes     map[string]*shape    `json:"shapes"`
}

type operation struct {
	Input  *ref  `json:"input"`
	Output *ref  `json:"output"`
	Errors []ref `json:"errors"`
}

type ref struct {
	Shape string `json:"shape"`
}

type shape struct {
	Type        string         `json:"type"`
	Members     map[string]ref `json:"members"`
	Required    []string       `json:"required"`
	Member      *ref           `json:"member"`
	Key         *ref           `json:"key"`
	Value       *ref           `json:"value"`
	Min         *json.Number   `json:"min"`
	Max         *json.Number   `json:"max"`
	Pattern     string         `json:"pattern"`
	Enum        []string       `json:"enum"`
	Exception   bool           `json:"exception"`
	Event       bool           `json:"event"`
	EventStream bool           `json:"eventstream"`

	plain   string   // Pattern, as Go's regexp takes it
	in, out bool     // reached from an input, from an output
	users   []string // operations and structures that name it
}

// enumOrder holds the orders in which AWS prints what its models list otherwise.
var enumOrder = map[string][]string{
	"ShardIteratorType": {"AFTER_SEQUENCE_NUMBER", "LATEST", "AT_TIMESTAMP", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON"},
}

// plainPatterns holds, for patterns that look behind, what package regexp takes for the same
// set of strings.
var plainPatterns = map[string]string{
	`jdbc:(redshift|postgresql)://((?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)+(redshift(-serverless)?)\.([a-zA-Z0-9\.\-]+):\d{1,5}/[a-zA-Z0-9_$-]+`: `jdbc:(redshift|postgresql)://([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(redshift(-serverless)?)\.([a-zA-Z0-9\.\-]+):\d{1,5}/[a-zA-Z0-9_$-]+`,
}

func parse(data []byte) (*model, error) {
	m := &model{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, err
	}
	for _, name := range m.shapes() {
		s := m.Shapes[name]
		if kinds[s.Type] == "" {
			return nil, fmt.Errorf("%s is a %q, which is not known", name, s.Type)
		}
		if s.plain = s.Pattern; plainPatterns[s.Pattern] != "" {
			s.plain = plainPatterns[s.Pattern]
		}
		if _, err := awsjson.CompilePattern(s.Pattern, s.plain); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, order := range enumOrder {
		s := m.Shapes[name]
		if s == nil || s.Enum == nil {
			continue
		}
		if !slices.Equal(slices.Sorted(slices.Values(order)), slices.Sorted(slices.Values(s.Enum))) {
			return nil, fmt.Errorf("the model's %s is not the set whose order is known", name)
		}
		s.Enum = order
	}
	for _, name := range m.operations() {
		op := m.Operations[name]
		if op.Input != nil {
			m.Shapes[op.Input.Shape].users = append(m.Shapes[op.Input.Shape].users, "the input of "+name)
			m.reach(op.Input.Shape, true)
		}
		if op.Output != nil {
			m.Shapes[op.Output.Shape].users = append(m.Shapes[op.Output.Shape].users, "the output of "+name)
			m.reach(op.Output.Shape, false)
		}
	}
	return m, nil
}

func (m *model) operations() []string { return slices.Sorted(maps.Keys(m.Operations)) }

func (m *model) shapes() []string { return slices.Sorted(maps.Keys(m.Shapes)) }

// reach marks name and all below it as used by inputs or by outputs.
func (m *model) reach(name string, in bool) {
	s := m.Shapes[name]
	if s == nil || (in && s.in) || (!in && s.out) {
		return
	}
	if in {
		s.in = true
	} else {
		s.out = true
	}
	for _, member := range s.names() {
		child := s.Members[member].Shape
		m.used(child, name)
		m.reach(child, in)
	}
	for _, r := range []*ref{s.Member, s.Key, s.Value} {
		if r != nil {
			m.used(r.Shape, name)
			m.reach(r.Shape, in)
		}
	}
}

// used notes the structure that names child; lists pass it on.
func (m *model) used(child, by string) {
	user := m.Shapes[by]
	words := []string{"in " + by}
	if user.Type == "list" || user.Type == "map" {
		words = user.users
	}
	for _, w := range words {
		if c := m.Shapes[child]; !slices.Contains(c.users, w) {
			c.users = append(c.users, w)
		}
	}
}

func (s *shape) names() []string { return slices.Sorted(maps.Keys(s.Members)) }

func (s *shape) required(member string) bool { return slices.Contains(s.Required, member) }

// emptyMatters reports whether the empty string is a value of its own.
func (s *shape) emptyMatters() bool { return s.Min != nil && s.Min.String() == "0" }

// goType returns the Go type of a member of shape name.
func (m *model) goType(name string, required bool) (string, error) {
	s := m.Shapes[name]
	pointer := "*"
	if required {
		pointer = ""
	}
	switch s.Type {
	case "structure":
		return pointer + name, nil
	case "list":
		elem, err := m.goType(s.Member.Shape, true)
		return "[]" + elem, err
	case "map":
		if m.Shapes[s.Value.Shape].Type != "string" || m.Shapes[s.Key.Shape].Type != "string" {
			return "", fmt.Errorf("%s is a map of %s: only strings are known", name, s.Value.Shape)
		}
		return "map[string]string", nil
	case "string":
		if !required && s.emptyMatters() {
			return "*string", nil
		}
		return "string", nil
	case "integer":
		return pointer + "int32", nil
	case "long":
		return pointer + "int64", nil
	case "double", "float":
		return pointer + "float64", nil
	case "boolean":
		return pointer + "bool", nil
	case "blob":
		return "[]byte", nil
	case "timestamp":
		return "time.Time", nil
	}
	return "", fmt.Errorf("%s is a %q, which is not known", name, s.Type)
}

// limits words a shape's constraints for a comment.
func (s *shape) limits() string {
	var words []string
	switch {
	case s.Min != nil && s.Max != nil:
		words = append(words, s.Min.String()+".."+s.Max.String())
	case s.Min != nil:
		words = append(words, "at least "+s.Min.String())
	case s.Max != nil:
		words = append(words, "at most "+s.Max.String())
	}
	if s.Pattern != "" {
		words = append(words, s.Pattern)
	}
	if len(s.Enum) > 0 {
		words = append(words, strings.Join(s.Enum, " | "))
	}
	return strings.Join(words, "; ")
}
