//go:build !linux

package doctor

import (
	"errors"
	"runtime"
	"time"
)

// System is the machine itself, of which little is known outside of Linux.
type System struct{}

var errUnknown = errors.New("only Linux tells")

// Kernel names the system.
func (System) Kernel() string { return runtime.GOOS }

// FileSystem does not know.
func (System) FileSystem(string) (string, error) { return "", errUnknown }

// OpenFiles does not know.
func (System) OpenFiles() (uint64, error) { return 0, errUnknown }

// Memory does not know.
func (System) Memory() (total, limit int64, err error) { return 0, 0, errUnknown }

// Synced does not know.
func (System) Synced() (bool, time.Duration, error) { return false, 0, errUnknown }
