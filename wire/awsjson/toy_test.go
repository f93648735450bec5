package awsjson

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite the answers of transcripts")
	flag.Parse()
	if flag.Lookup("test.fuzzworker").Value.String() == "true" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

type toyInner struct {
	Size *int32
	Word string
}

type toyInput struct {
	Blob   []byte
	Count  *int32
	Flag   *bool
	Inner  *toyInner
	Long   *int64
	Many   []toyInner
	Names  []string
	Ratio  *float64
	Secret *string
	Tags   map[string]string
	When   time.Time
	Words  []string
}

type (
	toyNothing struct{}
	toyFail    struct{ How string }
	toyWatched struct{}
)

// toyModel is a service with a member of every kind.
func toyModel() *Model {
	word := &Shape{Name: "Word", Kind: String, Enum: []string{"RED", "BLUE"}}
	name := &Shape{Name: "Name", Kind: String, Min: Limit(1), Max: Limit(3), Pattern: MustPattern("[a-z]+")}
	count := &Shape{Name: "Count", Kind: Integer, Min: Limit(1), Max: Limit(10)}
	inner := &Shape{Name: "Inner", Kind: Structure, Members: []Member{{Name: "Size", Shape: count}, {Name: "Word", Shape: word, Required: true}}}
	echo := &Shape{Name: "Echo", Kind: Structure, Members: []Member{
		{Name: "Blob", Shape: &Shape{Name: "Data", Kind: Blob, Min: Limit(0), Max: Limit(8)}},
		{Name: "Count", Shape: count},
		{Name: "Flag", Shape: &Shape{Name: "Flag", Kind: Boolean}},
		{Name: "Inner", Shape: inner},
		{Name: "Long", Shape: &Shape{Name: "Long", Kind: Long}},
		{Name: "Many", Shape: &Shape{Name: "InnerList", Kind: List, Elem: inner, Max: Limit(2)}},
		{Name: "Names", Shape: &Shape{Name: "Names", Kind: List, Elem: name, Min: Limit(1)}},
		{Name: "Ratio", Shape: &Shape{Name: "Ratio", Kind: Double}},
		{Name: "Secret", Shape: &Shape{Name: "Secret", Kind: String, Min: Limit(0), Max: Limit(4)}},
		{Name: "Tags", Shape: &Shape{Name: "Tags", Kind: Map, Key: name, Elem: &Shape{Name: "Value", Kind: String, Min: Limit(0), Max: Limit(2)}, Max: Limit(2)}},
		{Name: "When", Shape: &Shape{Name: "When", Kind: Timestamp}},
		{Name: "Words", Shape: &Shape{Name: "Words", Kind: List, Elem: word}},
	}}
	events := &Shape{Name: "Events", Kind: Structure, Events: true}
	return &Model{Target: "Toy_20260101", Service: "toy", Operations: []OperationModel{
		{Name: "Echo", Input: echo, New: func() any { return new(toyInput) }, Output: echo, Out: func() any { return new(toyInput) }},
		{Name: "Fail", Input: &Shape{Name: "FailInput", Kind: Structure, Members: []Member{{Name: "How", Shape: &Shape{Name: "How", Kind: String}, Required: true}}},
			New: func() any { return new(toyFail) }},
		{Name: "Nothing", Input: &Shape{Name: "NothingInput", Kind: Structure}, New: func() any { return new(toyNothing) }},
		{Name: "Watch", Input: &Shape{Name: "WatchInput", Kind: Structure, Members: []Member{{Name: "How", Shape: &Shape{Name: "How", Kind: String}}}},
			New:    func() any { return new(toyFail) },
			Output: &Shape{Name: "WatchOutput", Kind: Structure, Members: []Member{{Name: "Events", Shape: events, Required: true}}},
			Out:    func() any { return new(toyWatched) }},
	}}
}

var errKnown, errSecret = errors.New("known"), errors.New("the disk is on fire")

// toyHandlers do what the input asks for.
func toyHandlers() []Handler {
	return []Handler{
		Handle("Echo", func(_ context.Context, _ *Call, in *toyInput) (*toyInput, error) { return in, nil }),
		HandleVoid("Fail", func(_ context.Context, _ *Call, in *toyFail) error {
			switch in.How {
			case "panic":
				panic("as asked")
			case "modelled":
				return NewError("ResourceNotFoundException", "Stream %s under account %s not found.", "cams", "123456789012")
			case "fault":
				return &Error{Type: "InternalFailureException", Status: http.StatusInternalServerError}
			case "known":
				return errKnown
			}
			return errSecret
		}),
		HandleVoid("Nothing", func(context.Context, *Call, *toyNothing) error { return nil }),
		HandleStream("Watch", func(_ context.Context, _ *Call, in *toyFail, s *Stream) error {
			if in.How == "before" {
				return NewError("ResourceInUseException", "not yet")
			}
			if in.How != "nothing" {
				if err := s.Send("ToyEvent", toyEvent{}); err != nil {
					return err
				}
			}
			if in.How == "after" {
				return NewError("ResourceInUseException", "no more")
			}
			return nil
		}),
	}
}

type toyEvent struct{}

func (toyEvent) AppendJSON(dst []byte) []byte { return append(dst, `{"n":1}`...) }
func (toyEvent) AppendCBOR(dst []byte) []byte { return append(dst, 0xa1, 0x61, 'n', 1) }

// toyServer serves the toy.
func toyServer(t testing.TB, change func(*Config)) *Server {
	t.Helper()
	c := Config{
		Services: []Service{{Model: toyModel(), Handlers: toyHandlers()}},
		Exception: func(_ *Call, err error) *Error {
			if errors.Is(err, errKnown) {
				return NewError("LimitExceededException", "told so")
			}
			return nil
		},
	}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
