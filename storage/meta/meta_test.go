package meta_test

import (
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

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"penstock/internal/fault"
	"penstock/storage/meta"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		writeUntilKilled(path)
		return
	}
	goleak.VerifyTestMain(m)
}

var schema = meta.Schema{Name: "test", Versions: []string{
	"CREATE TABLE kv (k TEXT PRIMARY KEY, v INTEGER NOT NULL CHECK (v >= 0)) WITHOUT ROWID",
}}

func open(t testing.TB, path string, change ...func(*meta.Config)) *meta.DB {
	t.Helper()
	cfg := meta.Config{Path: path, Schemas: []meta.Schema{schema}}
	for _, c := range change {
		c(&cfg)
	}
	db, err := meta.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func path(t testing.TB) string { return filepath.Join(t.TempDir(), "meta with space?.db") }

func TestNobodyElseMayReadTheFiles(t *testing.T) {
	name := path(t)
	open(t, name)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		st, err := os.Stat(name + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", st.Name(), st.Mode())
		}
	}
}

func put(key string, v int) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO kv (k, v) VALUES (?, ?)", key, v)
		return err
	}
}

func write(t testing.TB, db *meta.DB, fn func(*sql.Tx) error) {
	t.Helper()
	if err := db.Write(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func keys(t testing.TB, db *meta.DB) string {
	t.Helper()
	var all sql.NullString
	if err := db.Read().QueryRow("SELECT group_concat(k, ' ') FROM (SELECT k FROM kv ORDER BY k)").Scan(&all); err != nil {
		t.Fatal(err)
	}
	return all.String
}

func TestWhatWasWrittenIsThereAfterOpeningAgain(t *testing.T) {
	p := path(t)
	db := open(t, p)
	write(t, db, put("a", 1))
	if got := keys(t, db); got != "a" {
		t.Errorf("a reader sees %q", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
	if err := db.Write(t.Context(), put("b", 1)); !fault.Is(err, fault.Unavailable) {
		t.Errorf("Write after Close = %v", err)
	}
	if got := keys(t, open(t, p)); got != "a" {
		t.Errorf("opened again: %q", got)
	}
	if _, err := os.Stat(p); err != nil {
		t.Errorf("the file is not where it was asked for: %v", err)
	}
}

// block holds the writer until release, so that what comes meanwhile shares a commit.
func block(t *testing.T, db *meta.DB) (release func()) {
	t.Helper()
	entered, gate, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- db.Write(context.Background(), func(*sql.Tx) error { close(entered); <-gate; return nil })
	}()
	<-entered
	return func() {
		close(gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAFailingWriteFailsAlone(t *testing.T) {
	reg := prometheus.NewRegistry()
	db := open(t, path(t), func(c *meta.Config) { c.Registerer = reg })
	write(t, db, put("taken", 1))
	release := block(t, db)
	errOwn := errors.New("changed my mind")
	writes := map[string]func(*sql.Tx) error{
		"good1": put("good1", 1), "good2": put("good2", 2),
		"taken": put("taken", 1), "negative": put("negative", -1),
		"own": func(tx *sql.Tx) error {
			if err := put("own", 1)(tx); err != nil {
				return err
			}
			return errOwn
		},
	}
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	got := map[string]error{}
	for name, fn := range writes {
		wg.Go(func() {
			err := db.Write(t.Context(), fn)
			mu.Lock()
			got[name] = err
			mu.Unlock()
		})
	}
	release()
	wg.Wait()
	for name, err := range got {
		if good := strings.HasPrefix(name, "good"); good != (err == nil) {
			t.Errorf("%s = %v", name, err)
		}
	}
	if !errors.Is(got["own"], errOwn) {
		t.Errorf("the function's own error came back as %v", got["own"])
	}
	if got := keys(t, db); got != "good1 good2 taken" {
		t.Errorf("there is %q", got)
	}
	if found, err := testutil.GatherAndLint(reg); len(found) != 0 || err != nil {
		t.Errorf("lint: %v, %v", found, err)
	}
}

func TestWritesSubmittedAtOnceShareACommit(t *testing.T) {
	reg := prometheus.NewRegistry()
	db := open(t, path(t), func(c *meta.Config) { c.Registerer = reg })
	before := commits(t, reg)
	release := block(t, db)
	const many = 100
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			if err := db.Write(t.Context(), put(fmt.Sprint(i), i)); err != nil {
				t.Error(err)
			}
		})
	}
	for db.Waiting() < many {
		time.Sleep(time.Millisecond) // the callers' goroutines tell nobody that they wait
	}
	release()
	wg.Wait()
	if n := commits(t, reg) - before; n != 1 {
		t.Errorf("%d writes took %d commits", many+1, n)
	}
}

func commits(t *testing.T, reg *prometheus.Registry) uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "penstock_meta_commit_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	t.Fatal("no commit histogram")
	return 0
}

func TestAStalledWriterHoldsUpOnlyThoseWhoWait(t *testing.T) {
	db := open(t, path(t))
	write(t, db, put("a", 1))
	release := block(t, db)
	if got := keys(t, db); got != "a" {
		t.Errorf("a reader beside the stalled writer sees %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Write(ctx, put("abandoned", 1)) }()
	for db.Waiting() == 0 {
		time.Sleep(time.Millisecond) // as above
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller who gave up heard %v", err)
	}
	if err := db.Write(ctx, put("too late", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Write with an ended context = %v", err)
	}
	release()
	write(t, db, put("b", 1))
	if got := keys(t, db); got != "a b" {
		t.Errorf("there is %q: what was given up must not run", got)
	}
}

func TestAPanicIsUndoneAndRaisedInItsCaller(t *testing.T) {
	db := open(t, path(t))
	func() {
		defer func() {
			if p := recover(); p != "oh" {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = db.Write(t.Context(), func(tx *sql.Tx) error {
			if err := put("half", 1)(tx); err != nil {
				return err
			}
			panic("oh")
		})
	}()
	write(t, db, put("a", 1))
	if got := keys(t, db); got != "a" {
		t.Errorf("there is %q", got)
	}
}

func TestAWriteThatEndsTheTransactionFailsItAndNotTheNext(t *testing.T) {
	db := open(t, path(t))
	if err := db.Write(t.Context(), func(tx *sql.Tx) error { return tx.Rollback() }); err == nil {
		t.Error("a write that rolled back by itself was acknowledged")
	}
	write(t, db, put("a", 1))
	if got := keys(t, db); got != "a" {
		t.Errorf("there is %q", got)
	}
}

func TestReadersCannotWrite(t *testing.T) {
	db := open(t, path(t))
	if _, err := db.Read().Exec("INSERT INTO kv (k, v) VALUES ('a', 1)"); err == nil {
		t.Error("a reader wrote")
	}
}

func TestPreparedStatements(t *testing.T) {
	db := open(t, path(t))
	st, err := db.Prepare(t.Context(), "INSERT INTO kv (k, v) VALUES (?, ?)")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		write(t, db, func(tx *sql.Tx) error {
			_, err := tx.Stmt(st).Exec(fmt.Sprint(i), i)
			return err
		})
	}
	if got := keys(t, db); got != "0 1 2" {
		t.Errorf("there is %q", got)
	}
	if _, err := db.Prepare(t.Context(), "SELECT nonsense FROM nowhere"); err == nil {
		t.Error("nonsense was prepared")
	}
}

func TestSchemasGrowByVersions(t *testing.T) {
	p := path(t)
	db := open(t, p)
	write(t, db, put("a", 1))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	next := meta.Schema{Name: "test", Versions: append(schema.Versions[:1:1], "ALTER TABLE kv ADD COLUMN note TEXT; UPDATE kv SET note = 'old'")}
	withNext := func(c *meta.Config) { c.Schemas = []meta.Schema{next} }
	db = open(t, p, withNext)
	var note string
	if err := db.Read().QueryRow("SELECT note FROM kv WHERE k = 'a'").Scan(&note); err != nil || note != "old" {
		t.Errorf("note = %q, %v", note, err)
	}
	if err := db.Apply(t.Context(), next, meta.Schema{Name: "other", Versions: []string{"CREATE TABLE o (x)"}}); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		s    meta.Schema
		text string // with the file's name
		hint string
	}{
		"an older program":     {schema, `: its "test" tables have version 2, this penstock knows version 1`, "newer penstock"},
		"an edited version":    {meta.Schema{Name: "test", Versions: []string{"CREATE TABLE edited (x)", next.Versions[1]}}, ": its \"test\" tables are version 1 of an unreleased build", "the penstock release"},
		"a schema of no name":  {meta.Schema{Versions: []string{"x"}}, "", ""},
		"nonsense in a schema": {meta.Schema{Name: "bad", Versions: []string{"CREATE TABLE half (x); nonsense"}}, "", ""},
	} {
		_, err := meta.Open(t.Context(), meta.Config{Path: p, Schemas: []meta.Schema{c.s}})
		if err == nil || !strings.Contains(fault.HintOf(err), c.hint) || c.text != "" && !strings.Contains(err.Error(), p+c.text) {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
	db = open(t, p, withNext)
	var n int
	if err := db.Read().QueryRow("SELECT count(*) FROM sqlite_schema WHERE name IN ('half', 'edited')").Scan(&n); err != nil || n != 0 {
		t.Errorf("a failed migration left %d tables, %v", n, err)
	}
}

func TestCheckFindsDamage(t *testing.T) {
	p := path(t)
	db := open(t, p)
	for i := range 200 {
		write(t, db, put(fmt.Sprintf("key-%04d-%s", i, strings.Repeat("x", 200)), i))
	}
	if found, err := db.Check(t.Context(), false); err != nil || len(found) != 0 {
		t.Errorf("Check of a sound store = %v, %v", found, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(p, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("\xff", 300)), st.Size()-4096); err != nil {
		t.Fatal(err)
	}
	f.Close()
	db = open(t, p)
	if found, err := db.Check(t.Context(), true); err == nil && len(found) == 0 {
		t.Error("the damage was not found")
	}
}

func TestOpeningSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no database\n", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	held := filepath.Join(dir, "held.db")
	other := open(t, held)
	release := block(t, other)
	defer release()
	for name, c := range map[string]struct {
		path string
		kind fault.Kind
		hint string
	}{
		"no directory":    {filepath.Join(dir, "none", "x.db"), fault.Internal, "data directory exists"},
		"not a database":  {text, fault.Internal, "penstock reindex"},
		"held by another": {held, fault.InUse, "second penstock"},
		"no path":         {"", fault.Invalid, ""},
	} {
		_, err := meta.Open(t.Context(), meta.Config{Path: c.path, BusyTimeout: 10 * time.Millisecond,
			Schemas: []meta.Schema{{Name: "late", Versions: []string{"CREATE TABLE late (x)"}}}})
		if !fault.Is(err, c.kind) || !strings.Contains(fault.HintOf(err), c.hint) {
			t.Errorf("%s: %v (%v), hint %q", name, err, fault.KindOf(err), fault.HintOf(err))
		}
	}
}

func TestAFunctionsOwnContextEndsOnlyItsOwnWrite(t *testing.T) {
	db := open(t, path(t))
	release := block(t, db)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if err := db.Write(t.Context(), put(fmt.Sprint(i), i)); err != nil {
				t.Errorf("a bystander heard %v", err)
			}
		})
	}
	wg.Go(func() {
		err := db.Write(t.Context(), func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ended, "INSERT INTO kv (k, v) VALUES ('own', 1)")
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the one whose context ended heard %v", err)
		}
	})
	for db.Waiting() < 5 {
		time.Sleep(time.Millisecond) // as above
	}
	release()
	wg.Wait()
	if got := keys(t, db); got != "0 1 2 3" {
		t.Errorf("there is %q", got)
	}
}
