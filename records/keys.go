package records

import (
	"context"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"penstock/internal/fault"
)

// keyring keeps what the KeySource gave.
type keyring struct {
	src   KeySource
	rand  io.Reader
	count atomic.Uint64 // nonces made since the start

	mu      sync.Mutex
	byName  map[string]cipher.AEAD
	current map[string]*named // by stream
}

// named is a key with its name.
type named struct {
	id   string
	aead cipher.AEAD
}

func newKeyring(c Config) *keyring {
	return &keyring{src: c.Keys, rand: c.Rand, byName: map[string]cipher.AEAD{}, current: map[string]*named{}}
}

// of returns the key for what is put into a stream now.
func (k *keyring) of(ctx context.Context, stream string) (*named, error) {
	k.mu.Lock()
	n := k.current[stream]
	k.mu.Unlock()
	if n != nil {
		return n, nil
	}
	if k.src == nil {
		return nil, noKeys(stream)
	}
	id, aead, err := k.src.Current(ctx, stream)
	if err != nil {
		return nil, err
	}
	if id == "" || len(id) > 200 {
		return nil, fault.New(fault.Internal, "find key", stream, fmt.Sprintf("its name has %d bytes", len(id)))
	}
	n = &named{id, aead}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current[stream], k.byName[id] = n, aead
	return n, nil
}

// forget makes the next of ask the source again.
func (k *keyring) forget(stream string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.current, stream)
}

// named returns the key of this name.
func (k *keyring) named(ctx context.Context, id string) (cipher.AEAD, error) {
	k.mu.Lock()
	a := k.byName[id]
	k.mu.Unlock()
	if a != nil {
		return a, nil
	}
	if k.src == nil {
		return nil, noKeys(id)
	}
	a, err := k.src.Key(ctx, id)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byName[id] = a
	return a, nil
}

func noKeys(of string) error {
	return fault.New(fault.Unavailable, "find key", of, "this server has no encryption keys").
		WithHint("start the server with the key that the records were encrypted with")
}

// nonce fills n so that no key sees one twice: it is random where it is long, and where
// it is short it counts, from the number of this start on (NIST SP 800-38D §8.2.1).
func (k *keyring) nonce(n []byte, epoch uint64) error {
	if len(n) >= 24 {
		_, err := io.ReadFull(k.rand, n)
		return err
	}
	if len(n) < 12 {
		return fault.New(fault.Internal, "encrypt records", "", fmt.Sprintf("nonces of %d bytes are too short", len(n)))
	}
	binary.BigEndian.PutUint32(n, uint32(epoch))
	binary.BigEndian.PutUint64(n[len(n)-8:], k.count.Add(1))
	return nil
}

// seal makes the payload of an encrypted entry: the key's name, the nonce, and what the
// cipher makes of the rows, bound to the stream and the entry's place in it.
func (k *keyring) seal(n *named, epoch uint64, bind, rows []byte) ([]byte, error) {
	size := n.aead.NonceSize()
	out := make([]byte, 0, 1+len(n.id)+size+len(rows)+n.aead.Overhead())
	out = append(out, byte(len(n.id)))
	out = append(out, n.id...)
	out = out[:len(out)+size]
	nonce := out[len(out)-size:]
	if err := k.nonce(nonce, epoch); err != nil {
		return nil, err
	}
	return n.aead.Seal(out, nonce, rows, bind), nil
}

// open returns the rows of an encrypted entry.
func (k *keyring) open(ctx context.Context, bind, payload []byte) ([]byte, error) {
	if len(payload) < 1 || len(payload) < 1+int(payload[0]) {
		return nil, flaw("an encrypted entry is cut short")
	}
	id, rest := string(payload[1:1+payload[0]]), payload[1+payload[0]:]
	aead, err := k.named(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(rest) < aead.NonceSize() {
		return nil, flaw("an encrypted entry is cut short")
	}
	rows, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], bind)
	if err != nil {
		return nil, flaw("an encrypted entry does not open with its key")
	}
	return rows, nil
}

// binding is what an encrypted entry's rows are bound to: its place.
func (h *header) binding(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst[:0], uint32(h.shard))
	dst = binary.LittleEndian.AppendUint32(dst, h.count)
	dst = binary.LittleEndian.AppendUint64(dst, h.first)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.arrival))
	return append(dst, h.id...)
}
