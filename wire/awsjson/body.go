package awsjson

import (
	"errors"
	"io"
	"math/bits"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Buffers come in powers of two between these, each size with a pool of its own; what
// is larger is left to the garbage collector.
const (
	bufferMin = 10 // 1 KiB
	bufferMax = 25 // 32 MiB
)

// pools lends buffers.
type pools struct {
	sizes [bufferMax - bufferMin + 1]sync.Pool
}

// get returns an empty buffer with room for n bytes.
func (p *pools) get(n int) []byte {
	class := max(bits.Len(uint(max(n, 1)-1)), bufferMin)
	if class > bufferMax {
		return make([]byte, 0, n)
	}
	if b, ok := p.sizes[class-bufferMin].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// put takes back a buffer of get, or one that grew out of it.
func (p *pools) put(b []byte) {
	class := bits.Len(uint(cap(b))) - 1
	if class < bufferMin || class > bufferMax {
		return
	}
	b = b[:0]
	p.sizes[class-bufferMin].Put(&b)
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

// readBody reads r's body into a buffer of the pools. Memory follows what has arrived,
// not what the header promises, beyond the first 64 KiB.
func (s *Server) readBody(r *http.Request) ([]byte, error) {
	if r.ContentLength > s.config.MaxBody {
		return nil, errTooLarge
	}
	first := 1 << 10
	if r.ContentLength > 0 {
		first = int(min(r.ContentLength+1, 64<<10)) // one more, to read the end without growing
	}
	b := s.pools.get(first)
	if !s.budget.take(cap(b)) {
		s.pools.put(b)
		return nil, errBudget
	}
	for {
		if len(b) == cap(b) {
			bigger := s.pools.get(s.nextSize(r, cap(b)))
			if !s.budget.take(cap(bigger)) {
				s.pools.put(bigger)
				s.release(b)
				return nil, errBudget
			}
			bigger = append(bigger, b...)
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

func (s *Server) release(b []byte) {
	s.budget.give(cap(b))
	s.pools.put(b)
}
