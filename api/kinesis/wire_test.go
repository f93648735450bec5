package kinesis

import (
	"net/http"
	"regexp"
	"testing"

	"penstock/wire/awsjson/transcript"
	"penstock/wire/sigv4"
)

// What goes over the wire, to the byte: headers, both formats, event streams. What the
// operations say is in the other transcripts.
func TestWire(t *testing.T) {
	r := newRig(t, options{})
	signer := sigv4.Signer{AccessKey: r.admin.ID, Secret: r.admin.Secret.Reveal(), Region: testRegion, Service: "kinesis"}
	transcript.Run(t, transcript.Config{
		Handler: r.server,
		Sign:    func(q *http.Request, body []byte) { signer.Sign(q, body, r.clock.Now()) },
		Remember: map[string]*regexp.Regexp{
			"iterator": regexp.MustCompile(`ShardIterator": ?"([^"]+)"`),
			"token":    regexp.MustCompile(`NextToken": ?"([^"]+)"`),
		},
		Update: *update,
	}, "testdata/wire/*.txtar")
}
