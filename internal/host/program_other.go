//go:build !linux

package host

// ReleaseProgram does nothing here.
func ReleaseProgram() (int64, error) { return 0, nil }
