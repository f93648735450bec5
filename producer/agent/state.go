package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"penstock/internal/host"
)

// stateVersion is that of the checkpoint file.
const stateVersion = 1

// stateMax bounds a checkpoint file: a mark takes some 200 bytes.
const stateMax = 64 << 20

// state is a flow's checkpoint file.
type state struct {
	Version int    `json:"version"`
	Flow    string `json:"flow"`
	Files   []mark `json:"files"`
}

// loadState reads a checkpoint; fs.ErrNotExist: the flow has not run before.
func loadState(sys host.FS, name string) (state, error) {
	var s state
	f, err := sys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return s, err
	}
	size, err := f.Size()
	if err == nil && size > stateMax {
		err = fmt.Errorf("larger than %d bytes", stateMax)
	}
	text := make([]byte, max(0, min(size, stateMax)))
	if err == nil {
		if _, err = f.ReadAt(text, 0); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return s, fmt.Errorf("read checkpoint %s: %w", name, err)
	}
	if err := json.Unmarshal(text, &s); err != nil || s.Version != stateVersion {
		if err == nil {
			err = fmt.Errorf("version %d is not %d", s.Version, stateVersion)
		}
		return s, fmt.Errorf("read checkpoint %s: %w; move it away to read the files from their beginning", name, err)
	}
	return s, nil
}

// save makes the checkpoint durable: whole, or as it was.
func (s state) save(sys host.FS, name string) error {
	text, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	part := name + ".part"
	f, err := sys.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fs.FileMode(0o600))
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	_, err = f.WriteAt(text, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = sys.Rename(part, name)
	}
	if err == nil {
		err = sys.SyncDir(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("write checkpoint %s: %w", name, err)
	}
	return nil
}
