package fragments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"penstock/internal/fault"
	"penstock/internal/varint"
	"penstock/storage/meta"
)

// schema is what this package keeps in meta. Times are µs since 1970.
func schema() meta.Schema {
	return meta.Schema{Name: "fragments", Versions: []string{`
CREATE TABLE fragments_streams (
	stream   TEXT PRIMARY KEY,
	horizon  INTEGER NOT NULL DEFAULT 0, -- nothing before it is shown any more
	ended    INTEGER NOT NULL DEFAULT 0, -- the cause of the gap after ended_at
	ended_at INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE fragments_chunks ( -- a chunk that no index holds yet
	stream    TEXT    NOT NULL,
	first     INTEGER NOT NULL, -- number of its first fragment
	last      INTEGER NOT NULL, -- end of its last fragment
	ms        INTEGER NOT NULL, -- with session: its name
	session   INTEGER NOT NULL,
	state     INTEGER NOT NULL, -- 0: still a local file, 1: in the bucket
	fragments INTEGER NOT NULL,
	size      INTEGER NOT NULL, -- bytes of the object
	entries   BLOB    NOT NULL, -- docs/format/index.md, version 2
	PRIMARY KEY (stream, first)
) WITHOUT ROWID;
CREATE INDEX fragments_chunks_local ON fragments_chunks (first) WHERE state = 0;
CREATE TABLE fragments_index ( -- an hour, a day or a month of chunks
	stream    TEXT    NOT NULL,
	first     INTEGER NOT NULL,
	last      INTEGER NOT NULL,
	level     INTEGER NOT NULL, -- 1 hour, 2 day, 3 month
	key       TEXT    NOT NULL, -- of the index object; '' for hours
	body      BLOB,             -- an hour's section
	parts     BLOB    NOT NULL, -- the directory of the sections
	fragments INTEGER NOT NULL,
	size      INTEGER NOT NULL, -- bytes of the chunks
	trimmed   INTEGER NOT NULL DEFAULT 0, -- chunks that end before are deleted
	PRIMARY KEY (stream, first)
);
-- Sums, and what is oldest, without a look at the bodies.
CREATE INDEX fragments_index_sums ON fragments_index (stream, first, trimmed, fragments, size);
CREATE TABLE fragments_trash (key TEXT PRIMARY KEY) WITHOUT ROWID; -- objects to delete
CREATE TABLE fragments_damage ( -- what is indexed and cannot be read
	stream TEXT    NOT NULL,
	first  INTEGER NOT NULL, -- number
	last   INTEGER NOT NULL, -- end
	detail TEXT    NOT NULL,
	PRIMARY KEY (stream, first)
) WITHOUT ROWID;
CREATE TABLE fragments_state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
`, `
ALTER TABLE fragments_streams ADD COLUMN held BLOB; -- what outlives the horizon; docs/format/index.md
CREATE TABLE fragments_kept ( -- what is held of a chunk that ends before the horizon
	stream    TEXT    NOT NULL,
	first     INTEGER NOT NULL, -- number of its first fragment that is held
	last      INTEGER NOT NULL, -- end of the last
	ms        INTEGER NOT NULL,
	session   INTEGER NOT NULL,
	fragments INTEGER NOT NULL, -- that are held
	size      INTEGER NOT NULL, -- bytes of the object, all of it
	entries   BLOB    NOT NULL, -- of the fragments that are held
	PRIMARY KEY (stream, last)
) WITHOUT ROWID;
CREATE INDEX fragments_kept_sums ON fragments_kept (stream, fragments, size);
`}}
}

// The states of a chunk's row.
const (
	stateLocal  = 0
	stateStored = 1
)

// The levels of an index.
const (
	levelHour  = 1
	levelDay   = 2
	levelMonth = 3
)

// catalog is the SQL side of a Store.
type catalog struct {
	db    *meta.DB
	cache *cache
}

func readFault(op, stream string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.Wrap(fault.Internal, op, stream, err)
}

// streamRow is a stream's row; the zero value is that of an unknown stream.
type streamRow struct {
	horizon int64
	held    intervals
	ended   Cause
	endedAt int64
}

func (c catalog) stream(ctx context.Context, stream string) (streamRow, error) {
	var r streamRow
	var held []byte
	err := c.db.Read().QueryRowContext(ctx, "SELECT horizon, held, ended, ended_at FROM fragments_streams WHERE stream = ?", stream).
		Scan(&r.horizon, &held, &r.ended, &r.endedAt)
	if errors.Is(err, sql.ErrNoRows) {
		return r, nil
	}
	if err == nil {
		r.held, err = readIntervals(held)
	}
	return r, readFault("read stream", stream, err)
}

// setHorizon moves a stream's horizon forward.
func setHorizon(tx *sql.Tx, stream string, horizon int64) error {
	_, err := tx.Exec(`INSERT INTO fragments_streams (stream, horizon) VALUES (?1, ?2)
		ON CONFLICT (stream) DO UPDATE SET horizon = max(horizon, ?2)`, stream, horizon)
	return err
}

// setHeld notes what of a stream outlives its horizon.
func setHeld(tx *sql.Tx, stream string, held intervals) error {
	_, err := tx.Exec(`INSERT INTO fragments_streams (stream, held) VALUES (?1, ?2)
		ON CONFLICT (stream) DO UPDATE SET held = ?2`, stream, held.append(nil))
	return err
}

// setEnded notes why nothing follows the media that ends at an instant, unless something
// was noted for that instant before.
func setEnded(tx *sql.Tx, stream string, cause Cause, at int64) error {
	_, err := tx.Exec(`INSERT INTO fragments_streams (stream, ended, ended_at) VALUES (?1, ?2, ?3)
		ON CONFLICT (stream) DO UPDATE SET ended = ?2, ended_at = ?3 WHERE ended_at <> ?3`, stream, int64(cause), at)
	return err
}

func insertChunk(tx *sql.Tx, stream string, r chunkRow, state int) error {
	_, err := tx.Exec(`INSERT OR REPLACE INTO fragments_chunks (stream, first, last, ms, session, state, fragments, size, entries)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		stream, int64(r.first), r.last, r.ms, int64(r.session), state, r.fragments, r.size, r.entries)
	return err
}

// listed is a chunk's row with the stream it belongs to.
type listed struct {
	chunkRow
	stream string
	state  int
}

const chunkColumns = "stream, first, last, ms, session, state, fragments, size, entries"

// querier is a *sql.DB or *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func queryChunks(ctx context.Context, q querier, where string, args ...any) ([]listed, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+chunkColumns+" FROM fragments_chunks "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []listed
	for rows.Next() {
		var r listed
		var first int64
		if err := rows.Scan(&r.stream, &first, &r.last, &r.ms, &r.session, &r.state, &r.fragments, &r.size, &r.entries); err != nil {
			return nil, err
		}
		r.first = Number(first)
		out = append(out, r)
	}
	return out, rows.Err()
}

// indexRow is an hour, a day or a month.
type indexRow struct {
	stream    string
	first     Number
	last      int64
	level     int
	key       string
	body      []byte // an hour's section, where it was asked for
	parts     []part
	fragments int64
	size      int64
	trimmed   int64
}

// queryIndex reads index rows without their bodies. Directories never change, so they
// are kept in the cache.
func (c catalog) queryIndex(ctx context.Context, q querier, where string, args ...any) ([]indexRow, error) {
	rows, err := q.QueryContext(ctx, `SELECT stream, first, last, level, key, fragments, size, trimmed
		FROM fragments_index `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []indexRow
	for rows.Next() {
		var r indexRow
		var first int64
		if err := rows.Scan(&r.stream, &first, &r.last, &r.level, &r.key, &r.fragments, &r.size, &r.trimmed); err != nil {
			return nil, err
		}
		r.first = Number(first)
		out = append(out, r)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].parts, err = c.parts(ctx, q, &out[i]); err != nil {
			return nil, fmt.Errorf("index of %s from %d: %w", out[i].stream, out[i].first, err)
		}
	}
	return out, nil
}

// parts reads the directory of an index row.
func (c catalog) parts(ctx context.Context, q querier, r *indexRow) ([]part, error) {
	key := cacheKey{fmt.Sprintf("parts/%s/%d", r.stream, r.level), int64(r.first)}
	if v, ok := c.cache.Get(key); ok {
		return v.([]part), nil
	}
	rows, err := q.QueryContext(ctx, "SELECT parts FROM fragments_index WHERE stream = ? AND first = ? AND level = ?",
		r.stream, int64(r.first), r.level)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if !rows.Next() { // it was packed meanwhile
		return nil, errors.Join(rows.Err())
	}
	var b []byte
	if err := rows.Scan(&b); err != nil {
		return nil, err
	}
	parts, err := unpackParts(b)
	if err == nil {
		c.cache.Put(key, parts, 8*int64(len(b)))
	}
	return parts, err
}

func insertIndex(tx *sql.Tx, r indexRow) error {
	_, err := tx.Exec(`INSERT OR REPLACE INTO fragments_index (stream, first, last, level, key, body, parts, fragments, size, trimmed)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.stream, int64(r.first), r.last, r.level, r.key, r.body, packParts(r.parts), r.fragments, r.size, r.trimmed)
	return err
}

func addTrash(tx *sql.Tx, keys ...string) error {
	for _, k := range keys {
		if _, err := tx.Exec("INSERT OR IGNORE INTO fragments_trash (key) VALUES (?)", k); err != nil {
			return err
		}
	}
	return nil
}

// window is what the index says of a stream between two instants, in one state.
type window struct {
	kept   *keptRows // before and between the others
	index  []indexRow
	chunks []listed
	damage []damage
}

// damage is a stretch that cannot be read.
type damage struct {
	first  Number
	last   int64
	detail string
}

// window reads the rows that may hold fragments with numbers from first on that start
// before end (µs), and the one before, which may reach into it. Of what is kept it has
// rows only where v holds something.
func (c catalog) window(ctx context.Context, stream string, first Number, end int64, v sight) (window, error) {
	w := window{kept: &keptRows{c: c, stream: stream, lo: int64(first), hi: end, over: true}}
	tx, err := c.db.Read().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return w, readFault("read index", stream, err)
	}
	defer func() { _ = tx.Rollback() }() // it only read
	lo, hi := int64(first), end
	w.index, err = c.queryIndex(ctx, tx, "WHERE stream = ? AND first < ? AND last > ? ORDER BY first", stream, hi, lo)
	if err == nil {
		w.chunks, err = queryChunks(ctx, tx, "WHERE stream = ? AND first < ? AND last > ? ORDER BY first", stream, hi, lo)
	}
	if err == nil && v.past(lo) {
		err = w.kept.begin(ctx, tx)
	}
	if err == nil {
		w.damage, err = queryDamage(ctx, tx, stream)
	}
	return w, readFault("read index", stream, err)
}

func queryDamage(ctx context.Context, q querier, stream string) ([]damage, error) {
	rows, err := q.QueryContext(ctx, "SELECT first, last, detail FROM fragments_damage WHERE stream = ? ORDER BY first", stream)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []damage
	for rows.Next() {
		var d damage
		var first int64
		if err := rows.Scan(&first, &d.last, &d.detail); err != nil {
			return nil, err
		}
		d.first = Number(first)
		out = append(out, d)
	}
	return out, rows.Err()
}

// body reads an hour's section.
func (c catalog) body(ctx context.Context, stream string, first Number) ([]byte, error) {
	var b []byte
	err := c.db.Read().QueryRowContext(ctx, "SELECT body FROM fragments_index WHERE stream = ? AND first = ? AND level = 1",
		stream, int64(first)).Scan(&b)
	return b, err
}

// lists reports whether an index row is still there.
func (c catalog) lists(ctx context.Context, ix indexRow) (bool, error) {
	var n int
	err := c.db.Read().QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM fragments_index WHERE stream = ? AND first = ? AND key = ?)",
		ix.stream, int64(ix.first), ix.key).Scan(&n)
	return n > 0, err
}

// newest returns the newest fragment that a chunk's row lists, and false when there is none.
func (c catalog) newest(ctx context.Context, stream string) (entry, bool, error) {
	rows, err := queryChunks(ctx, c.db.Read(), "WHERE stream = ? ORDER BY first DESC LIMIT 1", stream)
	if err != nil || len(rows) == 1 {
		if err != nil {
			return entry{}, false, readFault("read index", stream, err)
		}
		entries, err := rows[0].unpack(nil)
		if err != nil || len(entries) == 0 {
			return entry{}, false, readFault("read index", stream, errors.Join(err, varint.ErrShort))
		}
		return entries[len(entries)-1], true, nil
	}
	return entry{}, false, nil
}

// sums returns what the rows of one stream hold, or of all when stream is "".
func (c catalog) sums(ctx context.Context, stream string) (Totals, error) {
	var t Totals
	where := ""
	if stream != "" {
		where = "WHERE stream = ?1"
	}
	err := c.db.Read().QueryRowContext(ctx, fmt.Sprintf(`SELECT coalesce(sum(f), 0), coalesce(sum(b), 0), coalesce(sum(k), 0) FROM (
		SELECT fragments AS f, size AS b, 0 AS k FROM fragments_chunks %[1]s UNION ALL
		SELECT fragments, size, 0 FROM fragments_index %[1]s UNION ALL
		SELECT fragments, size, size FROM fragments_kept %[1]s)`, where), stream).Scan(&t.Fragments, &t.Bytes, &t.Kept)
	return t, readFault("sum up", stream, err)
}
