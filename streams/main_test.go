package streams_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/host/hosttest"
	"penstock/storage/meta"
	"penstock/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handClock is moved by hand; its timers are short.
type handClock struct{ *hosttest.Clock }

// NewTimer fires at once: what waits for it looks at Now again.
func (c handClock) NewTimer(d time.Duration) *time.Timer {
	return time.NewTimer(min(d, 2*time.Millisecond))
}

func newClock() handClock {
	return handClock{hosttest.NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))}
}

// xorSealer is a Sealer whose output does not hold the plain text.
type xorSealer struct{}

func (xorSealer) Seal(context string, plain []byte) ([]byte, error) {
	out := append([]byte(context+"|"), plain...)
	for i := range out {
		out[i] ^= 0x5a
	}
	return out, nil
}

func (xorSealer) Unseal(context string, sealed []byte) ([]byte, error) {
	out := make([]byte, len(sealed))
	for i := range sealed {
		out[i] = sealed[i] ^ 0x5a
	}
	if len(out) < len(context)+1 || string(out[:len(context)+1]) != context+"|" {
		return nil, errors.New("sealed for another place")
	}
	return out[len(context)+1:], nil
}

func openMeta(t testing.TB, path string) *meta.DB {
	t.Helper()
	db, err := meta.Open(context.Background(), meta.Config{Path: path, Schemas: []meta.Schema{streams.Schema()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func openCatalogue(t testing.TB, db *meta.DB, clock handClock, erase func(context.Context, streams.Stream) error) *streams.Catalogue {
	t.Helper()
	c, err := streams.OpenCatalogue(context.Background(), streams.CatalogueConfig{Meta: db, Sealer: xorSealer{}, Clock: clock, Erase: erase})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newCatalogue(t testing.TB) (*streams.Catalogue, *meta.DB, handClock) {
	t.Helper()
	clock := newClock()
	db := openMeta(t, filepath.Join(t.TempDir(), "meta.db"))
	return openCatalogue(t, db, clock, nil), db, clock
}

// runFor runs f until the test ends.
func runFor(t testing.TB, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// soon waits for what a goroutine does; it fails after a minute.
func soon(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
