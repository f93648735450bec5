package repotest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNoImportClimbsAFloor(t *testing.T) {
	for _, p := range load(t, Root(t)) {
		for _, s := range Climbs(p) {
			t.Error(s)
		}
	}
}

func TestEverythingExportedSaysWhatItIsFor(t *testing.T) {
	for _, p := range load(t, Root(t)) {
		for _, s := range Undocumented(p) {
			t.Error(s)
		}
	}
}

func TestNoCallerWhoLeavesUndoesAnothersWrite(t *testing.T) {
	for _, p := range load(t, Root(t)) {
		for _, s := range Interrupts(p) {
			t.Error(s)
		}
	}
}

func TestTheGuardsSeeWhatTheyGuardAgainst(t *testing.T) {
	root := t.TempDir()
	write(t, root, "media/a.go", "package media\n\nimport _ \"penstock/streams\"\n\ntype Bare struct{}\n\n// Said is said.\nfunc Said() {}\n\nfunc Unsaid() {}\n")
	write(t, root, "attic/a.go", "// Package attic is nowhere.\npackage attic\n")
	write(t, root, "streams/a.go", "// Package streams is fine.\npackage streams\n\nimport _ \"penstock/media\"\n\nfunc f() { tx.ExecContext(ctx); tx.Exec() }\n")
	write(t, root, "storage/meta/a.go", "// Package meta may.\npackage meta\n\nfunc f() { tx.ExecContext(ctx) }\n")
	var got []string
	for _, p := range load(t, root) {
		got = append(append(append(got, Climbs(p)...), Undocumented(p)...), Interrupts(p)...)
	}
	want := []string{
		"attic stands on no floor: give it one in floors, and in docs/design/layout.md",
		"media (floor 1) imports penstock/streams (floor 3)",
		"media/a.go:1: package media has no doc comment",
		"media/a.go:5: Bare has no doc comment",
		"media/a.go:10: Unsaid has no doc comment",
		"streams/a.go:6: ExecContext: a caller who leaves undoes the writes of others; use Exec",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func load(t *testing.T, root string) []Package {
	t.Helper()
	ps, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) == 0 {
		t.Fatal("no packages found")
	}
	return ps
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	file := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
