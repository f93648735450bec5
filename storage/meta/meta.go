// Package meta is the small transactional store: who, what and where, never media.
//
// It is one SQLite file in WAL mode with synchronous=FULL, so a write that returned nil
// survives a power cut (https://sqlite.org/pragma.html#pragma_synchronous). One goroutine writes and commits
// whatever was submitted meanwhile as one transaction; readers have their own
// connections and never wait for it. A stalled disk holds up the callers of Write only,
// each no longer than its context. On a full disk it goes on from a reserve that it keeps
// for that: what makes room again has to be written down, too.
//
// What the tables mean belongs to the callers: each hands in a Schema. Chunks and
// segments can be read without this store, so losing it is not losing video.
package meta

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"modernc.org/sqlite" // registers the driver named "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"penstock/internal/fault"
	"penstock/internal/host"
)

// Config says where the store is and who has tables in it.
type Config struct {
	// Path is the database file, on a local disk; its directory exists. SQLite opens it
	// itself: it is the one file that does not go through host.FS. Required.
	Path string
	// Schemas are applied in order before Open returns; more can follow with Apply.
	Schemas []Schema
	// Readers bounds the reading connections. 0: twice the processors, at least 4.
	Readers int
	// BusyTimeout is how long to wait for another process that holds the file, such as
	// a backup. 0: 5 s.
	BusyTimeout time.Duration
	// Reserve is how much of the disk a file beside Path, named as Path and "-reserve",
	// keeps for the store: it is given up when the disk is full and taken back when there
	// is room. 0: 32 MiB, or a 64th of the file system if that is less; < 0: none.
	Reserve int64
	// FS holds the reserve, nothing else. nil: host.OS.
	FS host.FS
	// Clock stamps migrations and measures commits. nil: host.System.
	Clock host.Clock
	// Logger gets what an operator should know. nil: discarded.
	Logger *slog.Logger
	// Registerer gets the metrics. nil: none.
	Registerer prometheus.Registerer
}

// Validate names the field that is wrong.
func (c Config) Validate() error {
	switch {
	case c.Path == "":
		return fault.New(fault.Invalid, "open metadata", "", "Path is empty")
	case c.Readers < 0:
		return fault.New(fault.Invalid, "open metadata", c.Path, "Readers is negative")
	case c.BusyTimeout < 0:
		return fault.New(fault.Invalid, "open metadata", c.Path, "BusyTimeout is negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.Readers = cmp.Or(c.Readers, max(4, 2*runtime.GOMAXPROCS(0)))
	c.BusyTimeout = cmp.Or(c.BusyTimeout, 5*time.Second)
	c.FS = cmp.Or[host.FS](c.FS, host.OS{})
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// DB is an open store. All methods may be called at once.
type DB struct {
	cfg    Config
	writer *sql.DB // one connection, used by the writer goroutine and Prepare
	reader *sql.DB
	met    *metrics
	spare  *reserve

	told     time.Time // the last line about a failed commit; the writer goroutine's
	failures int       // since then

	queue chan *write
	stop  chan struct{} // closed by Close: no more writes are taken
	done  chan struct{} // closed when the writer goroutine has returned

	closing sync.Once
	closeOf error
}

// Open opens or makes the store, recovers what a crash left and applies the schemas.
// The writer goroutine runs until Close. fault.InUse: another process holds the file.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	db := &DB{
		cfg:   cfg,
		met:   newMetrics(cfg.Registerer),
		spare: newReserve(cfg),
		queue: make(chan *write, queueLen),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	db.spare.look() // on a full disk SQLite cannot make its files without it
	makePrivate(cfg.Path)
	var err error
	if db.writer, err = openPool(cfg, 1, "_txlock=immediate", "_pragma=journal_mode(WAL)",
		"_pragma=synchronous(FULL)", "_pragma=foreign_keys(ON)", "_pragma=journal_size_limit(67108864)"); err != nil {
		return nil, err
	}
	// The first connection makes the file and its WAL; readers need both to exist.
	if err := db.prepareFile(ctx); err != nil {
		return nil, errors.Join(err, db.writer.Close())
	}
	if db.reader, err = openPool(cfg, cfg.Readers, "_pragma=query_only(ON)"); err != nil {
		return nil, errors.Join(err, db.writer.Close())
	}
	go db.run()
	if err := db.Apply(ctx, cfg.Schemas...); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// makePrivate makes a file that nobody else may read, where there is none; SQLite would let
// all users of the machine, and gives the WAL the mode of the file. It says itself what is
// wrong where this fails. A file that is there is not opened: to close it would drop
// SQLite's locks.
func makePrivate(path string) {
	if f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		_ = f.Close()
	}
}

// prepareFile opens the first connection and checks that WAL mode was granted.
func (db *DB) prepareFile(ctx context.Context) error {
	var mode string
	if err := db.writer.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil {
		return classify("open metadata", db.cfg.Path, err)
	}
	if mode != "wal" {
		return fault.New(fault.Invalid, "open metadata", db.cfg.Path, "the file system does not allow SQLite's WAL mode").
			WithHint("put the data directory on a local disk, not on a network file system")
	}
	if _, err := db.writer.ExecContext(ctx, versionsTable); err != nil {
		return classify("open metadata", db.cfg.Path, err)
	}
	return nil
}

func openPool(cfg Config, conns int, params ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "open metadata", cfg.Path, err)
	}
	dsn := (&url.URL{Scheme: "file", Path: filepath.ToSlash(abs)}).String() +
		fmt.Sprintf("?_pragma=busy_timeout(%d)", cfg.BusyTimeout.Milliseconds())
	for _, p := range params {
		dsn += "&" + p
	}
	pool, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, classify("open metadata", cfg.Path, err)
	}
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return pool, nil
}

// Read returns the pool of reading connections. A statement that would write fails.
// Several queries that must see one state belong in one transaction. The caller never
// closes it.
func (db *DB) Read() *sql.DB { return db.reader }

// Prepare parses query once for use inside Write, as tx.StmtContext(ctx, stmt). It
// waits for the transaction under way, so call it when opening. Close closes it too.
func (db *DB) Prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	st, err := db.writer.PrepareContext(ctx, query)
	if err != nil {
		return nil, classify("prepare statement", db.cfg.Path, err)
	}
	return st, nil
}

// Check reads the whole file and returns what is damaged, or nothing. quick leaves out
// the comparison of every index with its table. It costs what the file is long.
func (db *DB) Check(ctx context.Context, quick bool) ([]string, error) {
	query := "PRAGMA integrity_check(100)"
	if quick {
		query = "PRAGMA quick_check(100)"
	}
	rows, err := db.reader.QueryContext(ctx, query)
	if err != nil {
		return nil, classify("check metadata", db.cfg.Path, err)
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return found, classify("check metadata", db.cfg.Path, err)
		}
		if line != "ok" {
			found = append(found, line)
		}
	}
	return found, classify("check metadata", db.cfg.Path, rows.Err())
}

// Close finishes the writes already taken, refuses further ones with
// fault.Unavailable and closes the file. The second call returns what the first did.
func (db *DB) Close() error {
	db.closing.Do(func() {
		close(db.stop)
		<-db.done
		err := db.reader.Close()
		db.closeOf = classify("close metadata", db.cfg.Path, errors.Join(err, db.writer.Close()))
		db.met.unregister(db.cfg.Registerer)
	})
	return db.closeOf
}

// classify gives SQLite's errors a kind and, where a person can help, a next step.
// An error that already has a kind keeps it.
func classify(op, path string, err error) error {
	var (
		have *fault.Error
		se   *sqlite.Error
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &have), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case !errors.As(err, &se):
		return fault.Wrap(fault.Internal, op, path, err)
	}
	e := &fault.Error{Kind: fault.Internal, Op: op, Resource: path, Err: err}
	switch se.Code() & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		e.Kind, e.Hint = fault.InUse, "another process holds the database: stop the second penstock, or the tool that has it open"
	case sqlite3.SQLITE_FULL:
		e.Kind, e.Hint = fault.Unavailable, "the disk is full: free space or shorten the retention of a stream"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		e.Hint = "the database is damaged: move it away and run `penstock reindex`, which rebuilds it from the recordings"
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		e.Hint = "check that the data directory exists and that this user may write in it"
	case sqlite3.SQLITE_IOERR:
		e.Kind, e.Hint = fault.Unavailable, "the disk reports errors: look at the kernel log"
	}
	return e
}
