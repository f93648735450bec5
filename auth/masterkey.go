package auth

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
)

// Where LoadMasterKey looks, in this order.
const (
	MasterKeyEnv        = "PENSTOCK_MASTER_KEY" // base64 or hex of 32 bytes
	MasterKeyCredential = "penstock-master-key" // file name in systemd's $CREDENTIALS_DIRECTORY
	MasterKeyFile       = "master.key"          // in the data directory, made on the first run
)

// masterKeyFileMax bounds what is read from a key file: base64 of 32 bytes is 44.
const masterKeyFileMax = 256

// MasterKey is the 32-byte key under which secrets are sealed at rest. The zero
// value is no key, which Open refuses. It prints as ***.
type MasterKey struct{ key Secret }

// NewMasterKey takes 32 raw bytes.
func NewMasterKey(raw []byte) (MasterKey, error) {
	if len(raw) != 32 {
		return MasterKey{}, fault.New(fault.Invalid, "read master key", "",
			fmt.Sprintf("it has %d bytes and needs 32; make one with `openssl rand -base64 32`", len(raw)))
	}
	return MasterKey{newSecret(string(raw))}, nil
}

// MasterKeyConfig says where LoadMasterKey may look. Dir is required.
type MasterKeyConfig struct {
	Dir    string              // the data directory
	FS     host.FS             // host.OS
	Getenv func(string) string // os.Getenv
	Rand   io.Reader           // crypto/rand
	Clock  host.Clock          // host.System
}

// LoadMasterKey returns the key from the environment, else from systemd's
// credentials, else from the data directory, where it makes one (mode 0600) when there
// is none. A file that others may read is refused. Two processes that start at once
// end up with one key.
func LoadMasterKey(c MasterKeyConfig) (MasterKey, error) {
	c.FS = cmp.Or[host.FS](c.FS, host.OS{})
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	if v := c.Getenv(MasterKeyEnv); v != "" {
		k, err := parseMasterKey(v)
		return k, fault.Wrap(fault.Invalid, "read", MasterKeyEnv, err)
	}
	if dir := c.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		text, err := readSmall(c.FS, path.Join(dir, MasterKeyCredential))
		if err == nil {
			k, err := parseMasterKey(text)
			return k, fault.Wrap(fault.Invalid, "read systemd credential", MasterKeyCredential, err)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return MasterKey{}, fault.Wrap(fault.Unavailable, "read systemd credential", MasterKeyCredential, err)
		}
	}
	return loadKeyFile(c)
}

func loadKeyFile(c MasterKeyConfig) (MasterKey, error) {
	name := path.Join(c.Dir, MasterKeyFile)
	made, err := makeKeyFile(c, name)
	if err != nil || made.set() {
		return made, err
	}
	st, err := c.FS.Stat(name)
	if err != nil {
		return MasterKey{}, fault.Wrap(fault.Unavailable, "read master key", name, err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return MasterKey{}, fault.New(fault.Invalid, "read master key", name,
			fmt.Sprintf("mode %04o lets others read it; run `chmod 600 %s`", st.Mode().Perm(), name))
	}
	text, err := readSmall(c.FS, name)
	for try := 0; err == nil && text == "" && try < 20; try++ { // another process is writing it
		<-c.Clock.NewTimer(50 * time.Millisecond).C
		text, err = readSmall(c.FS, name)
	}
	if err != nil {
		return MasterKey{}, fault.Wrap(fault.Unavailable, "read master key", name, err)
	}
	if text == "" {
		// A crash between create and write: nothing was ever sealed with it.
		return writeKeyFile(c, name, os.O_RDWR)
	}
	k, err := parseMasterKey(text)
	return k, fault.Wrap(fault.Invalid, "read master key", name, err)
}

// makeKeyFile returns the zero key when the file is there already.
func makeKeyFile(c MasterKeyConfig, name string) (MasterKey, error) {
	if err := c.FS.MkdirAll(c.Dir, 0o700); err != nil {
		return MasterKey{}, fault.Wrap(fault.Unavailable, "make data directory", c.Dir, err)
	}
	k, err := writeKeyFile(c, name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if errors.Is(err, fs.ErrExist) {
		return MasterKey{}, nil
	}
	return k, err
}

func writeKeyFile(c MasterKeyConfig, name string, flag int) (MasterKey, error) {
	f, err := c.FS.OpenFile(name, flag, 0o600)
	if err != nil {
		return MasterKey{}, fault.Wrap(fault.Unavailable, "make master key", name, err)
	}
	raw := make([]byte, 32)
	if _, err = io.ReadFull(c.Rand, raw); err == nil {
		_, err = f.WriteAt([]byte(base64.StdEncoding.EncodeToString(raw)+"\n"), 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = c.FS.SyncDir(c.Dir)
	}
	if err != nil {
		return MasterKey{}, fault.Wrap(fault.Unavailable, "make master key", name, err)
	}
	return NewMasterKey(raw)
}

func parseMasterKey(text string) (MasterKey, error) {
	text = strings.TrimSpace(text)
	if raw, err := hex.DecodeString(text); err == nil && len(raw) == 32 {
		return NewMasterKey(raw)
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if raw, err := enc.DecodeString(text); err == nil && len(raw) == 32 {
			return NewMasterKey(raw)
		}
	}
	return MasterKey{}, errors.New("want base64 or hex of 32 bytes; make one with `openssl rand -base64 32`")
}

func readSmall(fsys host.FS, name string) (string, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	buf := make([]byte, masterKeyFileMax)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return string(bytes.TrimSpace(buf[:n])), nil
}

// String returns "***", or "" for no key.
func (k MasterKey) String() string { return k.key.String() }

func (k MasterKey) set() bool { return !k.key.Empty() }
