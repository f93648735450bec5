package meta

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"

	"penstock/internal/fault"
)

// Schema is one caller's tables as a history: Versions[0] makes them, each further
// entry is the statements that lead from the version before to the next. A published
// entry is never edited, only followed by another.
type Schema struct {
	Name     string // "fragments"; also the prefix of its tables, by convention
	Versions []string
}

const versionsTable = `CREATE TABLE IF NOT EXISTS schema_versions (
	name    TEXT    NOT NULL,
	version INTEGER NOT NULL, -- 1-based index into Schema.Versions
	digest  TEXT    NOT NULL, -- SHA-256 of the statements, hex
	applied INTEGER NOT NULL, -- µs since 1970
	PRIMARY KEY (name, version)
) WITHOUT ROWID`

// Apply brings each schema to its newest version, each in one transaction. A store that
// is already there costs one read. fault.Invalid: the store is from a newer program,
// or a published version was edited.
func (db *DB) Apply(ctx context.Context, schemas ...Schema) error {
	for _, s := range schemas {
		have, err := db.versions(ctx, s)
		if err != nil {
			return err
		}
		if have == len(s.Versions) {
			continue
		}
		if err := db.Write(ctx, func(tx *sql.Tx) error { return db.migrate(ctx, tx, s, have) }); err != nil {
			return fmt.Errorf("migrate %s: %w", s.Name, err)
		}
		db.cfg.Logger.Info("metadata schema is up to date", "schema", s.Name, "from", have, "to", len(s.Versions))
	}
	return nil
}

// versions returns how many versions of s the store has, having compared their digests.
func (db *DB) versions(ctx context.Context, s Schema) (int, error) {
	if s.Name == "" {
		return 0, fault.New(fault.Invalid, "migrate", db.cfg.Path, "a schema has no name")
	}
	rows, err := db.reader.QueryContext(ctx, "SELECT version, digest FROM schema_versions WHERE name = ? ORDER BY version", s.Name)
	if err != nil {
		return 0, classify("read schema versions", db.cfg.Path, err)
	}
	defer rows.Close()
	have := 0
	for rows.Next() {
		var (
			v int
			d string
		)
		if err := rows.Scan(&v, &d); err != nil {
			return 0, classify("read schema versions", db.cfg.Path, err)
		}
		if have++; v != have {
			return 0, fault.New(fault.Invalid, "open metadata", db.cfg.Path, fmt.Sprintf("version %d of its %q tables is not noted", have, s.Name)).
				WithHint("restore a backup of the file")
		}
		if v > len(s.Versions) {
			continue
		}
		if d != digest(s.Versions[v-1]) {
			return 0, fault.New(fault.Invalid, "open metadata", db.cfg.Path,
				fmt.Sprintf("its %q tables are version %d of an unreleased build (%.8s), this penstock has another version %d (%.8s)",
					s.Name, v, d, v, digest(s.Versions[v-1]))).
				WithHint("use the penstock release that made this data directory, or begin a new one with --data and keep this as it is")
		}
	}
	if err := rows.Err(); err != nil {
		return 0, classify("read schema versions", db.cfg.Path, err)
	}
	if have > len(s.Versions) {
		return 0, fault.New(fault.Invalid, "open metadata", db.cfg.Path,
			fmt.Sprintf("its %q tables have version %d, this penstock knows version %d", s.Name, have, len(s.Versions))).
			WithHint("the data directory was used by a newer penstock: run that one, or restore a backup")
	}
	return have, nil
}

func (db *DB) migrate(ctx context.Context, tx *sql.Tx, s Schema, have int) error {
	for i := have; i < len(s.Versions); i++ {
		if _, err := tx.ExecContext(ctx, s.Versions[i]); err != nil {
			return classify(fmt.Sprintf("apply version %d of", i+1), s.Name, err)
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO schema_versions (name, version, digest, applied) VALUES (?, ?, ?, ?)",
			s.Name, i+1, digest(s.Versions[i]), db.cfg.Clock.Now().UnixMicro()); err != nil {
			return classify("note schema version of", s.Name, err)
		}
	}
	return nil
}

func digest(statements string) string {
	sum := sha256.Sum256([]byte(statements))
	return hex.EncodeToString(sum[:])
}
