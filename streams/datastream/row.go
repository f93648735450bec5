package datastream

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// row is a stream's document in the metadata store.
type row struct {
	StreamID  string            `json:"stream_id"`
	Created   int64             `json:"created"` // seconds
	Status    Status            `json:"status"`
	Mode      Mode              `json:"mode"`
	Hours     int               `json:"retention_hours"`
	MaxRecord int               `json:"max_record"`
	Warm      int               `json:"warm,omitempty"`
	KeyID     string            `json:"key_id,omitempty"`
	SealedKey []byte            `json:"sealed_key,omitempty"`
	Metrics   []string          `json:"metrics,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
	Policy    string            `json:"policy,omitempty"`
	Rehashed  []int64           `json:"rehashed,omitempty"` // this and the next three: today
	Modes     []int64           `json:"modes,omitempty"`
	Encrypted []int64           `json:"encrypted,omitempty"`
	Plain     []int64           `json:"plain,omitempty"`
	Peaks     peaks             `json:"peaks,omitempty"`
	Pending   *task             `json:"pending,omitempty"`
}

// consumerRow is a consumer's document.
type consumerRow struct {
	Created int64             `json:"created"`
	Status  Status            `json:"status"`
	Tags    map[string]string `json:"tags,omitempty"`
	Policy  string            `json:"policy,omitempty"`
}

func (s *Stream) doc(i *Info, t *task) (string, error) {
	b, err := json.Marshal(row{StreamID: i.StreamID, Created: i.Created.Unix(), Status: i.Status, Mode: i.Mode,
		Hours: int(i.Retention / time.Hour), MaxRecord: i.MaxRecord, Warm: i.Warm, KeyID: i.KeyID, SealedKey: s.sealedKey,
		Metrics: i.Metrics, Tags: i.Tags, Policy: i.Policy,
		Rehashed: s.today.Shards, Modes: s.today.Modes, Encrypted: s.today.Encrypt, Plain: s.today.Plain, Peaks: s.peaks, Pending: t})
	return string(b), err
}

// insert writes a new stream down.
func (c *Catalogue) insert(ctx context.Context, s *Stream) error {
	i := s.Info()
	doc, err := s.doc(i, s.pending.Load())
	if err != nil {
		return err
	}
	// See save: what the next start finds and this one does not would be two streams of a name.
	return c.c.Meta.Write(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO datastream (id, account, region, name, doc) VALUES (?, ?, ?, ?, ?)`, i.ID, i.Account, i.Region, i.Name, doc)
		return err
	})
}

// save writes a stream down as it will be; the caller holds s.mu.
func (s *Stream) save(ctx context.Context, i *Info, t *task) error {
	doc, err := s.doc(i, t)
	if err != nil {
		return err
	}
	// What began to be written may be committed though the caller left: see it through.
	return s.c.c.Meta.Write(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE datastream SET doc = ? WHERE id = ?`, doc, i.ID)
		return err
	})
}

// load reads all.
func (c *Catalogue) load(ctx context.Context) error {
	db := c.c.Meta.Read()
	rows, err := db.QueryContext(ctx, `SELECT id, account, region, name, doc FROM datastream`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		i, doc := &Info{}, ""
		if err := rows.Scan(&i.ID, &i.Account, &i.Region, &i.Name, &doc); err != nil {
			return err
		}
		var r row
		if err := json.Unmarshal([]byte(doc), &r); err != nil {
			return fmt.Errorf("data stream %s: %w", i.Name, err)
		}
		i.StreamID, i.Created, i.Status, i.Mode = r.StreamID, time.Unix(r.Created, 0).UTC(), r.Status, r.Mode
		i.Retention, i.MaxRecord, i.Warm, i.KeyID = time.Duration(r.Hours)*time.Hour, r.MaxRecord, r.Warm, r.KeyID
		i.Metrics, i.Tags, i.Policy = r.Metrics, copyTags(r.Tags), r.Policy
		s := c.stream(i, r.Pending)
		s.sealedKey, s.today, s.peaks = r.SealedKey, today{r.Rehashed, r.Modes, r.Encrypted, r.Plain}, r.Peaks
		c.names[s.key()], c.ids[i.ID] = s, s
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := c.loadConsumers(ctx, db); err != nil {
		return err
	}
	return c.loadAccounts(ctx, db)
}

func (c *Catalogue) loadConsumers(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, `SELECT stream, name, doc FROM datastream_consumer ORDER BY stream, name`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, name, doc string
		if err := rows.Scan(&id, &name, &doc); err != nil {
			return err
		}
		var r consumerRow
		if err := json.Unmarshal([]byte(doc), &r); err != nil {
			return fmt.Errorf("consumer %s: %w", name, err)
		}
		s := c.ids[id]
		if s == nil {
			continue // its stream went; Delete takes both in one transaction
		}
		s.putConsumer(Consumer{Name: name, Created: time.Unix(r.Created, 0).UTC(), Status: r.Status, Tags: copyTags(r.Tags), Policy: r.Policy, stream: s.arn})
	}
	return rows.Err()
}
