package loadgen

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"penstock/internal/host"
)

func TestAPlaylistOfPartsIsReadLikeAPlayerDoes(t *testing.T) {
	l := parsePlaylist("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"live/init-1.mp4\"\n" +
		"#EXT-X-PROGRAM-DATE-TIME:2026-03-01T10:00:00.000Z\n#EXTINF:2.0,\nlive/7.m4s\n" +
		"#EXT-X-PROGRAM-DATE-TIME:2026-03-01T10:00:02.000Z\n#EXT-X-PART:DURATION=0.4,URI=\"live/8.0.m4s\",INDEPENDENT=YES\n" +
		"#EXT-X-PART:DURATION=0.4,URI=\"live/8.1.m4s\"\n#EXTINF:0.8,\nlive/8.m4s\n" +
		"#EXT-X-PROGRAM-DATE-TIME:2026-03-01T10:00:02.800Z\n#EXT-X-PART:DURATION=0.4,URI=\"live/9.0.m4s\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"live/9.1.m4s\"\n")
	at := func(ms int) time.Time { return time.Date(2026, 3, 1, 10, 0, 0, ms*1e6, time.UTC) }
	want := []piece{{"live/7.m4s", true, at(0)}, {"live/8.0.m4s", true, at(2000)}, {"live/8.1.m4s", false, at(2400)}, {"live/9.0.m4s", false, at(2800)}}
	if fmt.Sprint(l.media) != fmt.Sprint(want) || l.init != "live/init-1.mp4" || l.nextSegment != 9 || l.nextPart != 1 || l.newestKey() != 1 {
		t.Errorf("it reads %+v", l)
	}
	if got := l.after(want[2]); got != 3 {
		t.Errorf("after the third comes %d", got)
	}
	if got := l.after(piece{uri: "gone"}); got != 1 {
		t.Errorf("after what is gone comes %d, want the newest key frame", got)
	}
}

func TestRefusedRecordsAreCountedByTheirReason(t *testing.T) {
	const slow = "ProvisionedThroughputExceededException"
	for name, c := range map[string]struct {
		answer any
		status int
		want   string
	}{
		"all taken":   {map[string]any{"FailedRecordCount": 0, "Records": []any{map[string]any{"ShardId": "a"}, map[string]any{"ShardId": "b"}}}, 200, "map[]"},
		"one refused": {map[string]any{"FailedRecordCount": 1, "Records": []any{map[string]any{"ShardId": "a"}, map[string]any{"ErrorCode": slow}}}, 200, "map[" + slow + ":1]"},
		"the call":    {map[string]any{"__type": "ResourceNotFoundException", "message": "gone"}, 400, "map[ResourceNotFoundException:2]"},
	} {
		for _, codec := range []Codec{JSON(), CBOR()} {
			encode := json.Marshal
			if codec.Name == "CBOR" {
				encode = cbor.Marshal
			}
			text, err := encode(c.answer)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(Failed(text, PutLoad{Batch: 2, Codec: codec}, c.status)); got != c.want {
				t.Errorf("%s in %s: %s, want %s", name, codec.Name, got, c.want)
			}
		}
	}
	if got := Failed([]byte("<html>"), PutLoad{Batch: 2, Codec: JSON()}, 502); len(got) != 1 {
		t.Errorf("what is no answer of the service: %v", got)
	}
}

// plainSigner signs nothing that anybody looks at.
type plainSigner struct{}

func (plainSigner) SignHash(r *http.Request, hash string, _ time.Time) {
	r.Header.Set("Authorization", hash)
}

func TestPutsAreCountedAndARefusedCallerIsAnError(t *testing.T) {
	var refuse atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Records []entry }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Records) != 3 || len(in.Records[0].Data) != 10 {
			t.Errorf("it sent %+v, %v", in, err)
		}
		if refuse.Load() {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"AccessDeniedException","message":"no"}`)
			return
		}
		_, _ = io.WriteString(w, `{"FailedRecordCount":1,"Records":[{},{},{"ErrorCode":"X"}]}`)
	}))
	defer server.Close()
	e := &Endpoint{Address: strings.TrimPrefix(server.URL, "http://"), Signer: plainSigner{}}
	edges := 0
	l := PutLoad{Conns: 2, Batch: 3, Size: 10, Codec: JSON()}
	r, err := e.Put(t.Context(), "s", l, 200*time.Millisecond, func(bool) { edges++ })
	if err != nil {
		t.Fatal(err)
	}
	if edges != 2 || r.Records != 2*len(r.Waits) || r.Refused["X"] != len(r.Waits) || len(r.Waits) == 0 || r.First == nil {
		t.Errorf("%d edges, %d records of %d calls, refused %v, %v", edges, r.Records, len(r.Waits), r.Refused, r.First)
	}
	refuse.Store(true)
	var refused *Refusal
	if _, err := e.Put(t.Context(), "s", l, time.Second, nil); !errors.As(err, &refused) || refused.Code != "AccessDeniedException" {
		t.Errorf("refused: %v", err)
	}
}

func TestPicturesArePackedAsRTP(t *testing.T) {
	l := Load{Bitrate: 1_000_000, FPS: 25, GOP: 25, Audio: true}
	f := newFilm(l)
	bytes := 0
	for i, u := range f.video {
		for k, at := range u.packets {
			n := int(binary.BigEndian.Uint16(u.wire[at-2:]))
			last := k == len(u.packets)-1
			if marked := u.wire[at+1]&0x80 != 0; marked != last {
				t.Fatalf("picture %d, packet %d of %d: the marker is %v", i, k, len(u.packets), marked)
			}
			if n > payloadMax+12 {
				t.Fatalf("a packet of %d bytes", n)
			}
			bytes += n
		}
	}
	if want := l.Bitrate / 8; bytes < want || bytes > want*11/10 {
		t.Errorf("a second has %d bytes, want %d and headers", bytes, want)
	}
}

func TestACameraThatIsRefusedSaysHow(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = io.WriteString(c, "RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\n\r\n")
			_ = c.Close()
		}
	}()
	var st Sent
	f := Fleet{Cameras: 3, Load: Load{Bitrate: 64_000, FPS: 5, GOP: 5}, Address: listener.Addr().String(), Name: func(i int) string { return fmt.Sprint(i) }}
	var refused *Refused
	if err := f.Run(t.Context(), &st); !errors.As(err, &refused) || refused.Code != 401 || st.Errors.Load() != 3 || st.Accepted.Load() != 0 {
		t.Errorf("%v, %d errors, %d accepted", err, st.Errors.Load(), st.Accepted.Load())
	}
}

func TestRawWritesAreMeasuredAndLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenRaw(host.OS{}, dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	waits, err := d.Measure(context.Background(), 4096, time.Minute, 10*4096)
	if err != nil || len(waits) != 10 {
		t.Errorf("%d writes, %v", len(waits), err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := (host.OS{}).ReadDir(dir); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestQuantiles(t *testing.T) {
	waits := []time.Duration{3e6, 1e6, 2e6}
	if Quantile(waits, 0) != 1 || Quantile(waits, 0.5) != 2 || Quantile(waits, 1) != 3 || Quantile(nil, 0.5) != 0 {
		t.Error(waits)
	}
	if Rounded(123456) != 123000 || Rounded(0.0012345) != 0.00123 || Rounded(0) != 0 {
		t.Error(Rounded(123456), Rounded(0.0012345))
	}
}

func FuzzPlaylist(f *testing.F) {
	f.Add("#EXTM3U\n#EXT-X-MAP:URI=\"a\"\n#EXT-X-PART:DURATION=1,URI=\"b\"\nc\n")
	f.Add("#EXT-X-PART:URI=\"")
	f.Fuzz(func(t *testing.T, text string) {
		l := parsePlaylist(text)
		if n := l.after(piece{uri: "x"}); n < 0 || n > len(l.media) {
			t.Errorf("%d of %d", n, len(l.media))
		}
	})
}
