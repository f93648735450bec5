package awsjson

import "testing"

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		text, value string
		want        bool
	}{
		{"[a-z]+", "abc", true},
		{"[a-z]+", "abc1", false},
		{"[a-z]+", "abc\n", false},
		{"a|bc", "bc", true},
		{"a|bc", "abc", false},
		{`^(arn):aws.*:x`, "arn:aws:x", true},
		{`^(?!\s*$).+`, "  ", false},
		{`^(?!\s*$).+`, " a", true},
		{`^(?!aws:)[\p{L}:]*$`, "aws:x", false},
		{`^(?!aws:)[\p{L}:]*$`, "awé:x", true},
		{`[\u0001-\uFFFF]*`, "x\x00", false},
		{`[\u0001-\uFFFF]*`, "xé", true},
	} {
		if got := MustPattern(c.text).Match(c.value); got != c.want {
			t.Errorf("%s matches %q: %v", c.text, c.value, got)
		}
	}
	for _, bad := range []string{"(", "(?!a", "(?!(", "(?!()*+)b"} {
		if p, err := CompilePattern(bad, bad); err == nil {
			t.Errorf("%s is compiled: %v", bad, p)
		}
	}
}
