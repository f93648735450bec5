package events

import (
	"database/sql"
	"encoding/json"
	"time"

	"penstock/storage/meta"
)

// Schema is this package's part of the metadata store: plain SQL that SQLite and
// PostgreSQL both take. Instants are µs since 1970, durations ms. ended is 0 while the
// event goes on; keep is 0 for nothing and -1 for ever; kept_from and kept_until are 0
// where there is none. lasting is 1 for what goes on or took longer than brief, so that a
// question for a window looks far back for few.
func Schema() meta.Schema {
	return meta.Schema{Name: "events", Versions: []string{`
CREATE TABLE event (
	stream     TEXT   NOT NULL,
	id         TEXT   NOT NULL,
	kind       TEXT   NOT NULL,
	label      TEXT   NOT NULL,
	began      BIGINT NOT NULL,
	ended      BIGINT NOT NULL,
	lasting    BIGINT NOT NULL,
	pre        BIGINT NOT NULL,
	post       BIGINT NOT NULL,
	keep       BIGINT NOT NULL,
	kept_from  BIGINT NOT NULL,
	kept_until BIGINT NOT NULL,
	author     TEXT   NOT NULL,
	owner      TEXT   NOT NULL,
	data       TEXT   NOT NULL,
	PRIMARY KEY (stream, id)
);
CREATE INDEX event_order ON event (stream, lasting, began, id, ended, kind);
CREATE INDEX event_open ON event (began) WHERE ended = 0;
CREATE INDEX event_keep ON event (stream) WHERE keep <> 0;
`}}
}

// brief is the longest event that is not lasting.
const brief = 10 * time.Minute

const columns = "stream, id, kind, label, began, ended, pre, post, keep, kept_from, kept_until, author, owner, data"

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// term is a Term as the table has it, in ms.
func term(t Term) int64 {
	if t == Forever {
		return -1
	}
	return time.Duration(t).Milliseconds()
}

func termOf(ms int64) Term {
	if ms < 0 {
		return Forever
	}
	return Term(time.Duration(ms) * time.Millisecond)
}

func (e Event) lasting() int {
	if e.Open() || e.End.Sub(e.Start) > brief {
		return 1
	}
	return 0
}

// insert adds the row; false: there is one with this ID.
func (e Event) insert(tx *sql.Tx) (bool, error) {
	r, err := tx.Exec(`INSERT INTO event (`+columns+`, lasting) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		e.Stream, e.ID, e.Kind, e.Label, micros(e.Start), micros(e.End), e.Before.Milliseconds(), e.After.Milliseconds(),
		term(e.Keep), micros(e.KeptFrom), micros(e.KeptUntil), e.By, e.Owner, string(e.Data), e.lasting())
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// update writes what may change of the row; false: it is gone.
func (e Event) update(tx *sql.Tx) (bool, error) {
	r, err := tx.Exec(`UPDATE event SET label = ?, ended = ?, lasting = ?, keep = ?, kept_from = ?, kept_until = ?, data = ? WHERE stream = ? AND id = ?`,
		e.Label, micros(e.End), e.lasting(), term(e.Keep), micros(e.KeptFrom), micros(e.KeptUntil), string(e.Data), e.Stream, e.ID)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

// scanner is *sql.Row and *sql.Rows.
type scanner interface{ Scan(into ...any) error }

func scan(row scanner) (Event, error) {
	var e Event
	var began, ended, pre, post, keep, from, until int64
	var data string
	err := row.Scan(&e.Stream, &e.ID, &e.Kind, &e.Label, &began, &ended, &pre, &post, &keep, &from, &until, &e.By, &e.Owner, &data)
	e.Start, e.End = instant(began), instant(ended)
	e.Before, e.After = time.Duration(pre)*time.Millisecond, time.Duration(post)*time.Millisecond
	e.Keep, e.KeptFrom, e.KeptUntil = termOf(keep), instant(from), instant(until)
	e.Data = json.RawMessage(data)
	return e, err
}

// scanAll reads rows to their end and closes them.
func scanAll(rows *sql.Rows, err error) ([]Event, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Event
	for rows.Next() {
		e, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, rows.Err()
}
