package auth

import "penstock/storage/meta"

// Schema is this package's part of the metadata store: plain SQL that SQLite and
// PostgreSQL both take. Times are milliseconds since 1970, 0 for none; secrets are
// sealed, hashes are of tokens that cannot be guessed.
func Schema() meta.Schema {
	return meta.Schema{Name: "auth", Versions: []string{`
CREATE TABLE auth_person (
	id         TEXT   NOT NULL PRIMARY KEY,
	account    TEXT   NOT NULL,
	name       TEXT   NOT NULL,
	role       TEXT   NOT NULL,
	streams    TEXT   NOT NULL,
	password   TEXT   NOT NULL,
	digest     TEXT   NOT NULL,
	generation BIGINT NOT NULL,
	created    BIGINT NOT NULL,
	UNIQUE (account, name)
);
CREATE TABLE auth_key (
	id          TEXT   NOT NULL PRIMARY KEY,
	account     TEXT   NOT NULL,
	name        TEXT   NOT NULL,
	role        TEXT   NOT NULL,
	streams     TEXT   NOT NULL,
	policy      TEXT   NOT NULL,
	secret      TEXT   NOT NULL,
	token       TEXT   NOT NULL,
	token_hash  TEXT   NOT NULL UNIQUE,
	generation  BIGINT NOT NULL,
	created     BIGINT NOT NULL,
	expires     BIGINT NOT NULL,
	last_used   BIGINT NOT NULL,
	last_remote TEXT   NOT NULL
);
CREATE TABLE auth_session (
	hash       TEXT   NOT NULL PRIMARY KEY,
	person     TEXT   NOT NULL,
	generation BIGINT NOT NULL,
	created    BIGINT NOT NULL,
	expires    BIGINT NOT NULL,
	seen       BIGINT NOT NULL,
	remote     TEXT   NOT NULL
);
CREATE TABLE auth_link (
	hash    TEXT   NOT NULL PRIMARY KEY,
	person  TEXT   NOT NULL,
	expires BIGINT NOT NULL
);
CREATE TABLE auth_state (
	name   TEXT   NOT NULL PRIMARY KEY,
	number BIGINT NOT NULL,
	words  TEXT   NOT NULL
);
INSERT INTO auth_state (name, number, words) VALUES ('epoch', 1, '');
`, `
CREATE TABLE auth_revoked (
	sum     TEXT   NOT NULL PRIMARY KEY,
	expires BIGINT NOT NULL
);
`}}
}
