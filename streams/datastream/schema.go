package datastream

import "penstock/storage/meta"

// Schema is this package's part of the metadata store: plain SQL that SQLite and
// PostgreSQL both take. doc is a JSON document (see row); datastream_state holds sealed
// keys and the settings of accounts.
func Schema() meta.Schema {
	return meta.Schema{Name: "datastreams", Versions: []string{`
CREATE TABLE datastream (
	id      TEXT   NOT NULL PRIMARY KEY,
	account TEXT   NOT NULL,
	region  TEXT   NOT NULL,
	name    TEXT   NOT NULL,
	doc     TEXT   NOT NULL,
	UNIQUE (account, region, name)
);
CREATE TABLE datastream_consumer (
	stream  TEXT   NOT NULL,
	name    TEXT   NOT NULL,
	doc     TEXT   NOT NULL,
	PRIMARY KEY (stream, name)
);
CREATE TABLE datastream_state (
	name  TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
);
`}}
}
