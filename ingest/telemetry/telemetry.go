// Package telemetry turns the body of one HTTP request into data records: a JSON object
// or an array of them, lines of JSON, CSV, CBOR, or bytes as they are.
//
// It reads bytes and makes records; who may put them where, and storing them, is for the
// floors above. What a record holds is a part of the body as it was sent, with two
// exceptions: a row of CSV becomes a JSON object, and blanks around a JSON value are
// left away.
package telemetry

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"penstock/internal/fault"
	"penstock/records"
)

// Limits of one request.
const (
	BodyMax    = 16 << 20          // bytes: what PutRecords of the AWS wire takes with its encoding
	RecordsMax = records.MaxInputs // of one body
	KeyMax     = 256               // characters of a partition key
	columnsMax = 1000              // of CSV
	pointerMax = 1 << 10           // bytes of a JSON pointer
	nestedMax  = 64                // levels of CBOR
)

// Format is how a body holds its records.
type Format uint8

// The formats.
const (
	Bytes  Format = iota // the whole body is one record
	JSON                 // one value, or an array with a record in each element
	NDJSON               // a JSON value a line
	CSV                  // a header and rows: each row becomes a JSON object
	Rows                 // CSV without a header: each row is a record as it is
	Lines                // of text: each that is not empty is a record, without its line end
	CBOR                 // items one after another (RFC 8742); a lone array has a record in each element
)

// FormatOf says what a Content-Type means. Nothing, and what HTML forms and curl say
// without being asked, is JSON where the body reads as an object or array, else bytes; so
// is every type that is not known here bytes. fault.Invalid: it cannot be read, or names
// a text that is not UTF-8.
func FormatOf(contentType string, body []byte) (Format, error) {
	if contentType == "" {
		return guess(body), nil
	}
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return 0, fault.Wrap(fault.Invalid, "read Content-Type", strconv.Quote(cut(contentType)), err)
	}
	if c := params["charset"]; c != "" && !strings.EqualFold(c, "utf-8") && !strings.EqualFold(c, "us-ascii") {
		return 0, fault.New(fault.Invalid, "read Content-Type", strconv.Quote(cut(contentType)), "the text must be UTF-8")
	}
	switch kind {
	case "application/x-www-form-urlencoded":
		return guess(body), nil
	case "application/json", "text/json":
		return JSON, nil
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines", "application/x-jsonlines", "application/json-lines":
		return NDJSON, nil
	case "text/csv":
		if params["header"] == "absent" { // RFC 4180 section 3
			return Rows, nil
		}
		return CSV, nil
	case "text/plain":
		if params["records"] == "lines" {
			return Lines, nil
		}
		return Bytes, nil
	case "application/cbor", "application/cbor-seq":
		return CBOR, nil
	}
	if strings.HasSuffix(kind, "+json") {
		return JSON, nil
	}
	if strings.HasSuffix(kind, "+cbor") {
		return CBOR, nil
	}
	return Bytes, nil
}

func guess(body []byte) Format {
	if text := bytes.TrimLeft(body, blanks); len(text) > 0 && (text[0] == '{' || text[0] == '[') && json.Valid(text) {
		return JSON
	}
	return Bytes
}

// Options say how a body becomes records.
type Options struct {
	Format Format
	// Key is the partition key of all records; empty: see Pointer.
	Key string
	// Pointer is a JSON pointer (RFC 6901) into each record, whose value is the key:
	// "/sensor/id". Text is taken as it is, numbers and truth values as JSON has them. With
	// neither, each record has a random key, which spreads them over the shards.
	Pointer string
}

// Parse reads a body. The records' data are parts of it, except with CSV. fault.Invalid:
// it is not what Format says, holds no record or too many, or a record lacks its key; the
// text names the record, from 0.
func Parse(body []byte, o Options) ([]records.Input, error) {
	pointer, err := o.check()
	if err != nil {
		return nil, err
	}
	var parts [][]byte
	switch o.Format {
	case JSON:
		parts, err = jsonParts(body)
	case NDJSON:
		parts, err = lineParts(body)
	case CSV:
		parts, err = csvParts(body)
	case Rows:
		parts, err = rowParts(body)
	case Lines:
		parts, err = textParts(body)
	case CBOR:
		parts, err = cborParts(body)
	default:
		parts = [][]byte{body}
	}
	switch {
	case err != nil:
		return nil, err
	case len(parts) == 0:
		return nil, bad("there is no record in it")
	}
	out := make([]records.Input, len(parts))
	for i, data := range parts {
		key := o.Key
		switch {
		case pointer != nil:
			if key, err = keyAt(data, pointer, o.Format == CBOR); err != nil {
				return nil, bad(fmt.Sprintf("record %d has no key at %s: %v", i, cut(o.Pointer), err))
			}
		case key == "":
			key = randomKey()
		}
		out[i] = records.Input{Key: key, Hash: records.HashOf(key), Data: data}
	}
	return out, nil
}

func (o Options) check() ([]string, error) {
	if o.Key != "" && o.Pointer != "" {
		return nil, fault.New(fault.Invalid, "read partition key", "", "a key and a pointer to one exclude each other")
	}
	if o.Key != "" {
		return nil, checkKey(o.Key)
	}
	if o.Pointer == "" {
		return nil, nil
	}
	if o.Format == Bytes || o.Format == Rows || o.Format == Lines {
		return nil, fault.New(fault.Invalid, "read partition key", cut(o.Pointer), "a JSON pointer needs records of JSON, CSV with a header, or CBOR").
			WithHint("name the key itself: ?key=NAME, or the header X-Partition-Key")
	}
	return parsePointer(o.Pointer)
}

func checkKey(key string) error {
	if n := utf8.RuneCountInString(key); n < 1 || n > KeyMax || !utf8.ValidString(key) {
		return fault.New(fault.Invalid, "read partition key", strconv.Quote(cut(key)), fmt.Sprintf("it must have 1 to %d characters of UTF-8", KeyMax))
	}
	return nil
}

func randomKey() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func bad(text string) error { return fault.New(fault.Invalid, "read records", "", text) }

// cut shortens what came from outside, for an error's words.
func cut(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

func tooMany() error {
	return bad(fmt.Sprintf("more than %d records; send them in several requests", RecordsMax))
}
