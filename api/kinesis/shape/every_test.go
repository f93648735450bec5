package shape

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"penstock/wire/awsjson"
)

// wrong lists JSON that cannot become a kind, and what is said of it: recorded on AWS.
func wrong(k awsjson.Kind) map[string]string {
	const number = "class com.amazon.coral.value.json.numbers.TruncatingBigNumber can not be converted to "
	const boolean, text = "class java.lang.Boolean can not be converted to ", "class java.lang.String can not be converted to "
	const list, structure = "Start of list found where not expected", "Start of structure or map found where not expected."
	switch k {
	case awsjson.String:
		return map[string]string{`true`: boolean + "an String", `23`: number + "an String", `-2147483648`: number + "an String", `34.56`: number + "an String", `[]`: list, `{}`: structure}
	case awsjson.Integer:
		return map[string]string{`"23"`: text + "an Integer", `true`: boolean + "an Integer", `[]`: list, `{}`: structure}
	case awsjson.Boolean:
		return map[string]string{`"23"`: "'23' can not be converted to an Boolean", `23`: number + "an Boolean", `[]`: list, `{}`: structure}
	case awsjson.Blob:
		return map[string]string{`true`: boolean + "a Blob", `23`: number + "a Blob", `34.56`: number + "a Blob", `[]`: list, `{}`: structure,
			`"23456"`: "'23456' can not be converted to a Blob: Base64 encoded length is expected a multiple of 4 bytes but found: 5",
			`"=+/="`:  "'=+/=' can not be converted to a Blob: Invalid Base64 character: '='",
			`"+/+="`:  "'+/+=' can not be converted to a Blob: Invalid last non-pad Base64 character dectected"}
	case awsjson.Timestamp:
		return map[string]string{`"23"`: text + "milliseconds since epoch", `true`: boolean + "milliseconds since epoch", `[]`: list, `{}`: structure}
	case awsjson.List:
		return map[string]string{`"23"`: "Expected list or null", `true`: "Expected list or null", `34.56`: "Expected list or null", `{}`: structure}
	case awsjson.Map:
		return map[string]string{`"23"`: "Expected map or null", `true`: "Expected map or null", `23`: "Expected map or null", `[]`: list}
	case awsjson.Structure:
		return map[string]string{`"23"`: "Expected null", `true`: "Expected null", `23`: "Expected null", `[]`: list}
	}
	return nil
}

// walk visits every member of an input; wrap puts a value into a whole body.
func walk(s *awsjson.Shape, path string, wrap func(string) string, visit func(s *awsjson.Shape, path string, wrap func(string) string)) {
	for _, m := range s.Members {
		at, inner := path+m.Name, func(v string) string { return wrap(fmt.Sprintf(`{%q:%s}`, m.Name, v)) }
		visit(m.Shape, at, inner)
		switch m.Shape.Kind {
		case awsjson.Structure:
			walk(m.Shape, at+".", inner, visit)
		case awsjson.List:
			item := func(v string) string { return inner("[" + v + "]") }
			visit(m.Shape.Elem, at+".0", item)
			if m.Shape.Elem.Kind == awsjson.Structure {
				walk(m.Shape.Elem, at+".0.", item, visit)
			}
		case awsjson.Map:
			visit(m.Shape.Elem, at+".key", func(v string) string { return inner(`{"key":` + v + `}`) })
		}
	}
}

func TestEveryMemberOfTheWrongType(t *testing.T) {
	tried := 0
	for _, op := range model().Operations {
		walk(op.Input, "", func(v string) string { return v }, func(s *awsjson.Shape, path string, wrap func(string) string) {
			cases := wrong(s.Kind)
			if cases == nil {
				t.Errorf("%s.%s: nobody says what is wrong for %s", op.Name, path, s.Name)
			}
			for value, want := range cases {
				e := awsjson.Decode(op.New(), op.Input, awsjson.JSON, []byte(wrap(value)))
				if e == nil || e.Type != "SerializationException" || e.Message != want {
					t.Errorf("%s %s: %v, not %s", op.Name, wrap(value), e, want)
				}
				tried++
			}
		})
	}
	if tried < 950 {
		t.Errorf("only %d cases", tried)
	}
}

// broken lists values that break a shape's own constraints, and what is said of each.
func broken(s *awsjson.Shape) map[string]string {
	out := map[string]string{}
	quote := func(v string) string { b, _ := json.Marshal(v); return string(b) }
	switch s.Kind {
	case awsjson.Integer:
		if s.Min != nil {
			out[fmt.Sprint(*s.Min-1)] = fmt.Sprintf("Member must have value greater than or equal to %d", *s.Min)
		}
		if s.Max != nil {
			out[fmt.Sprint(*s.Max+1)] = fmt.Sprintf("Member must have value less than or equal to %d", *s.Max)
		}
	case awsjson.String:
		if s.Max != nil {
			out[quote(strings.Repeat("a", int(*s.Max)+1))] = fmt.Sprintf("Member must have length less than or equal to %d", *s.Max)
		}
		if s.Min != nil && *s.Min > 0 {
			out[`""`] = fmt.Sprintf("Member must have length greater than or equal to %d", *s.Min)
		}
		if s.Pattern != nil {
			out[`"not / this"`] = "Member must satisfy regular expression pattern: " + s.Pattern.Text
		}
		if s.Enum != nil {
			out[`"NOT_THIS"`] = "Member must satisfy enum value set: [" + strings.Join(s.Enum, ", ") + "]"
		}
	}
	return out
}

func TestEveryMemberThatBreaksTheModel(t *testing.T) {
	tried := 0
	for _, op := range model().Operations {
		walk(op.Input, "", func(v string) string { return v }, func(s *awsjson.Shape, path string, wrap func(string) string) {
			if strings.HasSuffix(path, ".0") || strings.HasSuffix(path, ".key") {
				return // told of the whole list or map
			}
			parts := strings.Split(path, ".")
			for i, p := range parts {
				if parts[i] = strings.ToLower(p[:1]) + p[1:]; p == "0" {
					parts[i] = "1.member"
				}
			}
			for value, constraint := range broken(s) {
				e := awsjson.Decode(op.New(), op.Input, awsjson.JSON, []byte(wrap(value)))
				want := awsjson.Violation(strings.Trim(value, `"`), strings.Join(parts, "."), constraint)
				if e == nil || e.Type != "ValidationException" || !strings.Contains(e.Message, want) {
					t.Errorf("%s %s: %v, not %s", op.Name, wrap(value), e, want)
				}
				tried++
			}
		})
	}
	if tried < 350 {
		t.Errorf("only %d cases", tried)
	}
}

func TestEveryMissingMember(t *testing.T) {
	for _, op := range model().Operations {
		e := awsjson.Decode(op.New(), op.Input, awsjson.JSON, []byte(`{}`))
		for _, m := range op.Input.Members {
			want := awsjson.NullViolation(strings.ToLower(m.Name[:1]) + m.Name[1:])
			if said := e != nil && strings.Contains(e.Message, want); said != m.Required {
				t.Errorf("%s without %s: %v", op.Name, m.Name, e)
			}
		}
	}
}
