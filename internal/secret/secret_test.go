package secret_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"penstock/internal/secret"
)

type holder struct {
	Shown  secret.Text
	hidden secret.Text
}

func TestNothingPrintsIt(t *testing.T) {
	s := secret.New("hunter2")
	h := holder{s, s}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "s", s, "h", h, "p", &h)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "s", s, "h", h, "p", &h)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		fmt.Fprintf(&b, verb+"\n", s)
		fmt.Fprintf(&b, verb+"\n", &s)
		fmt.Fprintf(&b, verb+"\n", h)
		fmt.Fprintf(&b, verb+"\n", &h)
		fmt.Fprintf(&b, verb+"\n", []holder{h})
		fmt.Fprintf(&b, verb+"\n", map[string]holder{"a": h})
	}
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	all := b.String() + string(j)
	for _, leak := range []string{"hunter2", "68756e74657232", "68756E74657232"} {
		if strings.Contains(all, leak) {
			t.Errorf("%s is shown:\n%s", leak, all)
		}
	}
	if !strings.Contains(string(j), secret.Mask) {
		t.Errorf("JSON %s has no mask", j)
	}
	if h.hidden.Reveal() != "hunter2" {
		t.Error("it was lost")
	}
}

func TestItComparesByValue(t *testing.T) {
	if secret.New("a") != secret.New("a") || secret.New("a") == secret.New("b") || secret.New("") != (secret.Text{}) {
		t.Error("== does not compare the text")
	}
	if !secret.New("a").Equal("a") || secret.New("a").Equal("b") || !(secret.Text{}).Equal("") || !(secret.Text{}).Empty() {
		t.Error("Equal or Empty is wrong")
	}
	var s secret.Text
	if err := json.Unmarshal([]byte(`"x"`), &s); err != nil || s.Reveal() != "x" {
		t.Errorf("%v", err)
	}
}
