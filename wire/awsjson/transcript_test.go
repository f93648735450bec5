package awsjson

import (
	"testing"

	"penstock/wire/awsjson/transcript"
)

// The files are named after the paragraphs of docs/compatibility.md that they show.
func TestTranscripts(t *testing.T) {
	transcript.Run(t, transcript.Config{Handler: toyServer(t, nil), Update: transcript.Update()}, "testdata/*.txtar")
}
