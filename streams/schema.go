package streams

import "penstock/storage/meta"

// Schema is this package's part of the metadata store: plain SQL that SQLite and
// PostgreSQL both take. Times and durations are in milliseconds. A row of stream_erase
// is a stream whose name is free again and whose media is still to be deleted.
func Schema() meta.Schema {
	return meta.Schema{Name: "streams", Versions: []string{`
CREATE TABLE stream (
	id        TEXT   NOT NULL PRIMARY KEY,
	account   TEXT   NOT NULL,
	name      TEXT   NOT NULL,
	created   BIGINT NOT NULL,
	version   BIGINT NOT NULL,
	retention BIGINT NOT NULL,
	source    TEXT   NOT NULL,
	password  TEXT   NOT NULL,
	tags      TEXT   NOT NULL,
	UNIQUE (account, name)
);
CREATE TABLE stream_erase (
	id      TEXT   NOT NULL PRIMARY KEY,
	account TEXT   NOT NULL,
	name    TEXT   NOT NULL,
	created BIGINT NOT NULL
);
CREATE TABLE stream_state (
	name   TEXT   NOT NULL PRIMARY KEY,
	number BIGINT NOT NULL
);
INSERT INTO stream_state (name, number) VALUES ('epoch', 1);
`, `
ALTER TABLE stream ADD COLUMN retention_bytes BIGINT NOT NULL DEFAULT 0;
`}}
}
