//go:build !linux

package interleaved

import "errors"

// canPoll is false: elsewhere each connection is read by its own goroutine.
const canPoll = false

func readFD(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
func isAgain(error) bool                  { return false }
func (c *Conn) quieten(uintptr)           {}
func (c *Conn) loud(uintptr)              {}
