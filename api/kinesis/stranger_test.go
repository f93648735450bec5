package kinesis

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"penstock/auth"
	"penstock/internal/secret"
)

// TestALargeBodyOfAnUnknownKeyIsRefusedUnread: in the words that it would be refused with
// if it had been read, and on the same connection.
func TestALargeBodyOfAnUnknownKeyIsRefusedUnread(t *testing.T) {
	r := newRig(t, options{})
	stranger := auth.Issued{KeyInfo: auth.KeyInfo{ID: "PSAKNOBODY"}, Secret: secret.New("x")}
	body := []byte(`{"StreamName":"s","PartitionKey":"a","Data":"` + strings.Repeat("AAAA", 1<<18) + `"}`)
	answer, err := http.DefaultTransport.RoundTrip(r.request(context.Background(), stranger, "PutRecord", jsonType, body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	small, want := r.do(stranger, "PutRecord", `{"StreamName":"s","PartitionKey":"a","Data":""}`)
	if answer.StatusCode != small || string(text) != want || !strings.Contains(want, "UnrecognizedClientException") {
		t.Errorf("%d %s; a small one is told %d %s", answer.StatusCode, text, small, want)
	}
	refused := 0
	for _, e := range r.audit.all() {
		if e.Action == "kinesis:PutRecord" {
			refused++
		}
	}
	if refused == 0 {
		t.Error("the audit log has heard of nothing")
	}
}
