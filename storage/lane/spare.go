package lane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"penstock/internal/host"
)

const (
	// fillStep is how much of a spare is written and synced at a time: little enough
	// that a commit beside it is not held up for long.
	fillStep  = 1 << 20
	zeroBlock = 128 << 10
	// maxSpares is how many trimmed files wait to be used again. One is in use, one fills.
	maxSpares = 2
)

// spare is a file that will become a log file.
type spare struct {
	name string
	h    host.File
	size int64 // written, or reserved, up to here
}

// spares makes the next file while the one before it fills, and keeps trimmed files.
type spares struct {
	cfg *Config

	mu     sync.Mutex
	ready  []spare // trimmed files
	fill   *fill   // the one that is being made
	number int     // of the next spare's name
	closed bool
	// wg counts the goroutine that fills.
	wg sync.WaitGroup
}

// fill is a spare that a goroutine writes with zeros.
type fill struct {
	goal chan int64 // how far it should be by now; the newest counts
	stop context.CancelFunc
	done chan struct{} // closed at the end; then the fields below can be read
	spare
	err error
}

func (s *spares) init(cfg *Config) { s.cfg = cfg }

// sizeAfter is the size of the file after one of size bytes.
func (s *spares) sizeAfter(size int64) int64 {
	return min(s.cfg.FileSize, max(firstFileSize, 2*size))
}

// prepare keeps the next file filling in step with the current one, of which used of
// size bytes are: it is ready when that one is four fifths full.
func (s *spares) prepare(size, used int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.sizeAfter(size)
	if s.closed || len(s.ready) > 0 && s.ready[0].size >= min(next, s.cfg.FileSize) {
		return
	}
	if s.fill == nil {
		ctx, stop := context.WithCancel(context.Background())
		fl := &fill{goal: make(chan int64, 1), stop: stop, done: make(chan struct{})}
		fl.name, fl.size = s.name(), next
		s.fill = fl
		s.wg.Go(func() {
			defer close(fl.done)
			fl.err = fl.run(ctx, s.cfg)
		})
	}
	goal := min(next, int64(1.25*float64(next)*float64(used)/float64(size)))
	select {
	case <-s.fill.goal: // an older one, not yet seen
	default:
	}
	s.fill.goal <- goal
}

// name returns a name that no file has. s.mu is held.
func (s *spares) name() string {
	s.number++
	return fmt.Sprintf("%d%s", s.number, spareSuffix)
}

// run makes the file and fills it as far as the goals say, until all is or ctx ends.
func (fl *fill) run(ctx context.Context, cfg *Config) error {
	h, err := makeSpare(cfg, fl.name, fl.size)
	if err != nil {
		return err
	}
	fl.h = h
	var off, goal int64
	for off < fl.size {
		if goal <= off {
			select {
			case goal = <-fl.goal:
			case <-ctx.Done():
				return nil // what is not filled is reserved
			}
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		n := min(fillStep, fl.size-off)
		if err := zero(h, off, n); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// makeSpare makes a file with size bytes reserved.
func makeSpare(cfg *Config, name string, size int64) (host.File, error) {
	path := filepath.Join(cfg.Dir, name)
	h, err := cfg.FS.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := h.Allocate(size); err != nil {
		return nil, errors.Join(err, h.Close(), cfg.FS.Remove(path))
	}
	return h, nil
}

// zero writes zeros and syncs them.
func zero(h host.File, off, n int64) error {
	block := make([]byte, min(n, zeroBlock))
	var bufs [][]byte
	for left := n; left > 0; left -= int64(len(block)) {
		bufs = append(bufs, block[:min(left, int64(len(block)))])
	}
	if _, err := h.WritevAt(bufs, off); err != nil {
		return err
	}
	return h.Sync()
}

// take returns a file that has room for span bytes, to come after one of size bytes.
func (s *spares) take(size, span int64) (spare, error) {
	s.mu.Lock()
	for len(s.ready) > 0 {
		sp := s.ready[0]
		s.ready = s.ready[1:]
		if sp.size >= span {
			s.mu.Unlock()
			return sp, nil
		}
		s.remove(sp)
	}
	fl := s.fill
	s.fill = nil
	name := s.name()
	s.mu.Unlock()
	if fl != nil {
		fl.stop()
		<-fl.done
		if fl.err == nil && fl.h != nil && fl.size >= span {
			return fl.spare, nil
		}
		s.remove(fl.spare)
	}
	sp := spare{name: name, size: max(s.sizeAfter(size), span)}
	if size == 0 {
		sp.size = max(min(firstFileSize, s.cfg.FileSize), span)
	}
	h, err := makeSpare(s.cfg, name, sp.size)
	if less := max(min(firstFileSize, s.cfg.FileSize), span); isFull(err) && less < sp.size {
		sp.size = less // a small one may fit
		h, err = makeSpare(s.cfg, name, sp.size)
	}
	if err != nil {
		return spare{}, err
	}
	sp.h = h
	if err := zero(h, 0, min(sp.size, max(firstFileSize, span))); err != nil {
		s.remove(sp)
		return spare{}, err
	}
	return sp, nil
}

// remove closes a spare and removes it; what stays is removed at the next start.
func (s *spares) remove(sp spare) {
	if sp.h == nil {
		return
	}
	if err := errors.Join(sp.h.Close(), s.cfg.FS.Remove(filepath.Join(s.cfg.Dir, sp.name))); err != nil {
		s.cfg.Logger.Warn("remove a spare lane file", "file", sp.name, "err", err)
	}
}

// recycle keeps a trimmed file for later and reports whether it does.
func (s *spares) recycle(file *file) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.ready) >= maxSpares || file.size < s.cfg.FileSize {
		return false
	}
	sp := spare{name: s.name(), h: file.h, size: file.size}
	if err := s.cfg.FS.Rename(filepath.Join(s.cfg.Dir, file.name), filepath.Join(s.cfg.Dir, sp.name)); err != nil {
		return false
	}
	s.ready = append(s.ready, sp)
	return true
}

// close ends the filling and removes the spares.
func (s *spares) close() {
	s.mu.Lock()
	s.closed = true
	fl, ready := s.fill, s.ready
	s.fill, s.ready = nil, nil
	s.mu.Unlock()
	if fl != nil {
		fl.stop()
		<-fl.done
		s.remove(fl.spare)
	}
	for _, sp := range ready {
		s.remove(sp)
	}
	s.wg.Wait()
}
