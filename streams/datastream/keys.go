package datastream

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"database/sql"
	"encoding/base64"
	"errors"
	"io"
	"sync"

	"penstock/internal/fault"
)

// keyCache holds the opened keys of encrypted streams, by Info.ID.
type keyCache struct {
	mu    sync.Mutex
	aeads map[string]cipher.AEAD
}

func keyContext(id string) string { return "data stream key " + id }

// Current is the name and the cipher of new records of a stream (records.KeySource). A
// stream has one key, made when encryption was first started.
func (c *Catalogue) Current(_ context.Context, id string) (keyID string, aead cipher.AEAD, err error) {
	aead, err = c.aead(id)
	return id, aead, err
}

// Key is the cipher that Current named keyID (records.KeySource).
func (c *Catalogue) Key(_ context.Context, keyID string) (cipher.AEAD, error) { return c.aead(keyID) }

func (c *Catalogue) aead(id string) (cipher.AEAD, error) {
	c.keys.mu.Lock()
	defer c.keys.mu.Unlock()
	if a := c.keys.aeads[id]; a != nil {
		return a, nil
	}
	s, err := c.ByID(id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	sealed := s.sealedKey
	s.mu.Unlock()
	if sealed == nil {
		return nil, fault.New(fault.NotFound, "find key of data stream", s.name, "it never was encrypted")
	}
	key, err := c.c.Sealer.Unseal(keyContext(id), sealed)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "open key of data stream", s.name, err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "open key of data stream", s.name, err)
	}
	if c.keys.aeads == nil {
		c.keys.aeads = map[string]cipher.AEAD{}
	}
	c.keys.aeads[id] = a
	return a, nil
}

// Secret returns 32 bytes that stay the same for a name, also after a restart: for
// iterators and tokens. They are sealed at rest.
func (c *Catalogue) Secret(ctx context.Context, name string) ([]byte, error) {
	where := "secret " + name
	var text string
	err := c.c.Meta.Read().QueryRowContext(ctx, `SELECT value FROM datastream_state WHERE name = ?`, where).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		key := make([]byte, 32)
		if _, err := io.ReadFull(c.c.Rand, key); err != nil {
			return nil, fault.Wrap(fault.Internal, "make", where, err)
		}
		sealed, err := c.c.Sealer.Seal("data streams "+where, key)
		if err != nil {
			return nil, err
		}
		err = c.c.Meta.Write(ctx, func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO datastream_state (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`, where, base64.StdEncoding.EncodeToString(sealed))
			return err
		})
		if err != nil {
			return nil, fault.Wrap(fault.Unavailable, "keep", where, err)
		}
		return c.Secret(ctx, name) // whoever was first
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "read", where, err)
	}
	sealed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "read", where, err)
	}
	return c.c.Sealer.Unseal("data streams "+where, sealed)
}
