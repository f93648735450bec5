package awsjson

import (
	"context"
	"strings"
	"testing"
)

// quick is an input that is read in one pass.
type quick struct{ Blob []byte }

func (q *quick) DecodeFast(r *Reader) bool {
	if !r.Object() {
		return false
	}
	for {
		key, ok := r.Key()
		if !ok {
			return r.Fine() && q.Blob != nil
		}
		if string(key) != "Blob" {
			return r.Odd()
		}
		q.Blob = r.Blob()
	}
}

func (q *quick) Reset() { *q = quick{} }

// TestABodyIsGivenBackWhenItIsRead: while the handler waits only what it needs is held.
func TestABodyIsGivenBackWhenItIsRead(t *testing.T) {
	blob := &Shape{Name: "Data", Kind: Blob}
	var s *Server
	var held int64
	var got string
	var fails bool
	model := &Model{Target: "Quick_1", Service: "quick", Operations: []OperationModel{{Name: "Put", New: func() any { return new(quick) },
		Input: &Shape{Name: "PutInput", Kind: Structure, Members: []Member{{Name: "Blob", Shape: blob}}}}}}
	s, err := New(Config{Services: []Service{{Model: model, Handlers: []Handler{HandleVoid("Put", func(_ context.Context, _ *Call, in *quick) error {
		held, got = s.budget.held.Load(), string(in.Blob)
		if fails {
			panic("on purpose")
		}
		return nil
	})}}}})
	if err != nil {
		t.Fatal(err)
	}
	const bytes = 1530
	text := strings.Repeat("YWJj", bytes/3)
	for _, c := range []struct {
		content, body string
		held          int64 // while the handler works
	}{
		{TypeJSON, `{"Blob":"` + text + `"}`, 2 << 10},      // the blob: the body took 3 KiB
		{TypeJSON, `{"Bl\u006fb":"` + text + `"}`, 3 << 10}, // what is not read in one pass
		{TypeCBOR, "\xa1\x64Blob\x59\x05\xfa" + strings.Repeat("abc", bytes/3), 2 << 10},
	} {
		held, got, fails = -1, "", false
		if w := ask(s, "Quick_1.Put", c.content, strings.NewReader(c.body)); w.Code != 200 || got != strings.Repeat("abc", bytes/3) {
			t.Fatalf("%.20s: %d %s, %d bytes", c.body, w.Code, w.Body, len(got))
		}
		if held != c.held {
			t.Errorf("%.20s: %d bytes are held while the handler works", c.body, held)
		}
		fails = true
		if w := ask(s, "Quick_1.Put", c.content, strings.NewReader(c.body)); w.Code != 500 {
			t.Errorf("%.20s: %d when the handler panics", c.body, w.Code)
		}
		if n := s.budget.held.Load(); n != 0 {
			t.Errorf("%.20s: %d bytes are still counted", c.body, n)
		}
	}
}
