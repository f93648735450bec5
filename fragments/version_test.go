package fragments

import (
	"context"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
	"penstock/storage/meta"
)

// TestChunksOfAnotherVersionAreRefusedAndLeftAlone gives a chunk, as it is stored or
// still open, the version of another program.
func TestChunksOfAnotherVersionAreRefusedAndLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		version byte
		words   []string
	}{
		"newer": {9, []string{"version 9", "reads version 2", "newer penstock"}},
		"older": {1, []string{"version 1", "reads version 2", "release that made"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fsys := crashfs.New(crashfs.Config{})
				r := newRig(t, fsys, crashConfig)
				if err := r.start(); err != nil {
					t.Fatal(err)
				}
				for i := range 8 {
					start := time.Now().UTC()
					time.Sleep(2 * time.Second)
					r.store(r.s.Log("cam", nil), testFragment(start, 50, uint64(i)))
				}
				cfg := r.s.cfg
				if err := r.stop(); err != nil {
					t.Fatal(err)
				}
				stored := filesUnder(t, fsys, "data/bucket/v")
				open := filesUnder(t, fsys, "data/open")
				if len(stored) == 0 || len(open) == 0 {
					t.Fatalf("%d stored chunks and %d open, want some of each", len(stored), len(open))
				}
				refused := func(what, file string, err error) {
					t.Helper()
					if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), path.Base(file)) {
						t.Errorf("%s: %v", what, err)
					}
					for _, w := range c.words {
						if err != nil && !strings.Contains(err.Error()+" "+fault.HintOf(err), w) {
							t.Errorf("%s: %v, hint %q; it lacks %q", what, err, fault.HintOf(err), w)
						}
					}
				}
				restore := setVersion(t, fsys, open[0], c.version)
				refused("start", open[0], r.start())
				if now := filesUnder(t, fsys, "data/open"); !slices.Equal(now, open) {
					t.Errorf("files were %v and are %v", open, now)
				}
				restore()

				newest := stored[len(stored)-1]
				restore = setVersion(t, fsys, newest, c.version)
				offline := func(work func(Config) error) error {
					db, err := meta.Open(context.Background(), meta.Config{Path: r.path, Reserve: -1})
					if err != nil {
						t.Fatal(err)
					}
					cfg.Meta = db
					err = work(cfg)
					if err := db.Close(); err != nil {
						t.Fatal(err)
					}
					return err
				}
				refused("verify", newest, offline(func(c Config) error {
					_, err := Verify(context.Background(), c, true, nil)
					return err
				}))
				refused("reindex", newest, offline(func(c Config) error {
					_, err := Reindex(context.Background(), c, nil)
					return err
				}))
				restore()
				if err := r.start(); err != nil {
					t.Fatal(err)
				}
				n := 0
				for h, err := range r.s.Log("cam", nil).Select(context.Background(), Range{}) {
					if err != nil {
						t.Fatal(err)
					}
					if _, err := r.s.Log("cam", nil).Read(context.Background(), h.Number); err != nil {
						t.Error(err)
					}
					n++
				}
				if n != 8 {
					t.Errorf("%d fragments are left of 8", n)
				}
				if err := r.stop(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// filesUnder lists the chunks below a folder, in order.
func filesUnder(t *testing.T, fsys *crashfs.FS, dir string) (names []string) {
	t.Helper()
	list, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			names = append(names, filesUnder(t, fsys, name)...)
		} else {
			names = append(names, name)
		}
	}
	return names
}

// setVersion changes the version of a chunk file; restore undoes it.
func setVersion(t *testing.T, fsys *crashfs.FS, name string, version byte) (restore func()) {
	t.Helper()
	b, err := fsys.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	changed := slices.Clone(b)
	changed[8] = version
	if err := fsys.WriteFile(name, changed); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := fsys.WriteFile(name, b); err != nil {
			t.Fatal(err)
		}
	}
}
