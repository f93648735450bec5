package streams

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"penstock/internal/fault"
)

// eraseRetry is how long an erasure that failed waits.
const eraseRetry = 30 * time.Second

// storedSource is a Source as the store holds it; the password is sealed beside it.
type storedSource struct {
	URL       string    `json:"url"`
	Username  string    `json:"username,omitempty"`
	Transport Transport `json:"transport"`
}

type streamRow struct {
	retention, bytes       int64
	source, password, tags string
}

// row seals and encodes.
func (c *Catalogue) row(s Stream) (r streamRow, err error) {
	r.retention, r.bytes = s.Retention.Milliseconds(), s.RetentionBytes
	if len(s.Tags) > 0 {
		b, err := json.Marshal(s.Tags)
		if err != nil {
			return r, err
		}
		r.tags = string(b)
	}
	if s.Source == nil {
		return r, nil
	}
	b, err := json.Marshal(storedSource{s.Source.URL, s.Source.Username, s.Source.Transport})
	if err != nil {
		return r, err
	}
	r.source = string(b)
	if s.Source.Password.Empty() {
		return r, nil
	}
	if c.config.Sealer == nil {
		return r, fault.New(fault.Unavailable, "keep password of stream", s.Name, "there is no key to seal it with")
	}
	sealed, err := c.config.Sealer.Seal("stream source "+s.ID, []byte(s.Source.Password.Reveal()))
	if err != nil {
		return r, err
	}
	r.password = base64.StdEncoding.EncodeToString(sealed)
	return r, nil
}

// stream reverses row. A password that does not open leaves the stream without one, so
// that the recording stays reachable; the camera then answers 401, which shows.
func (c *Catalogue) stream(s Stream, r streamRow) (*Stream, error) {
	s.Region, s.Retention, s.RetentionBytes = c.config.Region, time.Duration(r.retention)*time.Millisecond, r.bytes
	if r.tags != "" {
		if err := json.Unmarshal([]byte(r.tags), &s.Tags); err != nil {
			return nil, fmt.Errorf("tags of stream %s: %w", s.Name, err)
		}
	}
	if r.source == "" {
		return &s, nil
	}
	var stored storedSource
	if err := json.Unmarshal([]byte(r.source), &stored); err != nil {
		return nil, fmt.Errorf("source of stream %s: %w", s.Name, err)
	}
	s.Source = &Source{URL: stored.URL, Username: stored.Username, Transport: stored.Transport}
	if r.password == "" || c.config.Sealer == nil {
		return &s, nil
	}
	sealed, err := base64.StdEncoding.DecodeString(r.password)
	if err == nil {
		var plain []byte
		if plain, err = c.config.Sealer.Unseal("stream source "+s.ID, sealed); err == nil {
			s.Source.Password = newSecret(string(plain))
		}
	}
	if err != nil {
		c.log.Error("a camera's password cannot be read; set it again", "stream", s.Name, "err", err)
	}
	return &s, nil
}

// Run finishes deletions, those that a crash interrupted too, and notices changes by
// other processes. It returns when ctx ends.
func (c *Catalogue) Run(ctx context.Context) error {
	var nextErase time.Time
	for {
		if now := c.config.Clock.Now(); !now.Before(nextErase) {
			if !c.eraseAll(ctx) {
				nextErase = now.Add(eraseRetry)
			}
		}
		timer := c.config.Clock.NewTimer(c.config.Poll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.erasing:
			timer.Stop()
			nextErase = time.Time{}
		case <-timer.C:
			if err := c.refresh(ctx); err != nil && ctx.Err() == nil {
				c.log.Warn("cannot look for changed streams; those known stay", "err", err)
			}
		}
	}
}

// eraseAll reports whether nothing is left to be erased.
func (c *Catalogue) eraseAll(ctx context.Context) bool {
	list, err := c.toErase(ctx)
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("cannot read which streams are to be erased", "err", err)
		}
		return false
	}
	done := true
	for _, s := range list {
		if err := c.eraseOne(ctx, s); err != nil {
			done = false
			if ctx.Err() == nil {
				c.log.Warn("cannot erase a deleted stream's media yet", "stream", s.Name, "id", s.ID, "err", err)
			}
		}
	}
	return done
}

func (c *Catalogue) eraseOne(ctx context.Context, s Stream) error {
	if c.config.Erase != nil {
		if err := c.config.Erase(ctx, s); err != nil {
			return err
		}
	}
	return c.config.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`DELETE FROM stream_erase WHERE id = ?`, s.ID)
		return err
	})
}

func (c *Catalogue) toErase(ctx context.Context) ([]Stream, error) {
	rows, err := c.config.Meta.Read().QueryContext(ctx, `SELECT id, account, name, created FROM stream_erase`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Stream
	for rows.Next() {
		s := Stream{Region: c.config.Region}
		var created int64
		if err := rows.Scan(&s.ID, &s.Account, &s.Name, &created); err != nil {
			return nil, err
		}
		s.Created = time.UnixMilli(created).UTC()
		list = append(list, s)
	}
	return list, rows.Err()
}

// change runs f in a transaction that moves the epoch, then apply on the memory.
func (c *Catalogue) change(ctx context.Context, f func(*sql.Tx) error, apply func()) error {
	// Not under reload: many creates at once share one commit. The memory follows the
	// store's order by the epoch each transaction saw.
	var epoch int64
	err := c.config.Meta.Write(ctx, func(tx *sql.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		if _, err := tx.Exec(`UPDATE stream_state SET number = number + 1 WHERE name = 'epoch'`); err != nil {
			return err
		}
		return tx.QueryRow(`SELECT number FROM stream_state WHERE name = 'epoch'`).Scan(&epoch)
	})
	if err != nil {
		return err
	}
	c.reload.Lock()
	defer c.reload.Unlock()
	c.mu.Lock()
	next := c.epoch+1 == epoch
	seen := c.epoch >= epoch // a refresh that came between has read it already
	if next {
		apply()
		c.epoch = epoch
	}
	c.mu.Unlock()
	if next || seen {
		return nil
	}
	// Another change is ahead of this one in the store: take both from there.
	return c.load(context.WithoutCancel(ctx))
}

// refresh loads the store again when its epoch moved.
func (c *Catalogue) refresh(ctx context.Context) error {
	var epoch int64
	if err := c.config.Meta.Read().QueryRowContext(ctx, `SELECT number FROM stream_state WHERE name = 'epoch'`).Scan(&epoch); err != nil {
		return classify(err, "read catalogue", "")
	}
	c.mu.RLock()
	same := epoch == c.epoch
	c.mu.RUnlock()
	if same {
		return nil
	}
	c.reload.Lock()
	defer c.reload.Unlock()
	return c.load(ctx)
}

// load takes the whole catalogue from the store. reload is held.
func (c *Catalogue) load(ctx context.Context) error {
	found, epoch, err := c.read(ctx)
	if err != nil {
		return classify(err, "read catalogue", "")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch < c.epoch {
		return nil
	}
	c.epoch = epoch
	for _, s := range slices.Collect(maps.Values(c.byID)) {
		if found[s.ID] == nil {
			c.drop(s)
		}
	}
	for id, s := range found {
		switch old := c.byID[id]; {
		case old == nil:
			c.put(s, Created)
		case old.Version != s.Version:
			c.put(s, Updated)
		}
	}
	return nil
}

func (c *Catalogue) read(ctx context.Context) (map[string]*Stream, int64, error) {
	tx, err := c.config.Meta.Read().BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, 0, err
	}
	defer tx.Rollback()
	var epoch int64
	if err := tx.QueryRowContext(ctx, `SELECT number FROM stream_state WHERE name = 'epoch'`).Scan(&epoch); err != nil {
		return nil, 0, err
	}
	rows, err := tx.QueryContext(ctx, `SELECT id, account, name, created, version, retention, retention_bytes, source, password, tags FROM stream`)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	found := map[string]*Stream{}
	for rows.Next() {
		var s Stream
		var r streamRow
		var created, version int64
		if err := rows.Scan(&s.ID, &s.Account, &s.Name, &created, &version, &r.retention, &r.bytes, &r.source, &r.password, &r.tags); err != nil {
			return nil, 0, err
		}
		s.Created, s.Version = time.UnixMilli(created).UTC(), fmt.Sprint(version)
		full, err := c.stream(s, r)
		if err != nil {
			return nil, 0, err
		}
		found[s.ID] = full
	}
	return found, epoch, rows.Err()
}

// put adds or replaces a stream in memory and tells the watches. mu is held.
func (c *Catalogue) put(s *Stream, kind ChangeKind) {
	c.byID[s.ID] = s
	list := c.accounts[s.Account]
	i, ok := slices.BinarySearchFunc(list, s.Name, byName)
	if ok {
		list[i] = s
	} else {
		c.accounts[s.Account] = slices.Insert(list, i, s)
	}
	c.tell(Change{kind, *s})
}

// drop removes a stream from memory and tells the watches. mu is held.
func (c *Catalogue) drop(s *Stream) {
	delete(c.byID, s.ID)
	list := c.accounts[s.Account]
	if i, ok := slices.BinarySearchFunc(list, s.Name, byName); ok && list[i].ID == s.ID {
		c.accounts[s.Account] = slices.Delete(list, i, i+1)
	}
	c.tell(Change{Deleted, *s})
}
