package crashfs

import "math/rand/v2"

// Kind is a set of kinds of operations that change the disk or make a change durable;
// reads are not counted and not disturbed. Combine with |.
type Kind uint16

// The kinds.
const (
	Create   Kind = 1 << iota // OpenFile that makes a file
	Write                     // WriteAt, WritevAt
	Truncate                  // Truncate, and OpenFile with os.O_TRUNC
	Allocate                  // Allocate
	Sync                      // File.Sync
	Rename
	Remove
	Mkdir // one per directory made
	SyncDir
	Any Kind = 1<<iota - 1
)

// String names a single kind.
func (k Kind) String() string {
	switch k {
	case Create:
		return "create"
	case Write:
		return "write"
	case Truncate:
		return "truncate"
	case Allocate:
		return "allocate"
	case Sync:
		return "sync"
	case Rename:
		return "rename"
	case Remove:
		return "remove"
	case Mkdir:
		return "mkdir"
	case SyncDir:
		return "syncdir"
	}
	return "several"
}

// Op is one operation, as a hook sees it before it happens.
type Op struct {
	N    int64 // 1 for the first of this view
	Kind Kind
	Name string // as the caller spelled it when opening; Rename: the old name
	To   string // Rename: the new name
	Off  int64  // Write: where; Truncate, Allocate: the size
	Len  int64  // Write: bytes
}

type rule struct {
	kinds Kind
	skip  int // matching operations still to let pass
	left  int // then so many fail; < 0: all
	err   error
}

type stall struct {
	kinds    Kind
	released chan struct{}
}

// CrashAt cuts the power during operation n (1 is the first from the view's beginning): it
// takes effect as an unsynced operation, its caller gets ErrCrashed, and so does every
// later one. n at or below Ops() cuts at the next operation; 0 switches it off.
func (f *FS) CrashAt(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n > 0 {
		n = max(n, f.ops+1)
	}
	f.cutAt = n
}

// Ops returns how many counted operations have begun.
func (f *FS) Ops() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// Hook has fn called before each operation, on its caller's goroutine; it may block, and
// an error makes the operation fail as Fail does. nil removes it.
func (f *FS) Hook(fn func(Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = fn
}

// Fail makes operations of the kinds fail with err: the nth from now (1 is the next)
// and count of them in all, count < 0 for ever. A failing write has written its first half;
// a failing Sync leaves the unsynced data in doubt for good; others do nothing.
func (f *FS) Fail(kinds Kind, nth, count int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{kinds: kinds, skip: nth - 1, left: count, err: err})
}

// Heal removes every Fail.
func (f *FS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Stall makes operations of the kinds wait until release is called or the power goes.
// Reads go on. release may be called more than once.
func (f *FS) Stall(kinds Kind) (release func()) {
	s := &stall{kinds: kinds, released: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalls = append(f.stalls, s)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i, have := range f.stalls {
			if have == s {
				f.stalls = append(f.stalls[:i:i], f.stalls[i+1:]...)
				close(s.released)
			}
		}
	}
}

// SetCapacity changes how many bytes of file data the disk holds; below what it holds
// already, nothing more fits. It applies to every view of the disk.
func (f *FS) SetCapacity(bytes int64) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.cfg.Capacity = bytes
}

// verdict is what is to become of an operation.
type verdict struct {
	fail error // do what a failing operation of the kind does, return this
	cut  bool  // it is the one during which the power goes
}

// result is what the operation's caller hears when it itself came to err.
func (v verdict) result(f *FS, err error) error {
	if v.cut {
		f.cut()
		return ErrCrashed
	}
	return err
}

// begin counts an operation, holds it where a stall says so and decides its fate. An
// error means that it must not begin at all.
func (f *FS) begin(op Op) (verdict, error) {
	if f.Crashed() {
		return verdict{}, ErrCrashed
	}
	f.mu.Lock()
	f.ops++
	op.N = f.ops
	v := verdict{cut: f.cutAt == op.N}
	for _, r := range f.rules {
		if r.kinds&op.Kind == 0 || r.left == 0 {
			continue
		}
		if r.skip > 0 {
			r.skip--
			continue
		}
		if r.left > 0 {
			r.left--
		}
		if v.fail == nil {
			v.fail = r.err
		}
	}
	hook := f.hook
	f.mu.Unlock()
	if hook != nil {
		if err := hook(op); err != nil && v.fail == nil {
			v.fail = err
		}
	}
	if err := f.wait(op.Kind); err != nil {
		return verdict{}, err
	}
	if f.Crashed() && !v.cut {
		return verdict{}, ErrCrashed
	}
	return v, nil
}

// wait holds an operation while any stall covers its kind.
func (f *FS) wait(kind Kind) error {
	for {
		f.mu.Lock()
		var in *stall
		for _, s := range f.stalls {
			if s.kinds&kind != 0 {
				in = s
				break
			}
		}
		f.mu.Unlock()
		if in == nil {
			return nil
		}
		select {
		case <-in.released:
		case <-f.gone:
			return ErrCrashed
		}
	}
}

// pick returns one of 0..n, seldom the middle: the extremes find most bugs.
func pick(rng *rand.Rand, n int) int {
	switch rng.IntN(4) {
	case 0:
		return 0
	case 1:
		return n
	}
	return rng.IntN(n + 1)
}
