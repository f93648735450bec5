//go:build !linux

package interleaved

import (
	"errors"
	"time"
)

// canPoll is false: elsewhere each connection is read by its own goroutine.
const canPoll = false

type readiness struct{}

func (readiness) remove(int) {}

func readFD(int, []byte) (int, error)                              { return 0, errors.ErrUnsupported }
func isAgain(error) bool                                           { return false }
func closeFD(int) error                                            { return errors.ErrUnsupported }
func (p *Poller) begin() error                                     { return nil }
func (p *Poller) end()                                             {}
func (p *Poller) adopt(*Conn) error                                { return errors.ErrUnsupported }
func (p *Poller) round(hot []*Conn, _ []byte, _ time.Time) []*Conn { return hot }
func (p *Poller) write(*socket, []byte, int64) (int, error)        { return 0, errors.ErrUnsupported }
