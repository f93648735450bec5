package records

import (
	"sync"

	"penstock/storage"
)

// tail keeps the bodies of a lane's newest commits, up to a number of bytes. Its methods
// may be called at once.
type tail struct {
	mu     sync.RWMutex
	limit  int64
	used   int64
	first  storage.LSN // of bodies[head]
	head   int
	bodies [][]byte // of consecutive commits; before head: nil
}

// add keeps the body of the commit that follows the last one.
func (t *tail) add(lsn storage.LSN, body []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if lsn != t.first+storage.LSN(len(t.bodies)-t.head) {
		t.bodies, t.head, t.first, t.used = t.bodies[:0], 0, lsn, 0
	}
	t.bodies = append(t.bodies, body)
	t.used += int64(len(body))
	for t.used > t.limit && t.head < len(t.bodies) {
		t.used -= int64(len(t.bodies[t.head]))
		t.bodies[t.head] = nil
		t.head++
		t.first++
	}
	if t.head > 64 && t.head > len(t.bodies)/2 {
		n := copy(t.bodies, t.bodies[t.head:])
		clear(t.bodies[n:])
		t.bodies, t.head = t.bodies[:n], 0
	}
}

// get returns the body of a commit; nil: it is not kept.
func (t *tail) get(lsn storage.LSN) []byte {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if i := t.head + int(lsn-t.first); lsn >= t.first && i < len(t.bodies) {
		return t.bodies[i]
	}
	return nil
}
