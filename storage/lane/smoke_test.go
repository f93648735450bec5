package lane

import (
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	dir := t.TempDir() + "/a/b"
	for round := range 3 {
		f, err := Open(t.Context(), Config{Dir: dir, FileSize: 16 * pageSize})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Fence(t.Context(), uint64(round+1)); err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			if _, err := f.Append(t.Context(), uint64(round+1), time.Now(), 1, [][]byte{make([]byte, 100*i+1)}); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for b, err := range f.Replay(t.Context(), 1) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if int(b.LSN) != n || len(b.Body) != (n-1)%40*100+1 {
				t.Fatal(n, b.LSN, len(b.Body))
			}
			if err := f.ReadAt(t.Context(), b.LSN, 0, make([]byte, len(b.Body))); err != nil {
				t.Fatal(err)
			}
		}
		if n != 40*(round+1) {
			t.Fatal(n)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
