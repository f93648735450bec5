package eventstream

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

const golden = "0000007200000060ab820d9e0d3a6d6573736167652d747970650700056576656e740b3a6576656e742d74797065070010696e697469616c2d726573706f6e73650d3a636f6e74656e742d7479706507001a6170706c69636174696f6e2f782d616d7a2d6a736f6e2d312e317b7de16e66e4"

func TestGoldenFrames(t *testing.T) {
	got := AppendInitialResponse(nil, "application/x-amz-json-1.1", []byte("{}"))
	if hex.EncodeToString(got) != golden {
		t.Errorf("initial-response with {} is\n%x", got)
	}
	bare := Append(nil, nil, Header{":message-type", "event"}, Header{":event-type", "initial-response"})
	if want := "0000004500000035a382cc730d3a6d6573736167652d747970650700056576656e740b3a6576656e742d74797065070010696e697469616c2d726573706f6e7365b7624dee"; hex.EncodeToString(bare) != want {
		t.Errorf("initial-response without payload is\n%x", bare)
	}
}

func TestTheSDKReadsWhatWeWrite(t *testing.T) {
	var b []byte
	b = AppendInitialResponse(b, "application/x-amz-json-1.1", []byte("{}"))
	b = AppendEvent(b, "SubscribeToShardEvent", "application/x-amz-json-1.1", []byte(`{"Records":[]}`))
	b = AppendException(b, "ResourceInUseException", "application/x-amz-json-1.1", []byte(`{"message":"m"}`))
	r, d := bytes.NewReader(b), sdk.NewDecoder()
	want := []struct{ header, value, payload string }{
		{":event-type", "initial-response", "{}"},
		{":event-type", "SubscribeToShardEvent", `{"Records":[]}`},
		{":exception-type", "ResourceInUseException", `{"message":"m"}`},
	}
	for _, w := range want {
		m, err := d.Decode(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Headers.Get(w.header); got == nil || got.String() != w.value || string(m.Payload) != w.payload {
			t.Errorf("the SDK reads %v %q, not %v", m.Headers, m.Payload, w)
		}
	}
	if r.Len() != 0 {
		t.Errorf("%d bytes are left", r.Len())
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	buf, payload := make([]byte, 0, 4096), make([]byte, 1024)
	if n := testing.AllocsPerRun(100, func() {
		buf = AppendEvent(buf[:0], "SubscribeToShardEvent", "application/x-amz-json-1.1", payload)
	}); n != 0 {
		t.Errorf("one event makes %v allocations", n)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good, _ := hex.DecodeString(golden)
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			if m, _, err := Decode(bad); err == nil {
				t.Fatalf("bit %d of byte %d is flipped, and nobody sees it: %v", bit, i, m)
			}
		}
		if _, _, err := Decode(good[:i]); !errors.Is(err, ErrShort) {
			t.Fatalf("%d bytes of a message: %v", i, err)
		}
	}
}

// FuzzDecode compares with the decoder of the SDK, on whatever it takes.
func FuzzDecode(f *testing.F) {
	good, _ := hex.DecodeString(golden)
	f.Add(good)
	f.Add(AppendException(nil, "E", "", nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, n, err := Decode(data)
		theirs, theirErr := sdk.NewDecoder().Decode(bytes.NewReader(data), nil)
		if err != nil {
			return
		}
		if theirErr != nil {
			t.Fatalf("the SDK refuses what we take: %v", theirErr)
		}
		if !bytes.Equal(m.Payload, theirs.Payload) || len(m.Headers) != len(theirs.Headers) {
			t.Fatalf("%v is not %v", m, theirs)
		}
		if again := Append(nil, m.Payload, m.Headers...); !bytes.Equal(again, data[:n]) {
			t.Fatalf("written again it is %x, not %x", again, data[:n])
		}
	})
}

func BenchmarkAppendEvent(b *testing.B) {
	buf, payload := make([]byte, 0, 2<<20), make([]byte, 1<<20)
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		buf = AppendEvent(buf[:0], "SubscribeToShardEvent", "application/x-amz-json-1.1", payload)
	}
}
