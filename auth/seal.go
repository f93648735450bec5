package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"penstock/internal/fault"
	"penstock/internal/secret"
)

func newSecret(s string) Secret { return secret.New(s) }

// Purposes of the keys derived from the master key (RFC 5869, info field). Each key
// does one thing, so that a weakness of one use does not reach another.
const (
	purposeSeal  = "penstock seal v1"
	purposeMedia = "penstock media token v1"
	purposeCSRF  = "penstock csrf v1"
)

// sealVersion begins each sealed secret: version, 4 bytes naming the key, 12 bytes
// nonce, ciphertext and tag.
const (
	sealVersion  = 1
	sealOverhead = 1 + 4 + 12 + 16
)

type keyring struct {
	aead  cipher.AEAD
	id    [4]byte // names the sealing key, so that a wrong master key is told from damage
	media []byte
	csrf  []byte
	rand  io.Reader
}

func newKeyring(k MasterKey, random io.Reader) (*keyring, error) {
	if !k.set() {
		return nil, fault.New(fault.Invalid, "open auth", "", "no master key")
	}
	derive := func(purpose string) ([]byte, error) {
		return hkdf.Key(sha256.New, []byte(k.key.Reveal()), nil, purpose, 32)
	}
	r := &keyring{rand: random}
	seal, err := derive(purposeSeal)
	if err != nil {
		return nil, err
	}
	if r.media, err = derive(purposeMedia); err != nil {
		return nil, err
	}
	if r.csrf, err = derive(purposeCSRF); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(seal)
	if err != nil {
		return nil, err
	}
	if r.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("penstock key id"), seal...))
	copy(r.id[:], sum[:])
	return r, nil
}

func (r *keyring) seal(context string, plain []byte) ([]byte, error) {
	out := make([]byte, 17, sealOverhead+len(plain))
	out[0] = sealVersion
	copy(out[1:5], r.id[:])
	if _, err := io.ReadFull(r.rand, out[5:17]); err != nil {
		return nil, err
	}
	return r.aead.Seal(out, out[5:17], plain, []byte(context)), nil
}

func (r *keyring) unseal(context string, sealed []byte) ([]byte, error) {
	if len(sealed) < sealOverhead || sealed[0] != sealVersion {
		return nil, errors.New("not a sealed secret")
	}
	if !hmac.Equal(sealed[1:5], r.id[:]) {
		return nil, fmt.Errorf("it was sealed under another master key; start with the key it was made with (%s or %s)", MasterKeyEnv, MasterKeyFile)
	}
	plain, err := r.aead.Open(nil, sealed[5:17], sealed[17:], []byte(context))
	if err != nil {
		return nil, errors.New("damaged, or moved from another place")
	}
	return plain, nil
}

func (r *keyring) sealText(context, plain string) (string, error) {
	b, err := r.seal(context, []byte(plain))
	return base64.StdEncoding.EncodeToString(b), err
}

func (r *keyring) unsealText(context, sealed string) (Secret, error) {
	b, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return Secret{}, errors.New("not a sealed secret")
	}
	plain, err := r.unseal(context, b)
	return newSecret(string(plain)), err
}

// Seal encrypts plain with AES-256-GCM under the master key, bound to context: only
// Unseal with the same context opens it. It may be called at once.
func (a *Authority) Seal(context string, plain []byte) ([]byte, error) {
	b, err := a.ring.seal(context, plain)
	return b, fault.Wrap(fault.Internal, "seal", context, err)
}

// Unseal opens what Seal made.
func (a *Authority) Unseal(context string, sealed []byte) ([]byte, error) {
	b, err := a.ring.unseal(context, sealed)
	return b, fault.Wrap(fault.Internal, "unseal", context, err)
}
