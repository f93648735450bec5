package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/storage/storagetest/versity"
)

// withStore is a server that keeps its media in an S3 store, in chunks of 5 s.
func withStore(t *testing.T, store *versity.Server, secret string) *server {
	t.Helper()
	config := save(t, "penstock.yaml", []byte("storage:\n  chunk: 5s\n"))
	return startWith(t, &server{dir: t.TempDir(), args: []string{"--config", config}, env: []string{
		"PENSTOCK_S3_ENDPOINT=" + store.Config.Endpoint, "PENSTOCK_S3_BUCKET=" + store.Config.Bucket,
		"PENSTOCK_S3_ACCESS_KEY=" + store.Config.AccessKey, "PENSTOCK_S3_SECRET_KEY=" + secret,
	}})
}

// chunkFiles lists the chunks under a directory: all files of that ending, by path.
func chunkFiles(t testing.TB, dir, ending string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ending) {
			all = append(all, path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil // it was being sealed
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// metric reads one sample of /metrics, summed over its labels.
func (s *server) metric(name string) float64 {
	s.t.Helper()
	status, body, _ := s.do(http.MethodGet, "/metrics", nil)
	if status != http.StatusOK {
		s.t.Fatalf("metrics: %d %s", status, body)
	}
	sum := 0.0
	for line := range strings.Lines(string(body)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if base, _, _ := strings.Cut(key, "{"); base == name {
			v := 0.0
			if _, err := fmt.Sscanf(value, "%g", &v); err != nil {
				s.t.Fatalf("metrics: %q: %v", line, err)
			}
			sum += v
		}
	}
	return sum
}

// problems is what the server wants its operator to know.
func (s *server) problems() string {
	s.t.Helper()
	var v struct{ Problems []string }
	s.get("/v1/system", &v)
	return strings.Join(v.Problems, "\n")
}

// hears waits for a problem that holds all words.
func (s *server) hears(most time.Duration, words ...string) {
	s.t.Helper()
	s.until("a problem with "+strings.Join(words, ", "), most, func() error {
		text := s.problems()
		for _, w := range words {
			if !strings.Contains(text, w) {
				return fmt.Errorf("the problems are %q", text)
			}
		}
		return nil
	})
}

// unbroken checks that fragments follow each other without a gap from one on.
func (s *server) unbroken(name string, from time.Time) []head {
	s.t.Helper()
	heads := s.fragments(name)
	first := slices.IndexFunc(heads, func(h head) bool { return !h.End.Before(from) })
	if first < 0 {
		s.t.Fatalf("%s: none of %d fragments ends after %v", name, len(heads), from)
	}
	heads = heads[first:]
	for i := 1; i < len(heads); i++ {
		if !heads[i].Start.Equal(heads[i-1].End) || heads[i].Gap != "" {
			s.t.Errorf("%s: %v is missing before %s: %q", name, heads[i].Start.Sub(heads[i-1].End), heads[i].Number, heads[i].Gap)
		}
	}
	if v := s.stream(name); v.Lost != 0 {
		s.t.Errorf("%s: %d samples lost", name, v.Lost)
	}
	return heads
}

// plays fetches heads, of a stream without sound, as one clip and checks that every
// picture is there.
func (s *server) plays(name string, heads []head) {
	s.t.Helper()
	first, last, want := heads[0], heads[len(heads)-1], 0
	for _, h := range heads {
		want += h.Samples
	}
	status, body, _ := s.do(http.MethodGet, fmt.Sprintf("/v1/streams/%s/clip.mp4?start=%d&end=%d", name, first.Start.UnixMicro(), last.End.UnixMicro()), nil)
	if status != http.StatusOK {
		s.t.Errorf("%s: clip: %d %s", name, status, body)
		return
	}
	if n := decodes(s.t, save(s.t, name+".mp4", body)); n != want {
		s.t.Errorf("%s: the clip of %v has %d pictures, want %d", name, last.End.Sub(first.Start), n, want)
	}
}

func TestS3KeepsWhatIsRecorded(t *testing.T) {
	t.Parallel()
	store := versity.Run(t)
	s := withStore(t, store, store.Config.SecretKey.Reveal())
	ctx, stop := context.WithCancel(t.Context())
	names := []string{"a", "b"}
	var ended []chan struct{}
	for _, name := range names {
		ended = append(ended, pushing(ctx, s, name))
	}
	uploaded := func(least int) func() error {
		return func() error {
			if n := len(chunkFiles(t, store.Dir, ".chk")); n < least {
				return fmt.Errorf("%d chunks in the bucket", n)
			}
			return nil
		}
	}
	s.until("chunks in the bucket", 30*time.Second, uploaded(2))

	began := time.Now()
	store.Stop()
	before := s.metric("penstock_fragments_stored_total")
	s.hears(20*time.Second, "S3", "wait on the local disk")
	time.Sleep(max(0, time.Until(began.Add(10*time.Second)))) // the outage lasts 10 s
	s.until("fragments that become durable in the outage", 10*time.Second, func() error {
		if after := s.metric("penstock_fragments_stored_total"); after <= before {
			return fmt.Errorf("%v were before it, %v in it", before, after)
		}
		return nil
	})
	store.Start()
	s.until("the spool is empty and nobody complains", 45*time.Second, func() error {
		if n, text := s.metric("penstock_fragments_spool_bytes"), s.problems(); n > 0 || text != "" {
			return fmt.Errorf("%v bytes wait; %s", n, text)
		}
		return nil
	})
	stop()
	for _, c := range ended {
		<-c
	}
	// A chunk that was closed just now would be on its way, and go with the spool.
	s.until("nobody sends and nothing is on its way", 30*time.Second, func() error {
		for _, name := range names {
			if s.stream(name).Live {
				return fmt.Errorf("%s is live", name)
			}
		}
		if n := s.metric("penstock_fragments_spool_bytes"); n > 0 {
			return fmt.Errorf("%v bytes wait", n)
		}
		return nil
	})
	s.stop()
	emptied(t, filepath.Join(s.dir, "open"))
	s.up()
	for _, name := range names {
		s.plays(name, s.unbroken(name, time.Time{}))
	}
}

// pushing starts a producer and returns a channel that closes when it has ended.
func pushing(ctx context.Context, s *server, name string) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		push(ctx, s.pushURL(name), looped())
	}()
	return done
}

// emptied removes all files of a directory: another machine would not have them.
func emptied(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Logf("the spool held %s", e.Name())
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestS3WrongSecretIsToldInWords(t *testing.T) {
	t.Parallel()
	store := versity.Run(t)
	s := withStore(t, store, "not the secret")
	ctx, stop := context.WithCancel(t.Context())
	ended := pushing(ctx, s, "a")
	defer func() { stop(); <-ended }()
	s.hears(30*time.Second, "secret")
	refused := s.stream("a").Fragments
	recorded(s, "a", refused+2) // while the store refuses
	s.unbroken("a", time.Time{})
}
