//go:build !linux

package host

import "math"

// Space does not know the size of a file system here and reports it as endless.
func (OS) Space(string) (total, free int64, err error) { return math.MaxInt64, math.MaxInt64, nil }

func (f *osFile) Sync() error          { return f.f.Sync() }
func (f *osFile) Allocate(int64) error { return nil }

func (f *osFile) WritevAt(bufs [][]byte, off int64) (int64, error) {
	var total int64
	for _, b := range bufs {
		n, err := f.f.WriteAt(b, off+total)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
