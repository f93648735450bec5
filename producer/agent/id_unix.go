//go:build unix

package agent

import (
	"io/fs"
	"syscall"
)

// fileID names a file whatever its name is; the system may use it again for another
// once the file is gone.
type fileID struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

func idOf(_ string, info fs.FileInfo) fileID {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fileID{uint64(st.Dev), uint64(st.Ino)} //nolint:unconvert // their types differ between systems
	}
	return fileID{}
}
