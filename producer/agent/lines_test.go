package agent

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// split feeds text in pieces of n bytes, as two reads of a file do, and finishes.
func split(t *testing.T, s *splitter, text string, n int) []string {
	t.Helper()
	var out []string
	at := int64(0)
	take := func(rec []byte, end int64) error {
		if len(rec) > s.max || len(rec) == 0 || end <= at {
			t.Errorf("a record of %d bytes that ends at %d after %d", len(rec), end, at)
		}
		at = end
		out = append(out, string(rec))
		return nil
	}
	for len(text) > 0 {
		m := min(n, len(text))
		if err := s.feed([]byte(text[:m]), take); err != nil {
			t.Fatal(err)
		}
		text = text[m:]
	}
	if err := s.finish(take); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLinesBecomeRecords(t *testing.T) {
	stamp := regexp.MustCompile(`^\d\d:`)
	for name, c := range map[string]struct {
		start *regexp.Regexp
		max   int
		text  string
		want  string
	}{
		"lines":                         {text: "a\nbb\nccc\n", want: "a|bb|ccc"},
		"line ends of Windows":          {text: "a\r\nb\r\n", want: "a|b"},
		"the last without a line end":   {text: "a\nb", want: "a|b"},
		"empty lines are none":          {text: "\n\na\n\r\n\nb\n\n", want: "a|b"},
		"long lines are cut":            {max: 4, text: "abcdefghij\nk\nabcd\nabcde\n", want: "abcd|efgh|ij|k|abcd|abcd|e"},
		"no character is torn":          {max: 4, text: "aaaü\nüüü\n", want: "aaa|ü|üü|ü"},
		"many lines in one":             {start: stamp, text: "01:a\n at b\n at c\n02:d\n03:e\n", want: "01:a\n at b\n at c|02:d|03:e"},
		"before the first start":        {start: stamp, text: " at b\n01:a\n", want: " at b|01:a"},
		"many lines in one, but long":   {start: stamp, max: 8, text: "01:a\nbb\ncc\ndd\n02:d\n", want: "01:a\nbb|cc\ndd|02:d"},
		"a start without a line end":    {start: stamp, text: "01:a\n b\n02:d", want: "01:a\n b|02:d"},
		"one long line after the start": {start: stamp, max: 8, text: "01:a\nabcdefghijkl\n02:d\n", want: "01:a|abcdefgh|ijkl|02:d"},
	} {
		for _, n := range []int{1, 3, 1000} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				s := &splitter{start: c.start, max: c.max}
				if s.max == 0 {
					s.max = 1 << 20
				}
				if got := strings.Join(split(t, s, c.text, n), "|"); got != c.want {
					t.Errorf("got  %q\nwant %q", got, c.want)
				}
			})
		}
	}
}

func TestHeldLinesAreGivenWhenNoMoreCome(t *testing.T) {
	s := &splitter{start: regexp.MustCompile(`^S`), max: 100}
	var got []string
	take := func(rec []byte, _ int64) error { got = append(got, string(rec)); return nil }
	if err := errors.Join(s.feed([]byte("S1\n a\n half"), take), s.flush(take), s.feed([]byte(" line\nS2\n"), take)); err != nil {
		t.Fatal(err)
	}
	if want := "S1\n a| half line"; strings.Join(got, "|") != want || s.from != 17 {
		t.Errorf("got %q at %d", got, s.from)
	}
}

func TestWhatIsNotTakenIsHeld(t *testing.T) {
	s := &splitter{max: 100}
	full := errors.New("full")
	if err := s.feed([]byte("a\nb\n"), func(rec []byte, _ int64) error {
		if string(rec) == "b" {
			return full
		}
		return nil
	}); !errors.Is(err, full) || s.from != 2 {
		t.Errorf("%v at %d", err, s.from)
	}
	var got []string
	if err := s.feed([]byte("c\n"), func(rec []byte, _ int64) error { got = append(got, string(rec)); return nil }); err != nil || strings.Join(got, "|") != "b|c" {
		t.Errorf("%v %q", err, got)
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add("a\nbb\r\n\nccc", uint8(2), uint8(5), false)
	f.Add("S1\n x\nS2\nüüü\n", uint8(3), uint8(3), true)
	f.Fuzz(func(t *testing.T, text string, n, limit uint8, many bool) {
		s := &splitter{max: 4 + int(limit)}
		if many {
			s.start = regexp.MustCompile(`^S`)
		}
		got := split(t, s, text, 1+int(n))
		if s.from != int64(len(text)) {
			t.Fatalf("ended at %d of %d", s.from, len(text))
		}
		strip := func(s string) string { return strings.NewReplacer("\n", "", "\r", "").Replace(s) }
		if all := strings.Join(got, ""); strip(all) != strip(text) {
			t.Fatalf("%q became %q", text, all)
		}
		whole := split(t, &splitter{max: s.max, start: s.start}, text, len(text)+1)
		if strings.Join(whole, "\x00") != strings.Join(got, "\x00") && s.cut == 0 {
			t.Fatalf("pieces of %d bytes: %q, at once: %q", n, got, whole)
		}
		if utf8.ValidString(text) {
			for _, rec := range got {
				if !utf8.Valid(bytes.TrimSpace([]byte(rec))) {
					t.Fatalf("torn: %q", rec)
				}
			}
		}
	})
}
