package host

import (
	"errors"
	"io"
	"math"

	"golang.org/x/sys/unix"
)

// maxIovecs is the kernel's UIO_MAXIOV: more buffers in one call are refused.
const maxIovecs = 1024

// Space asks statfs; free is what an unprivileged process may still use.
func (OS) Space(name string) (total, free int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(name, &st); err != nil {
		return 0, 0, err
	}
	return clamp(st.Blocks, int64(st.Bsize)), clamp(st.Bavail, int64(st.Bsize)), nil
}

func clamp(blocks uint64, size int64) int64 {
	if size > 0 && blocks > uint64(math.MaxInt64/size) {
		return math.MaxInt64
	}
	return int64(blocks) * size
}

func (f *osFile) Sync() error {
	return f.control(func(fd int) error { return unix.Fdatasync(fd) })
}

func (f *osFile) Allocate(size int64) error {
	err := f.control(func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

func (f *osFile) WritevAt(bufs [][]byte, off int64) (int64, error) {
	var total int64
	for len(bufs) > 0 {
		batch := bufs[:min(len(bufs), maxIovecs)]
		want := int64(0)
		for _, b := range batch {
			want += int64(len(b))
		}
		n, err := f.pwritev(batch, off)
		total, off = total+n, off+n
		if err != nil {
			return total, err
		}
		if n < want {
			rest, err := f.writeRest(batch, n, off)
			total, off = total+rest, off+rest
			if err != nil {
				return total, err
			}
		}
		bufs = bufs[len(batch):]
	}
	return total, nil
}

// writeRest finishes a short vectored write buffer by buffer.
func (f *osFile) writeRest(bufs [][]byte, done, off int64) (int64, error) {
	var total int64
	for _, b := range bufs {
		if done >= int64(len(b)) {
			done -= int64(len(b))
			continue
		}
		n, err := f.f.WriteAt(b[done:], off+total)
		total += int64(n)
		if err != nil {
			return total, err
		}
		done = 0
	}
	return total, nil
}

func (f *osFile) pwritev(bufs [][]byte, off int64) (int64, error) {
	var n int
	err := f.control(func(fd int) error {
		var err error
		n, err = unix.Pwritev(fd, bufs, off)
		if err == nil && n == 0 {
			return io.ErrShortWrite
		}
		return err
	})
	return int64(max(n, 0)), err
}

// control runs fn on the descriptor, again after EINTR.
func (f *osFile) control(fn func(fd int) error) error {
	rc, err := f.f.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	err = rc.Control(func(fd uintptr) {
		for {
			ferr = fn(int(fd))
			if !errors.Is(ferr, unix.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, ferr)
}
