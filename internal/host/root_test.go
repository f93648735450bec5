package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestRootKeepsNamesBelow(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "data")
	secret := filepath.Join(top, "secret")
	for _, err := range []error{os.Mkdir(dir, 0o700), os.WriteFile(secret, []byte("x"), 0o600),
		os.Symlink(top, filepath.Join(dir, "out")), os.Symlink("../secret", filepath.Join(dir, "leak"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in := filepath.Join(dir, "a", "b", "f")
	if err := r.MkdirAll(filepath.Dir(in), 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := r.OpenFile(in, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), r.Rename(in, filepath.Join(dir, "g")), r.SyncDir(dir), r.SyncDir(top), r.MkdirAll(dir, 0o700)); err != nil {
		t.Error(err)
	}
	if _, err := r.Stat(in); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that was moved: %v", err)
	}
	list, err := r.ReadDir(dir)
	if err != nil || len(list) != 4 || list[0].Name() != "a" || list[1].Name() != "g" {
		t.Errorf("%v %v", list, err)
	}
	for _, name := range []string{secret, filepath.Join(dir, "..", "secret"), dir + "/../secret", filepath.Join(dir, "leak"), filepath.Join(dir, "out", "secret"), "/etc/passwd", "secret", dir + "2/x"} {
		f, err := r.OpenFile(name, os.O_RDWR, 0)
		if err == nil {
			_ = f.Close()
			t.Errorf("%s opens", name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was looked for: %v", name, err)
		}
		if r.Rename(filepath.Join(dir, "g"), name) == nil && name != filepath.Join(dir, "leak") {
			t.Errorf("%s was replaced", name)
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "x" {
		t.Errorf("the file outside: %q %v", b, err)
	}
}
