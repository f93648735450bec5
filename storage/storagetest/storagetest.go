// Package storagetest is the suite that every storage.Bucket passes, wrappers and
// fakes too.
package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/storage"
)

// Run tests the Bucket that open returns; each case gets an empty one of its own.
func Run(t *testing.T, open func(t *testing.T) storage.Bucket) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, storage.Bucket)
	}{
		{"what was put is read back", roundTrip},
		{"any range can be read", ranges},
		{"an object never changes", immutable},
		{"a short source stores nothing", shortSource},
		{"a failing source stores nothing", failingSource},
		{"what does not exist is not found", missing},
		{"keys outside the grammar are refused by all", badKeys},
		{"a key is no directory of another", directories},
		{"lists are in key order", listOrder},
		{"a list resumes after a key", listAfter},
		{"a list may be left early", listBreak},
		{"a list goes on past a page of the store's", listLong},
		{"deletion is idempotent", deletion},
		{"a deleted key can be stored again", reuse},
		{"a cancelled context stops everything", cancelled},
		{"all may be called at once", concurrent},
		{"of many puts of one key one wins", race},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

// Bytes returns n bytes that depend on seed and differ along the way.
func Bytes(seed byte, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// Put stores data or ends the test.
func Put(t testing.TB, b storage.Bucket, key string, data []byte) {
	t.Helper()
	if err := b.Put(t.Context(), key, bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// Get reads a range or ends the test.
func Get(t testing.TB, b storage.Bucket, key string, off, n int64) []byte {
	t.Helper()
	r, err := b.Get(t.Context(), key, off, n)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return data
}

// Keys lists or ends the test.
func Keys(t testing.TB, b storage.Bucket, prefix, after string) []string {
	t.Helper()
	keys := []string{}
	for o, err := range b.List(t.Context(), prefix, after) {
		if err != nil {
			t.Fatalf("list %q after %q: %v", prefix, after, err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// Want fails the test unless err has the kind.
func Want(t testing.TB, what string, err error, kind fault.Kind) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Errorf("%s = %v (%v), want kind %v", what, err, fault.KindOf(err), kind)
	}
}

func roundTrip(t *testing.T, b storage.Bucket) {
	before := time.Now().Add(-time.Minute)
	for _, n := range []int{0, 1, 511, 64 << 10, 3<<20 + 7} {
		key := fmt.Sprintf("v/cam-1/20260102/%d.chk", n)
		data := Bytes(byte(n), n)
		Put(t, b, key, data)
		if got := Get(t, b, key, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d other ones", n, len(got))
		}
		for o, err := range b.List(t.Context(), key, "") {
			if err != nil || o.Key != key || o.Size != int64(n) || o.Modified.Before(before) || time.Until(o.Modified) > time.Minute {
				t.Errorf("List = %+v, %v", o, err)
			}
		}
		same, err := storage.Same(t.Context(), b, key, bytes.NewReader(data), int64(n))
		if err != nil || !same {
			t.Errorf("Same = %v, %v", same, err)
		}
		same, err = storage.Same(t.Context(), b, key, bytes.NewReader(append(data, 1)), int64(n)+1)
		if err != nil || same {
			t.Errorf("Same with a byte more = %v, %v", same, err)
		}
	}
}

func ranges(t *testing.T, b storage.Bucket) {
	data := Bytes(3, 1000)
	Put(t, b, "k", data)
	Put(t, b, "empty", nil)
	for _, c := range []struct{ off, n, from, to int64 }{
		{0, -1, 0, 1000}, {0, 1000, 0, 1000}, {0, 1, 0, 1}, {999, 1, 999, 1000}, {999, 100, 999, 1000},
		{500, -1, 500, 1000}, {500, 0, 500, 500}, {0, 0, 0, 0}, {1000, -1, 0, 0}, {1000, 5, 0, 0}, {5000, -1, 0, 0}, {5000, 1, 0, 0},
	} {
		if got := Get(t, b, "k", c.off, c.n); !bytes.Equal(got, data[c.from:c.to]) {
			t.Errorf("Get(%d, %d) gave %d bytes, want [%d:%d]", c.off, c.n, len(got), c.from, c.to)
		}
	}
	if got := Get(t, b, "empty", 0, 10); len(got) != 0 {
		t.Errorf("an empty object gave %d bytes", len(got))
	}
	_, err := b.Get(t.Context(), "k", -1, 1)
	Want(t, "Get from -1", err, fault.Invalid)
}

func immutable(t *testing.T, b storage.Bucket) {
	data := Bytes(1, 100)
	Put(t, b, "a/k", data)
	Want(t, "second Put", b.Put(t.Context(), "a/k", strings.NewReader("other"), 5), fault.InUse)
	if got := Get(t, b, "a/k", 0, -1); !bytes.Equal(got, data) {
		t.Error("the second Put changed the object")
	}
}

func shortSource(t *testing.T, b storage.Bucket) {
	Want(t, "Put", b.Put(t.Context(), "k", strings.NewReader("123"), 4), fault.Invalid)
	Want(t, "Put of -1 bytes", b.Put(t.Context(), "k", strings.NewReader("123"), -1), fault.Invalid)
	if keys := Keys(t, b, "", ""); len(keys) != 0 {
		t.Errorf("it stored %v", keys)
	}
}

type brokenSource struct{}

var errBroken = errors.New("the source is broken")

func (brokenSource) ReadAt(p []byte, off int64) (int, error) {
	if off >= 4096 {
		return 0, errBroken
	}
	if n := int(4096 - off); n < len(p) {
		return n, errBroken
	}
	return len(p), nil
}

func failingSource(t *testing.T, b storage.Bucket) {
	if err := b.Put(t.Context(), "k", brokenSource{}, 1<<20); !errors.Is(err, errBroken) {
		t.Errorf("Put = %v, want the source's error", err)
	}
	if keys := Keys(t, b, "", ""); len(keys) != 0 {
		t.Errorf("it stored %v", keys)
	}
}

func missing(t *testing.T, b storage.Bucket) {
	Put(t, b, "a/b", nil)
	for _, key := range []string{"none", "a", "a/b/c", "a/c"} {
		for _, n := range []int64{-1, 0, 10} {
			_, err := b.Get(t.Context(), key, 0, n)
			Want(t, "Get "+key, err, fault.NotFound)
		}
	}
	if keys := Keys(t, b, "none", ""); len(keys) != 0 {
		t.Errorf("List = %v", keys)
	}
	if keys := Keys(t, b, "a/b/", ""); len(keys) != 0 {
		t.Errorf("List below an object = %v", keys)
	}
}

func badKeys(t *testing.T, b storage.Bucket) {
	Put(t, b, "good", nil)
	for _, key := range []string{"", "/", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/", ".hidden", "a/.b", "a\\b", "a b", "a\x00", "ä", "x.", strings.Repeat("k", storage.MaxSegment+1)} {
		Want(t, fmt.Sprintf("Put %q", key), b.Put(t.Context(), key, strings.NewReader(""), 0), fault.Invalid)
		_, err := b.Get(t.Context(), key, 0, -1)
		Want(t, fmt.Sprintf("Get %q", key), err, fault.Invalid)
		Want(t, fmt.Sprintf("Delete %q", key), b.Delete(t.Context(), "good", key), fault.Invalid)
	}
	for _, prefix := range []string{"/", "../", "a//", "a/../", "*"} {
		for _, err := range b.List(t.Context(), prefix, "") {
			Want(t, fmt.Sprintf("List %q", prefix), err, fault.Invalid)
		}
	}
	if keys := Keys(t, b, "", ""); !slices.Equal(keys, []string{"good"}) {
		t.Errorf("afterwards there is %v", keys)
	}
}

// directories lets a store that does not keep objects as files take such keys.
func directories(t *testing.T, b storage.Bucket) {
	Put(t, b, "a/b", []byte("x"))
	_, files := storage.Files(b)
	for _, key := range []string{"a", "a/b/c"} {
		if err := b.Put(t.Context(), key, strings.NewReader(""), 0); files {
			Want(t, "Put "+key, err, fault.InUse)
		}
	}
	if err := b.Delete(t.Context(), "a", "a/b/c"); err != nil {
		t.Errorf("Delete = %v", err)
	}
	if keys := Keys(t, b, "", ""); !slices.Equal(keys, []string{"a/b"}) {
		t.Errorf("List = %v", keys)
	}
}

// ordered is in byte order: a directory's slash sorts after "-" and ".".
var ordered = []string{"A/x", "a-b/1", "a.b", "a/1", "a/1-2", "a/10", "a/2/x", "a/2/y/z", "a0", "b", "b=c"}

func fill(t *testing.T, b storage.Bucket) {
	for i := range ordered {
		Put(t, b, ordered[(i*7)%len(ordered)], []byte("x"))
	}
}

func listOrder(t *testing.T, b storage.Bucket) {
	fill(t, b)
	for _, prefix := range []string{"", "a", "a/", "a/1", "a/2/", "a/2/y", "a.", "b", "c", "z/z"} {
		want := []string{}
		for _, k := range ordered {
			if strings.HasPrefix(k, prefix) {
				want = append(want, k)
			}
		}
		if got := Keys(t, b, prefix, ""); !slices.Equal(got, want) {
			t.Errorf("List %q = %v, want %v", prefix, got, want)
		}
	}
}

func listAfter(t *testing.T, b storage.Bucket) {
	fill(t, b)
	afters := append([]string{"", "a", "a/", "a/2", "a/2/", "a/2/xx", "zz", "a/1/"}, ordered...)
	for _, prefix := range []string{"", "a", "a/", "a/2/"} {
		for _, after := range afters {
			want := []string{}
			for _, k := range ordered {
				if strings.HasPrefix(k, prefix) && k > after {
					want = append(want, k)
				}
			}
			if got := Keys(t, b, prefix, after); !slices.Equal(got, want) {
				t.Errorf("List %q after %q = %v, want %v", prefix, after, got, want)
			}
		}
	}
}

func listBreak(t *testing.T, b storage.Bucket) {
	fill(t, b)
	n := 0
	for _, err := range b.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("saw %d", n)
	}
}

func listLong(t *testing.T, b storage.Bucket) {
	const many = 1005 // S3 answers at most 1,000 at once
	want := make([]string, many)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < many; i += 8 {
				want[i] = fmt.Sprintf("d/%05d", i)
				if err := b.Put(t.Context(), want[i], strings.NewReader(""), 0); err != nil {
					t.Errorf("put %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if got := Keys(t, b, "d/", ""); !slices.Equal(got, want) {
		t.Errorf("List gave %d of %d keys", len(got), many)
	}
	if err := b.Delete(t.Context(), want...); err != nil {
		t.Errorf("Delete of %d: %v", many, err)
	}
	if got := Keys(t, b, "", ""); len(got) != 0 {
		t.Errorf("%d keys are left", len(got))
	}
}

func deletion(t *testing.T, b storage.Bucket) {
	fill(t, b)
	for range 2 {
		if err := b.Delete(t.Context(), "a/1", "none", "a/2/y/z", "a/none/none"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Delete(t.Context()); err != nil {
		t.Errorf("Delete of nothing = %v", err)
	}
	want := slices.DeleteFunc(slices.Clone(ordered), func(k string) bool { return k == "a/1" || k == "a/2/y/z" })
	if got := Keys(t, b, "", ""); !slices.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
	_, err := b.Get(t.Context(), "a/1", 0, -1)
	Want(t, "Get", err, fault.NotFound)
}

func reuse(t *testing.T, b storage.Bucket) {
	for i := range 3 {
		Put(t, b, "a/b/c", []byte{byte(i)})
		if got := Get(t, b, "a/b/c", 0, -1); !bytes.Equal(got, []byte{byte(i)}) {
			t.Errorf("round %d gave %v", i, got)
		}
		if err := b.Delete(t.Context(), "a/b/c"); err != nil {
			t.Fatal(err)
		}
	}
	Put(t, b, "a", []byte("a key where a directory was"))
}

func cancelled(t *testing.T, b storage.Bucket) {
	Put(t, b, "k", Bytes(1, 10))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v", what, err)
		}
	}
	check("Put", b.Put(ctx, "other", strings.NewReader("x"), 1))
	_, err := b.Get(ctx, "k", 0, -1)
	check("Get", err)
	check("Delete", b.Delete(ctx, "k"))
	n := 0
	for _, err := range b.List(ctx, "", "") {
		check("List", err)
		n++
	}
	if n != 1 {
		t.Errorf("List yielded %d times", n)
	}
	if got := Keys(t, b, "", ""); !slices.Equal(got, []string{"k"}) {
		t.Errorf("afterwards there is %v", got)
	}
}

func concurrent(t *testing.T, b storage.Bucket) {
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := range 8 {
				key := fmt.Sprintf("d%d/e/f%d-%d", i%2, w, i)
				data := Bytes(byte(w*8+i), 2000)
				if err := b.Put(t.Context(), key, bytes.NewReader(data), 2000); err != nil {
					t.Errorf("put %s: %v", key, err)
					return
				}
				r, err := b.Get(t.Context(), key, 1, 100)
				if err != nil {
					t.Errorf("get %s: %v", key, err)
					return
				}
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data[1:101]) {
					t.Errorf("get %s gave other bytes, %v", key, err)
				}
				r.Close()
				for _, err := range b.List(t.Context(), "d0/", "") {
					if err != nil {
						t.Errorf("list: %v", err)
					}
				}
				if err := b.Delete(t.Context(), key); err != nil {
					t.Errorf("delete %s: %v", key, err)
				}
			}
		})
	}
	wg.Wait()
	if got := Keys(t, b, "", ""); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
}

// race allows a store without conditional writes to let two through that overlap, but
// the object must be one of theirs, whole, and a later Put must lose.
func race(t *testing.T, b storage.Bucket) {
	const size = 200_000
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		won []byte
	)
	for w := range byte(6) {
		wg.Go(func() {
			err := b.Put(t.Context(), "k", bytes.NewReader(Bytes(w, size)), size)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, w)
			} else if !fault.Is(err, fault.InUse) {
				t.Errorf("put: %v", err)
			}
		})
	}
	wg.Wait()
	got := Get(t, b, "k", 0, -1)
	if !slices.ContainsFunc(won, func(w byte) bool { return bytes.Equal(got, Bytes(w, size)) }) {
		t.Errorf("the object is none of the %d that were acknowledged", len(won))
	}
	Want(t, "a later Put", b.Put(t.Context(), "k", strings.NewReader(""), 0), fault.InUse)
}
