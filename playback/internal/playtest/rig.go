package playtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/internal/host/hosttest"
	"penstock/internal/repotest"
	"penstock/media"
	"penstock/storage/disk"
	"penstock/storage/meta"
	"penstock/streams"
)

// Epoch is when a Clock begins.
var Epoch = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// Clock is moved by the test, and never back.
type Clock struct{ *hosttest.Clock }

// Set moves the time to t, if that lies ahead.
func (c Clock) Set(t time.Time) {
	if t.After(c.Now()) {
		c.Clock.Set(t)
	}
}

// Rig is a Hub with a store in a temporary folder and one stream.
type Rig struct {
	T      testing.TB
	Hub    *streams.Hub
	Store  *fragments.Store
	Clock  *Clock // nil when the rig runs on the machine's time
	Stream streams.Stream
}

// Open starts a rig whose time stands still until Record moves it. It stops with the test.
func Open(t testing.TB) *Rig {
	t.Helper()
	c := &Clock{hosttest.NewClock(Epoch)}
	r := open(t, c)
	r.Clock = c
	return r
}

// OpenLong starts a rig for a history that is recorded much faster than it passed: its
// chunks are an hour long, as many small ones would take the disk too long.
func OpenLong(t testing.TB) *Rig {
	t.Helper()
	c := &Clock{hosttest.NewClock(Epoch)}
	r := openSpan(t, c, time.Hour)
	r.Clock = c
	return r
}

// OpenLive starts a rig on the machine's time.
func OpenLive(t testing.TB) *Rig {
	t.Helper()
	return open(t, host.System{})
}

func open(t testing.TB, clock host.Clock) *Rig {
	t.Helper()
	return openSpan(t, clock, 0)
}

// openSpan starts a rig with chunks of a length, 0: the usual.
func openSpan(t testing.TB, clock host.Clock, span time.Duration) *Rig {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bucket, err := disk.Open(context.Background(), disk.Config{Dir: filepath.Join(dir, "bucket")})
	must(err)
	db, err := meta.Open(context.Background(), meta.Config{Path: filepath.Join(dir, "meta.db")})
	must(err)
	store, err := fragments.Open(context.Background(), fragments.Config{Dir: filepath.Join(dir, "tmp"), Bucket: bucket, Meta: db, Clock: clock,
		ChunkSpan: span})
	must(err)
	hub := streams.NewHub(streams.HubConfig{Store: store, Clock: clock})
	var running sync.WaitGroup
	running.Go(func() {
		switch err := store.Run(ctx); {
		case fault.Is(err, fault.Unavailable) && ctx.Err() != nil:
			t.Logf("the machine was late at the store's end, which has its own tests: %v", err)
		case err != nil && !errors.Is(err, context.Canceled):
			t.Errorf("store: %v", err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
		must(db.Close())
	})
	return &Rig{T: t, Hub: hub, Store: store,
		Stream: streams.Stream{ID: "abcdefghijkl", Account: "000000000000", Name: "front-door", Retention: 24 * time.Hour}}
}

// Publish begins a session. Nil tracks are src's.
func (r *Rig) Publish(tracks []media.Track) *streams.Session {
	r.T.Helper()
	s, err := r.Hub.Publish(context.Background(), r.Stream, streams.Producer{Protocol: "test"}, tracks, nil)
	if err != nil {
		r.T.Fatal(err)
	}
	return s
}

// Play writes src to a session at the rig's time, which moves as media time does.
func (r *Rig) Play(s *streams.Session, src Source) {
	r.T.Helper()
	zero := r.Clock.Now()
	first := time.Duration(0)
	for i, x := range src.Samples {
		t, _ := media.FindTrack(src.Tracks, x.Track)
		at := t.Duration(x.DTS)
		if i == 0 {
			first = at
		}
		r.Clock.Set(zero.Add(at - first))
		if err := s.Write(x); err != nil {
			r.T.Fatal(err)
		}
	}
	r.Clock.Set(zero.Add(src.Length))
}

// Record stores src as a session of its own and returns when it can be read.
func (r *Rig) Record(src Source) {
	r.T.Helper()
	s := r.Publish(src.Tracks)
	r.Play(s, src)
	r.End(s, nil)
}

// End closes a session.
func (r *Rig) End(s *streams.Session, cause error) {
	r.T.Helper()
	if err := s.Close(cause); err != nil {
		r.T.Fatal(err)
	}
}

// Heads returns all that is recorded.
func (r *Rig) Heads() []fragments.Head {
	r.T.Helper()
	var out []fragments.Head
	for h, err := range r.Hub.Log(r.Stream).Select(context.Background(), fragments.Range{}) {
		if err != nil {
			r.T.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

// Handler answers as package web would: an error becomes a status and its text.
func Handler(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f(w, r); err != nil {
			http.Error(w, err.Error(), Status(err))
		}
	})
}

// Status is the HTTP status of a fault, as package web has it.
func Status(err error) int {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Expired:
		return http.StatusGone
	case fault.Throttled:
		return http.StatusTooManyRequests
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Get asks a handler and returns the answer and its body.
func Get(t testing.TB, h http.Handler, target string, header ...string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	res := w.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, body
}

// Frames has ffmpeg decode data and returns a checksum per picture and block of sound,
// in order of presentation. Any complaint fails the test.
func Frames(t testing.TB, data []byte, ext string, input ...string) (video, audio []string) {
	t.Helper()
	ffmpeg := repotest.Need(t, "ffmpeg")
	file := filepath.Join(t.TempDir(), "served"+ext)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return FramesOf(t, ffmpeg, append(input, "-i", file)...)
}

// FramesOf is Frames of any ffmpeg input.
func FramesOf(t testing.TB, ffmpeg string, input ...string) (video, audio []string) {
	t.Helper()
	run := func(kind string) []string {
		args := append([]string{"-hide_banner", "-nostdin", "-v", "error", "-xerror"}, input...)
		args = append(args, "-map", "0:"+kind+"?", "-fps_mode", "passthrough", "-f", "framehash", "-hash", "crc32", "-")
		var out, words strings.Builder
		cmd := repotest.Command(t, ffmpeg, args...)
		cmd.Stdout, cmd.Stderr = &out, &words
		err := cmd.Run()
		if strings.Contains(words.String(), "does not contain any stream") {
			return nil
		}
		if err != nil || words.Len() > 0 {
			t.Fatalf("ffmpeg %v: %v\n%s", args, err, words.String())
		}
		var sums []string
		for line := range strings.Lines(out.String()) {
			if !strings.HasPrefix(line, "#") {
				f := strings.Split(line, ",")
				sums = append(sums, strings.TrimSpace(f[len(f)-1]))
			}
		}
		return sums
	}
	return run("v"), run("a")
}
