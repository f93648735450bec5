package streams_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/internal/secret"
	"penstock/storage/meta"
	"penstock/streams"
)

const account = "000000000000"

func create(t testing.TB, c *streams.Catalogue, name string) streams.Stream {
	t.Helper()
	s, err := c.Create(context.Background(), streams.Stream{Account: account, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAStreamIsKeptWithAllItSays(t *testing.T) {
	c, db, clock := newCatalogue(t)
	want, err := c.Create(t.Context(), streams.Stream{Account: account, Name: "front-door", Retention: 48 * time.Hour,
		Source: &streams.Source{URL: "rtsp://cam.local/ch0", Username: "us:er", Password: secret.New("p@ss/w#rd"), Transport: streams.TCP},
		Tags:   map[string]string{"site": "north"}})
	if err != nil {
		t.Fatal(err)
	}
	if want.ARN() != "arn:aws:kinesisvideo:us-east-1:000000000000:stream/front-door/1767323045000" {
		t.Errorf("ARN %s", want.ARN())
	}
	if len(want.ID) != 12 || want.Version != "1" {
		t.Errorf("id %q, version %q", want.ID, want.Version)
	}
	for name, cat := range map[string]*streams.Catalogue{"at once": c, "after a restart": openCatalogue(t, db, clock, nil)} {
		got, err := cat.Get(account, "front-door")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.ID != want.ID || got.Retention != 48*time.Hour || *got.Source != *want.Source || got.Tags["site"] != "north" || !got.Created.Equal(want.Created) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		if byID, err := cat.ByID(want.ID); err != nil || byID.Name != "front-door" {
			t.Errorf("%s: by id: %v", name, err)
		}
	}
}

func TestACatalogueFromBeforeLimitsOfBytesOpens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	before := streams.Schema()
	before.Versions = before.Versions[:1]
	old, err := meta.Open(t.Context(), meta.Config{Path: path, Schemas: []meta.Schema{before}})
	if err != nil {
		t.Fatal(err)
	}
	err = old.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO stream (id, account, name, created, version, retention, source, password, tags) VALUES ('abc', ?, 'cam', 1, 7, 7200000, '', '', '')`, account)
		return err
	})
	if err := errors.Join(err, old.Close()); err != nil {
		t.Fatal(err)
	}
	c := openCatalogue(t, openMeta(t, path), newClock(), nil)
	s, err := c.Get(account, "cam")
	if err != nil || s.Retention != 2*time.Hour || s.RetentionBytes != 0 || s.Version != "7" {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := c.Update(t.Context(), account, "cam", func(s *streams.Stream) error { s.RetentionBytes = 5 << 30; return nil }); err != nil {
		t.Fatal(err)
	}
	if age, size := c.Bounds("abc"); age != 2*time.Hour || size != 5<<30 {
		t.Errorf("bounds %v, %d", age, size)
	}
}

func TestALimitOfBytesIsKept(t *testing.T) {
	c, db, clock := newCatalogue(t)
	s, err := c.Create(t.Context(), streams.Stream{Account: account, Name: "cam", RetentionBytes: streams.RetentionBytesMin})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := openCatalogue(t, db, clock, nil).Get(account, "cam"); err != nil || got.RetentionBytes != s.RetentionBytes {
		t.Errorf("after a restart %d, %v", got.RetentionBytes, err)
	}
	for _, n := range []int64{-1, 1, streams.RetentionBytesMin - 1, streams.RetentionBytesMax + 1} {
		if _, err := c.Update(t.Context(), account, "cam", func(s *streams.Stream) error { s.RetentionBytes = n; return nil }); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestPasswordsAreSealed(t *testing.T) {
	dir := t.TempDir()
	db := openMeta(t, filepath.Join(dir, "meta.db"))
	c := openCatalogue(t, db, newClock(), nil)
	if _, err := c.Create(t.Context(), streams.Stream{Account: account, Name: "cam", Source: &streams.Source{URL: "rtsp://u:planted-secret@h/x"}}); err != nil {
		t.Fatal(err)
	}
	s, err := c.Get(account, "cam")
	if err != nil || s.Source.URL != "rtsp://h/x" || s.Source.Username != "u" || s.Source.Password.Reveal() != "planted-secret" {
		t.Fatalf("user and password did not leave the URL: %+v %v", s.Source, err)
	}
	db.Close()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("planted-secret")) {
			t.Errorf("%s holds the password", e.Name())
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", s, s.Source, *s.Source); strings.Contains(text, "planted-secret") {
		t.Error("printing a stream shows the password")
	}
}

func TestNamesAreUniqueInTheirAccount(t *testing.T) {
	c, _, _ := newCatalogue(t)
	create(t, c, "cam")
	if _, err := c.Create(t.Context(), streams.Stream{Account: account, Name: "cam"}); !fault.Is(err, fault.InUse) {
		t.Errorf("same account: %v", err)
	}
	if _, err := c.Create(t.Context(), streams.Stream{Account: "111111111111", Name: "cam"}); err != nil {
		t.Errorf("another account: %v", err)
	}
	if _, err := c.Get("222222222222", "cam"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a third account: %v", err)
	}
}

func TestStreamsThatAreRefused(t *testing.T) {
	c, _, _ := newCatalogue(t)
	src := func(url string) *streams.Source { return &streams.Source{URL: url} }
	tags := map[string]string{}
	for i := range streams.TagsMax + 1 {
		tags[fmt.Sprint(i)] = ""
	}
	for name, s := range map[string]streams.Stream{
		"no name":             {},
		"a space":             {Name: "a b"},
		"a slash":             {Name: "a/b"},
		"a way up":            {Name: ".."},
		"here":                {Name: "."},
		"a null byte":         {Name: "a\x00"},
		"not ASCII":           {Name: "türe"},
		"a name of 257":       {Name: strings.Repeat("a", 257)},
		"too short retention": {Name: "a", Retention: time.Hour - 1},
		"too long retention":  {Name: "a", Retention: 87600*time.Hour + 1},
		"negative retention":  {Name: "a", Retention: -time.Hour},
		"http source":         {Name: "a", Source: src("http://h/x")},
		"file source":         {Name: "a", Source: src("file:///etc/passwd")},
		"no host":             {Name: "a", Source: src("rtsp:///x")},
		"no URL":              {Name: "a", Source: src("")},
		"a URL that is none":  {Name: "a", Source: src("rtsp://u:p#1@h/x")},
		"long URL":            {Name: "a", Source: src("rtsp://h/" + strings.Repeat("x", 3000))},
		"bad transport":       {Name: "a", Source: &streams.Source{URL: "rtsp://h/x", Transport: "carrier pigeon"}},
		"too many tags":       {Name: "a", Tags: tags},
		"an empty tag":        {Name: "a", Tags: map[string]string{"": "x"}},
	} {
		s.Account = account
		_, err := c.Create(t.Context(), s)
		if !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "u:p#1") {
			t.Errorf("%s: the error shows the password: %v", name, err)
		}
	}
	if all := c.All(); len(all) != 0 {
		t.Errorf("%d streams were kept", len(all))
	}
	if _, err := c.Create(t.Context(), streams.Stream{Account: account, Name: strings.Repeat("a", 256)}); err != nil {
		t.Errorf("a name of 256: %v", err)
	}
}

func TestListPages(t *testing.T) {
	c, _, _ := newCatalogue(t)
	for _, n := range []string{"b2", "a1", "b1", "b3", "c1", "b", "B1"} {
		create(t, c, n)
	}
	page := func(prefix, after string, limit int) string {
		list, next := c.List(account, prefix, after, limit)
		var names []string
		for _, s := range list {
			names = append(names, s.Name)
		}
		return strings.Join(names, " ") + " > " + next
	}
	for _, q := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"", "", 0, "B1 a1 b b1 b2 b3 c1 > "},
		{"b", "", 2, "b b1 > b1"},
		{"b", "b1", 2, "b2 b3 > "},
		{"b", "b", 1, "b1 > b1"},
		{"b", "a", 1, "b > b"},
		{"b", "b11", 1, "b2 > b2"},
		{"b", "b3", 2, " > "},
		{"x", "", 2, " > "},
	} {
		if got := page(q.prefix, q.after, q.limit); got != q.want {
			t.Errorf("%q after %q limit %d: %q, want %q", q.prefix, q.after, q.limit, got, q.want)
		}
	}
}

func TestUpdateChangesWhatItMay(t *testing.T) {
	c, db, clock := newCatalogue(t)
	old := create(t, c, "cam")
	s, err := c.Update(t.Context(), account, "cam", func(s *streams.Stream) error {
		s.Name, s.ID, s.Account = "other", "x", "y"
		s.Retention = 72 * time.Hour
		s.Tags = map[string]string{"k": "v"}
		return nil
	})
	if err != nil || s.Name != "cam" || s.ID != old.ID || s.Account != account || s.Retention != 72*time.Hour || s.Version == old.Version {
		t.Fatalf("%+v %v", s, err)
	}
	if got, _ := c.Bounds(old.ID); got != 72*time.Hour {
		t.Errorf("retention %v", got)
	}
	refused := errors.New("no")
	if _, err := c.Update(t.Context(), account, "cam", func(*streams.Stream) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	if _, err := c.Update(t.Context(), account, "none", func(*streams.Stream) error { return nil }); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	// Two catalogues on one store, as two processes: neither loses the other's change.
	other := openCatalogue(t, db, clock, nil)
	var wg sync.WaitGroup
	for i, cat := range []*streams.Catalogue{c, other, c, other} {
		wg.Go(func() {
			if _, err := cat.Update(context.Background(), account, "cam", func(s *streams.Stream) error {
				if s.Tags == nil {
					s.Tags = map[string]string{}
				}
				s.Tags[fmt.Sprint(i)] = "x"
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	fresh := openCatalogue(t, db, clock, nil)
	if s, err := fresh.Get(account, "cam"); err != nil || len(s.Tags) != 5 {
		t.Errorf("%v %v, want five tags", s.Tags, err)
	}
}

func TestDeleteFreesTheNameAndErasesUntilItWorks(t *testing.T) {
	clock := newClock()
	db := openMeta(t, filepath.Join(t.TempDir(), "meta.db"))
	var mu sync.Mutex
	var asked []string
	fail := true
	erase := func(_ context.Context, s streams.Stream) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, s.ID)
		if fail {
			return errors.New("disk on fire")
		}
		return nil
	}
	c := openCatalogue(t, db, clock, erase)
	first := create(t, c, "cam")
	if err := c.Delete(t.Context(), account, "cam"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(account, "cam"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	if err := c.Delete(t.Context(), account, "cam"); !fault.Is(err, fault.NotFound) {
		t.Errorf("%v", err)
	}
	second := create(t, c, "cam")
	if second.ID == first.ID {
		t.Error("the id came back")
	}
	// A new process goes on with what the old one did not finish.
	c = openCatalogue(t, db, clock, erase)
	runFor(t, c.Run)
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(asked) }
	soon(t, "first try", func() bool { return count() >= 1 })
	mu.Lock()
	fail = false
	mu.Unlock()
	clock.Add(time.Minute)
	soon(t, "second try", func() bool { return count() >= 2 })
	soon(t, "forgotten", func() bool {
		var n int
		return db.Read().QueryRow(`SELECT COUNT(*) FROM stream_erase`).Scan(&n) == nil && n == 0
	})
	mu.Lock()
	defer mu.Unlock()
	for _, id := range asked {
		if id != first.ID {
			t.Errorf("erased %s, want only %s", id, first.ID)
		}
	}
}

func TestWatchTellsEachStreamAsItIs(t *testing.T) {
	c, db, clock := newCatalogue(t)
	create(t, c, "a")
	w := c.Watch()
	defer w.Close()
	next := func() string {
		ch, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(ch.Kind, " ", ch.Stream.Name, " ", ch.Stream.Retention)
	}
	if got := next(); got != "1 a 24h0m0s" {
		t.Errorf("what is there: %s", got)
	}
	create(t, c, "b")
	if _, err := c.Update(t.Context(), account, "b", func(s *streams.Stream) error { s.Retention = time.Hour; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "1 b 1h0m0s" {
		t.Errorf("made and changed: %s", got)
	}
	if err := c.Delete(t.Context(), account, "a"); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "3 a 24h0m0s" {
		t.Errorf("deleted: %s", got)
	}
	runFor(t, c.Run)
	create(t, openCatalogue(t, db, clock, nil), "from-elsewhere")
	if got := next(); got != "1 from-elsewhere 24h0m0s" {
		t.Errorf("made by another process: %s", got)
	}
	w.Close()
	w.Close()
	if _, err := w.Next(t.Context()); !fault.Is(err, fault.Expired) {
		t.Errorf("closed: %v", err)
	}
}

func TestManyCreatesAtOnceAgreeWithTheStore(t *testing.T) {
	c, db, clock := newCatalogue(t)
	var wg sync.WaitGroup
	for i := range 200 { // 50 names are wanted twice
		wg.Go(func() {
			name := fmt.Sprintf("cam-%03d", i%150)
			if _, err := c.Create(context.Background(), streams.Stream{Account: account, Name: name}); err != nil && !fault.Is(err, fault.InUse) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	a, _ := c.List(account, "", "", 0)
	b, _ := openCatalogue(t, db, clock, nil).List(account, "", "", 0)
	if len(a) != 150 || len(b) != 150 {
		t.Fatalf("%d in memory, %d in the store", len(a), len(b))
	}
	for i := range a {
		if a[i].ID != b[i].ID {
			t.Errorf("%s and %s", a[i].Name, b[i].Name)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("front-door")
	f.Add("../../etc/passwd")
	f.Add("a\x00b")
	f.Fuzz(func(t *testing.T, name string) {
		if streams.CheckName(name) != nil {
			return
		}
		if name != filepath.Base(filepath.Clean("/"+name)) || strings.ContainsAny(name, "*?:/\\%\"'<>& ") || len(name) > 256 {
			t.Errorf("%q was accepted", name)
		}
	})
}
