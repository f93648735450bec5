package awsjson

import (
	"errors"
	"io"
	"math/bits"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Buffers come in powers of two between these and in one and a half of each, each size with
// a pool of its own; what is larger is left to the garbage collector. 500 records of 1 KiB
// are 0.7 MB as JSON and 0.5 MB decoded: in powers of two alone both would take 1 MiB.
const (
	bufferMin = 10 // 1 KiB
	bufferMax = 25 // 32 MiB
)

// pools lends buffers.
type pools struct {
	sizes [2*(bufferMax-bufferMin) + 1]sync.Pool
}

// sizeOf is what the buffers of a class hold.
func sizeOf(class int) int {
	if class%2 == 0 {
		return 1 << (bufferMin + class/2)
	}
	return 3 << (bufferMin + class/2 - 1)
}

// classOf is the class of the largest buffers that fit into n bytes; -1: none does.
func classOf(n int) int {
	k := bits.Len(uint(n)) - 1
	if k < bufferMin {
		return -1
	}
	class := 2 * (k - bufferMin)
	if n >= 3<<(k-1) {
		class++
	}
	return class
}

// get returns an empty buffer with room for n bytes.
func (p *pools) get(n int) []byte {
	class := classOf(max(n, 1)-1) + 1 // the smallest that n fits into
	if class >= len(p.sizes) {
		return make([]byte, 0, n)
	}
	if b, ok := p.sizes[class].Get().(*byte); ok {
		return unsafe.Slice(b, sizeOf(class))[:0]
	}
	return make([]byte, 0, sizeOf(class))
}

// roomOf is the capacity of what get returns for n bytes.
func roomOf(n int) int {
	if class := classOf(max(n, 1)-1) + 1; class <= 2*(bufferMax-bufferMin) {
		return sizeOf(class)
	}
	return n
}

// put takes back a buffer of get, or one that grew out of it. The pools hold a buffer by
// its first byte, whose class says the rest: a slice would be allocated anew each time.
func (p *pools) put(b []byte) {
	class := classOf(cap(b))
	if class < 0 || class >= len(p.sizes) {
		return
	}
	p.sizes[class].Put(unsafe.SliceData(b))
}

var (
	errTooLarge = errors.New("the body is larger than is taken")
	errBudget   = errors.New("too many bytes of bodies are held at once")
)

// budget counts the bytes of all bodies held at once.
type budget struct {
	held atomic.Int64
	most int64
}

func (b *budget) take(n int) bool {
	if b.held.Add(int64(n)) > b.most {
		b.held.Add(int64(-n))
		return false
	}
	return true
}

func (b *budget) give(n int) { b.held.Add(int64(-n)) }

// How long a whole body may take to come, and an answer that does not fit into the
// socket's buffers to leave: 16 MiB at 2 Mbit/s.
const (
	bodyWait     = 64 * time.Second
	answerWait   = bodyWait
	answerAtOnce = 64 << 10
)

// answerCounted is the longest answer whose length net/http writes by itself over HTTP/1,
// without what it costs to say it in a header: what fits into its buffer when the handler
// returns.
const answerCounted = 2048

// What bodies may hold whose signers nobody has asked about: one, and all together. Past
// that a key that exists must be named, so that strangers cannot take the whole budget.
const (
	strangerMost  = 64 << 10
	strangersMost = 64 << 20
)

// strangerError is why more of a body is not kept.
type strangerError struct{ error }

// room takes n bytes of the budget for the body.
func (x *exchange) room(n int) error {
	if !x.vouched && (n > strangerMost || x.r.ContentLength > strangerMost || x.budget.held.Load()+int64(n) > strangersMost) {
		proved, err := x.vouch()
		if err != nil {
			return &strangerError{err}
		}
		if !proved && !x.enter() {
			return errBudget
		}
		x.vouched = true
	}
	if !x.budget.take(n) {
		return errBudget
	}
	return nil
}

// enter takes room for the whole body, with what growing to it takes, among those that are
// not proved.
func (x *exchange) enter() (ok bool) {
	n := x.r.ContentLength
	if n < 0 {
		n = x.config.MaxBody
	}
	x.leave, ok = x.lobby.Enter(x.r.Context(), x.r.RemoteAddr, n+n/8, func() bool {
		proved, err := x.vouch()
		return err == nil && proved
	})
	return ok
}

// readBody reads the body into a buffer of the pools. Memory follows what has arrived,
// not what the header promises, beyond the first 64 KiB.
func (x *exchange) readBody() ([]byte, error) {
	s, r := x.Server, x.r
	if r.ContentLength > s.config.MaxBody {
		return nil, errTooLarge
	}
	first := 1 << 10
	if r.ContentLength > 0 {
		first = int(min(r.ContentLength+1, strangerMost)) // one more, to read the end without growing
	}
	if err := x.room(roomOf(first)); err != nil {
		return nil, err // without a buffer: it may have waited
	}
	b := s.pools.get(first)
	for {
		if len(b) == cap(b) {
			next := s.nextSize(r, cap(b))
			if err := x.room(roomOf(next)); err != nil {
				s.release(b)
				return nil, err
			}
			bigger := append(s.pools.get(next), b...)
			s.release(b)
			b = bigger
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case int64(len(b)) > s.config.MaxBody:
			s.release(b)
			return nil, errTooLarge
		case err == io.EOF:
			return b, nil
		case err != nil:
			s.release(b)
			return nil, err
		}
	}
}

// nextSize is the room for a body that has filled have bytes: all of it once an eighth
// has come, else twice as much.
func (s *Server) nextSize(r *http.Request, have int) int {
	if r.ContentLength > 0 && int64(have)*8 >= r.ContentLength {
		return max(int(r.ContentLength)+1, have+1)
	}
	return have * 2
}

// drainMost is how many bodies of the largest size are read of one that is not kept.
const drainMost = 4

// drain reads what is left of a body that is not kept, for clients that read an answer
// only when all is sent. One who waits to be told to send it need not.
func (x *exchange) drain() {
	if x.r.Header.Get("Expect") != "" {
		return
	}
	if n, err := io.CopyN(io.Discard, x.r.Body, drainMost*x.config.MaxBody); err == nil && n == drainMost*x.config.MaxBody {
		x.w.Header().Set("Connection", "close")
	}
}

func (s *Server) release(b []byte) {
	s.budget.give(cap(b))
	s.pools.put(b)
}
