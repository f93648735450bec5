package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"penstock/auth"
	"penstock/storage/meta"
)

// anchorEvery is the least time between two marks: it bounds how many lines can be cut off
// after a crash without a trace, and what marks cost.
const anchorEvery = 10 * time.Second

// anchorWait bounds how long the end of Run waits for the last mark.
const anchorWait = 5 * time.Second

// Mark names a line that a log has had, durably. The zero Mark names none.
type Mark struct {
	Seq  uint64
	Hash string
}

// Anchor keeps the newest Mark of a log somewhere the log itself is not, so that lines cut
// off at its end show. A mark is set after its line is durable, at most once in ten seconds
// and when the log is closed: a log that ends before its mark was shortened by somebody, or
// was on a disk that lost what it had called durable. Lines after the mark may be missing
// without a trace.
type Anchor interface {
	Load(ctx context.Context) (Mark, error)
	Save(ctx context.Context, m Mark) error
}

// Schema is this package's part of the metadata store: the mark of each log, by its name.
func Schema() meta.Schema {
	return meta.Schema{Name: "audit", Versions: []string{`
CREATE TABLE audit_mark (
	log  TEXT   NOT NULL PRIMARY KEY,
	seq  BIGINT NOT NULL,
	hash TEXT   NOT NULL
);
`}}
}

// InMeta is the Anchor of the log called name in the metadata store.
func InMeta(db auth.DB, name string) Anchor { return &inMeta{db, name} }

type inMeta struct {
	db   auth.DB
	name string
}

// Load reads the mark.
func (a *inMeta) Load(ctx context.Context) (m Mark, err error) {
	err = a.db.Read().QueryRowContext(ctx, `SELECT seq, hash FROM audit_mark WHERE log = ?`, a.name).Scan(&m.Seq, &m.Hash)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return m, err
}

// Save replaces the mark.
func (a *inMeta) Save(ctx context.Context, m Mark) error {
	return a.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO audit_mark (log, seq, hash) VALUES (?, ?, ?)
			ON CONFLICT (log) DO UPDATE SET seq = excluded.seq, hash = excluded.hash`, a.name, m.Seq, m.Hash)
		return err
	})
}

// marker sets the marks of a log beside its writer; it belongs to Run.
type marker struct {
	l     *Log
	set   Mark        // the last
	timer *time.Timer // nil: no mark is due
	done  chan Mark   // gets the mark under way once it is set, or none; nil: none is
}

// due is when the next mark is to be set; nil: never.
func (m *marker) due() <-chan time.Time {
	if m.timer == nil {
		return nil
	}
	return m.timer.C
}

// written has a mark set in a while.
func (m *marker) written() {
	if m.l.c.Anchor != nil && m.timer == nil {
		m.timer = m.l.c.Clock.NewTimer(anchorEvery)
	}
}

// start sets a mark without waiting for it: a store that hangs must hold up no line.
func (m *marker) start(ctx context.Context) {
	m.timer = nil
	select {
	case m.set = <-m.done:
		m.done = nil
	default:
	}
	if m.done != nil { // the one before it still waits for the disk
		m.written()
		return
	}
	at, done := m.l.end(), make(chan Mark, 1)
	m.done = done
	go func() { done <- m.l.save(ctx, at) }()
}

// finish sets the last mark.
func (m *marker) finish(ctx context.Context) {
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.l.c.Anchor == nil {
		return
	}
	if m.done != nil {
		m.set = <-m.done
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), anchorWait)
	defer cancel()
	if at := m.l.end(); at != m.set {
		m.l.save(ctx, at)
	}
}

// end is the last line that is durable.
func (l *Log) end() Mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.durable
}

// save sets the mark and returns it, or none.
func (l *Log) save(ctx context.Context, m Mark) Mark {
	err := l.c.Anchor.Save(ctx, m)
	if err == nil {
		return m
	}
	if ctx.Err() == nil {
		l.c.Logger.Error("the end of the audit log could not be noted in the metadata store", "err", err)
	}
	return Mark{}
}

// compare says what is wrong with the log, whose newest file has the line of the mark with
// the hash in it; "" when it is in none or another.
func (l *Log) compare(names []string, m Mark, in string) (wrong string, err error) {
	if m.Seq > l.seq {
		return missing(l.seq+1, m.Seq), nil
	}
	if in == "" {
		if in, err = hashOf(l.c.FS, names, m.Seq); err != nil {
			return "", err
		}
	}
	if in == m.Hash {
		return "", nil
	}
	return fmt.Sprintf("line %d is not the one that was noted: the log was written anew from there or from before", m.Seq), nil
}

func missing(from, to uint64) string { return fmt.Sprintf("lines %d to %d are missing", from, to) }
