package datastream

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"penstock/internal/fault"
)

// commitmentLasts is how long a throughput commitment runs at least (KDS
// UpdateAccountSettings).
const commitmentLasts = 24 * time.Hour

// Account is the settings of an account in a region. The zero value is a fresh account's.
type Account struct {
	Committed bool      // the minimum throughput billing commitment is on
	Started   time.Time // zero: never
	Ended     time.Time // zero: it is on, or never was
}

// EarliestEnd is when the commitment may end; zero: it never began.
func (a Account) EarliestEnd() time.Time {
	if a.Started.IsZero() {
		return time.Time{}
	}
	return a.Started.Add(commitmentLasts)
}

const accountPrefix = "account "

// Account is the settings of an account.
func (c *Catalogue) Account(account, region string) Account {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.accounts[account+"/"+region]
}

// Commit switches the throughput commitment of an account on or off. Nothing is billed
// here: it opens what the service opens with it, more consumers and warm throughput.
func (c *Catalogue) Commit(ctx context.Context, account, region string, on bool) (Account, error) {
	c.making.Lock()
	defer c.making.Unlock()
	a, now := c.Account(account, region), c.c.Clock.Now().UTC().Truncate(time.Millisecond)
	if a.Committed == on {
		return a, nil
	}
	if a.Committed = on; on {
		a.Started, a.Ended = now, time.Time{}
	} else {
		a.Ended = now
	}
	doc, err := json.Marshal(a)
	if err != nil {
		return a, err
	}
	key := account + "/" + region
	err = c.c.Meta.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO datastream_state (name, value) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, accountPrefix+key, string(doc))
		return err
	})
	if err != nil {
		return a, fault.Wrap(fault.Unavailable, "set account settings", account, err)
	}
	c.mu.Lock()
	c.accounts[key] = a
	c.mu.Unlock()
	return a, nil
}

func (c *Catalogue) loadAccounts(ctx context.Context, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, `SELECT name, value FROM datastream_state WHERE name LIKE 'account %'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name, doc string
		if err := rows.Scan(&name, &doc); err != nil {
			return err
		}
		var a Account
		if err := json.Unmarshal([]byte(doc), &a); err != nil {
			return err
		}
		c.accounts[strings.TrimPrefix(name, accountPrefix)] = a
	}
	return rows.Err()
}
