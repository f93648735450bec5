package events

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"penstock/internal/fault"
	"penstock/internal/quantity"
)

// ParseTerm reads how long video is kept: "30d", "forever", or "" for not at all.
func ParseTerm(text string) (Term, error) {
	switch text {
	case "":
		return 0, nil
	case "forever":
		return Forever, nil
	}
	d, err := quantity.Duration(text)
	if err == nil && (d < KeepMin || d > KeepMax) {
		err = fmt.Errorf("it must lie between %s and %s", quantity.Days(KeepMin), quantity.Days(KeepMax))
	}
	if err != nil {
		return 0, fault.New(fault.Invalid, "read keep", fmt.Sprintf("%.40q", text), err.Error()).
			WithHint("write 12h, 30d or forever; an empty text keeps nothing")
	}
	return Term(d), nil
}

// String writes a Term as ParseTerm reads it.
func (t Term) String() string {
	switch t {
	case 0:
		return ""
	case Forever:
		return "forever"
	}
	return quantity.Days(time.Duration(t))
}

func invalid(id, why string) *fault.Error {
	return fault.New(fault.Invalid, "check event", id, why)
}

// Check checks what the caller said and makes an event of it, without an ID where it has
// none. now is the server's clock. fault.Invalid names what is wrong.
func (n New) Check(now time.Time) (Event, error) {
	e := Event{Stream: n.Stream, ID: n.ID, Kind: n.Kind, Label: n.Label, Start: n.Start, End: n.End,
		Before: n.Before, After: n.After, Keep: n.Keep, By: n.By, Owner: n.Owner}
	if e.Start.IsZero() {
		e.Start = now
	}
	e.Start = e.Start.UTC().Truncate(time.Microsecond)
	switch {
	case n.Open && !n.End.IsZero():
		return e, invalid(n.ID, "an open event has no end yet")
	case n.Open:
	case e.End.IsZero():
		e.End = e.Start
	default:
		e.End = e.End.UTC().Truncate(time.Microsecond)
	}
	if err := checkWords(e.ID, e.Kind, e.Label); err != nil {
		return e, err
	}
	if err := e.checkTimes(now); err != nil {
		return e, err
	}
	if e.Keep != 0 && e.Keep != Forever && (time.Duration(e.Keep) < KeepMin || time.Duration(e.Keep) > KeepMax) {
		return e, invalid(e.ID, "keep is out of bounds")
	}
	var err error
	e.Data, err = checkData(e.ID, n.Data)
	return e, err
}

// CheckKind checks a kind: [a-z][a-z0-9._-]{0,31}.
func CheckKind(kind string) error {
	ok := kind != "" && len(kind) <= KindMax && kind[0] >= 'a' && kind[0] <= 'z'
	for i := 0; ok && i < len(kind); i++ {
		c := kind[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	if ok {
		return nil
	}
	return fault.New(fault.Invalid, "read kind of event", fmt.Sprintf("%.40q", kind),
		fmt.Sprintf("want a small letter and up to %d more of a-z 0-9 . _ -", KindMax-1)).WithHint("such as mark, motion or person")
}

func checkWords(id, kind, label string) error {
	if len(id) > IDMax || strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
		return fault.New(fault.Invalid, "read id of event", fmt.Sprintf("%.80q", id),
			fmt.Sprintf("want up to %d of the characters a-z A-Z 0-9 _ -", IDMax)).WithHint("leave it out, and the server makes one")
	}
	if err := CheckKind(kind); err != nil {
		return err
	}
	return checkLabel(id, label)
}

func checkLabel(id, label string) error {
	switch {
	case len(label) > LabelMax:
		return invalid(id, fmt.Sprintf("the label has %d bytes, at most %d", len(label), LabelMax))
	case !utf8.ValidString(label):
		return invalid(id, "the label is not UTF-8")
	case strings.ContainsFunc(label, unicode.IsControl):
		return invalid(id, "the label has control characters").WithHint("write it in one line")
	}
	return nil
}

func (e Event) checkTimes(now time.Time) error {
	switch {
	case e.Before < 0 || e.Before > RollMax || e.After < 0 || e.After > RollMax:
		return invalid(e.ID, "before and after lie between 0s and "+quantity.Days(RollMax))
	case e.Start.UnixMicro() <= 0:
		return invalid(e.ID, "it starts before 1970")
	case e.Start.After(now.Add(FutureMax)):
		return invalid(e.ID, "it starts in the future, by this server's clock it is "+now.UTC().Format(time.RFC3339)).WithHint("set the clock right, or leave start out")
	case e.Open() && now.Sub(e.Start) > OpenMax:
		return invalid(e.ID, "an open event began "+quantity.Days(OpenMax)+" ago at most").WithHint("send its end too")
	case e.Open():
		return nil
	}
	return e.checkEnd(now)
}

func (e Event) checkEnd(now time.Time) error {
	switch {
	case e.End.Before(e.Start):
		return invalid(e.ID, "it ends before it starts")
	case e.End.Sub(e.Start) > LengthMax:
		return invalid(e.ID, "it lasts longer than "+quantity.Days(LengthMax))
	case e.End.After(now.Add(OpenMax)):
		return invalid(e.ID, "it ends more than "+quantity.Days(OpenMax)+" ahead")
	}
	return nil
}

// checkData brings data into one form: a compact JSON object.
func checkData(id string, data json.RawMessage) (json.RawMessage, error) {
	text := bytes.TrimSpace(data)
	if len(text) == 0 || string(text) == "null" {
		return json.RawMessage("{}"), nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil || text[0] != '{' || !utf8.Valid(text) {
		return nil, invalid(id, "data is not a JSON object")
	}
	if b.Len() > DataMax {
		return nil, invalid(id, fmt.Sprintf("data has %d bytes, at most %d", b.Len(), DataMax)).
			WithHint("put large results into a data stream, and where they are into the event")
	}
	return json.RawMessage(b.Bytes()), nil
}
