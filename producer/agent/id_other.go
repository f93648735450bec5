//go:build !unix

package agent

import (
	"hash/fnv"
	"io/fs"
)

// fileID names a file: where the system tells no number, by its path. A file that was
// renamed is then found by what is in it alone.
type fileID struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
}

func idOf(name string, _ fs.FileInfo) fileID {
	h := fnv.New64a()
	h.Write([]byte(name))
	return fileID{Inode: h.Sum64()}
}
