package crashfs

import (
	"io/fs"
	"sync"
	"syscall"
	"time"
)

// disk is the state that outlives a view: a tree as the processes see it, the tree as
// it is on the platter, and the steps between the two.
type disk struct {
	mu   sync.Mutex
	cfg  Config
	root *node
	used int64 // bytes that files take, including removed ones still open
	// steps are the unsynced changes to directories, oldest first.
	steps []*step
	open  map[*handle]struct{}
}

// node is a file or a directory.
type node struct {
	dir  bool
	mode fs.FileMode
	mod  time.Time

	// Directories. seen is what processes see, safe what is on the platter.
	seen, safe map[string]*node

	// Where the platter has it; nil: nowhere.
	safeDir  *node
	safeName string

	// Files.
	data    []byte  // as processes see it
	synced  []byte  // as it is on the platter
	pending []*edit // what leads from synced to data, oldest first
	alloc   int64   // bytes reserved
	handles int     // open files
	names   int     // 1 while a directory shows it
}

// step is one unsynced change of directories: node appears as name in dir (node != nil)
// and leaves where it was, or what name holds goes away (node == nil).
type step struct {
	dir  *node
	name string
	node *node
	// Renames only: the name that node had.
	fromDir  *node
	fromName string
}

func newDir() *node {
	return &node{dir: true, mode: fs.ModeDir | 0o755, seen: map[string]*node{}, safe: map[string]*node{}}
}

// walk finds the node of parts.
func (d *disk) walk(parts []string) (*node, error) {
	n := d.root
	for _, p := range parts {
		if !n.dir {
			return nil, syscall.ENOTDIR
		}
		next, ok := n.seen[p]
		if !ok {
			return nil, fs.ErrNotExist
		}
		n = next
	}
	return n, nil
}

// parent finds the directory that holds the last of parts.
func (d *disk) parent(parts []string) (*node, string, error) {
	if len(parts) == 0 {
		return nil, "", fs.ErrInvalid
	}
	n, err := d.walk(parts[:len(parts)-1])
	if err != nil {
		return nil, "", err
	}
	if !n.dir {
		return nil, "", syscall.ENOTDIR
	}
	return n, parts[len(parts)-1], nil
}

// link shows n as name in dir, not yet durably. from and fromName are where n was, when
// it is renamed.
func (d *disk) link(dir *node, name string, n *node, from *node, fromName string) {
	if from != nil {
		delete(from.seen, fromName)
		n.names--
	}
	if old := dir.seen[name]; old != nil {
		old.names--
		d.reclaim(old)
	}
	dir.seen[name] = n
	n.names++
	d.steps = append(d.steps, &step{dir: dir, name: name, node: n, fromDir: from, fromName: fromName})
}

// unlink takes name out of dir, not yet durably.
func (d *disk) unlink(dir *node, name string) {
	n := dir.seen[name]
	delete(dir.seen, name)
	n.names--
	d.steps = append(d.steps, &step{dir: dir, name: name})
	d.reclaim(n)
}

// reclaim gives back the space of a file that nobody can reach any more.
func (d *disk) reclaim(n *node) {
	if !n.dir && n.names == 0 && n.handles == 0 {
		d.used -= n.space()
		n.alloc, n.data, n.pending = 0, nil, nil
	}
}

func (n *node) space() int64 { return max(n.alloc, int64(len(n.data))) }

// fits reports how many of the bytes up to size the disk can hold for n.
func (d *disk) fits(n *node, size int64) int64 {
	have := n.space()
	if size <= have {
		return size
	}
	return min(size, have+max(d.cfg.Capacity-d.used, 0))
}

// change runs fn on n and keeps used right.
func (d *disk) change(n *node, fn func()) {
	before := n.space()
	fn()
	d.used += n.space() - before
}

// closure adds to the chosen steps those that a journal would have written before them:
// what takes a name that an earlier rename set free comes after that rename.
func closure(steps []*step, chosen []bool) {
	for i := len(steps) - 1; i >= 0; i-- {
		if !chosen[i] {
			continue
		}
		for j := range i {
			if steps[j].fromDir == steps[i].dir && steps[j].fromName == steps[i].name {
				chosen[j] = true
			}
		}
	}
}

// apply makes s true on the platter. A node has one name there.
func (s *step) apply() {
	if old := s.dir.safe[s.name]; old != nil {
		old.safeDir = nil
	}
	if s.node == nil {
		delete(s.dir.safe, s.name)
		return
	}
	if s.node.safeDir != nil {
		delete(s.node.safeDir.safe, s.node.safeName)
	}
	s.dir.safe[s.name] = s.node
	s.node.safeDir, s.node.safeName = s.dir, s.name
}

// syncDir makes the entries of dir durable.
func (d *disk) syncDir(dir *node) {
	chosen := make([]bool, len(d.steps))
	for i, s := range d.steps {
		chosen[i] = s.dir == dir
	}
	closure(d.steps, chosen)
	placed := map[*node]bool{}
	for i := len(d.steps) - 1; i >= 0; i-- {
		s := d.steps[i]
		switch {
		case chosen[i]:
			placed[s.node] = true
		case placed[s.node] && s.node != nil:
			// A later step, durable now, moved the node on: this one only leaves its
			// name empty.
			s.node, s.fromDir = nil, nil
		}
	}
	rest := d.steps[:0]
	for i, s := range d.steps {
		if chosen[i] {
			s.apply()
		} else {
			rest = append(rest, s)
		}
	}
	clear(d.steps[len(rest):])
	d.steps = rest
}

// dropHandles closes what a killed process had open.
func (d *disk) dropHandles() {
	for h := range d.open {
		d.release(h)
	}
}

// release closes h.
func (d *disk) release(h *handle) {
	if _, ok := d.open[h]; ok {
		delete(d.open, h)
		h.n.handles--
		d.reclaim(h.n)
	}
}
