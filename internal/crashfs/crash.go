package crashfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// afterCrash returns the disk as it may look after a power cut. d is left as it is.
func (d *disk) afterCrash(rng *rand.Rand) *disk {
	c := &cloner{rng: rng, of: map[*node]*node{}}
	after := &disk{cfg: d.cfg, root: c.clone(d.root), open: map[*handle]struct{}{}}
	chosen := c.choose(d.steps)
	for i, s := range d.steps {
		if chosen[i] {
			(&step{dir: c.clone(s.dir), name: s.name, node: c.clone(s.node)}).apply()
		}
	}
	after.settle(after.root)
	return after
}

// choose picks which unsynced steps survived.
func (c *cloner) choose(steps []*step) []bool {
	chosen := make([]bool, len(steps))
	mode, until := c.rng.IntN(4), c.rng.IntN(len(steps)+1)
	for i := range steps {
		switch mode {
		case 0: // none
		case 1:
			chosen[i] = true
		case 2: // up to a point, as one journal does
			chosen[i] = i < until
		default:
			chosen[i] = c.rng.IntN(2) == 0
		}
	}
	closure(steps, chosen)
	return chosen
}

// cloner copies the platter's tree.
type cloner struct {
	rng *rand.Rand
	of  map[*node]*node
}

// clone copies n and what the platter shows below it; files get the content that
// survived. Children are visited by name, so that one seed gives one result.
func (c *cloner) clone(n *node) *node {
	if n == nil {
		return nil
	}
	if have := c.of[n]; have != nil {
		return have
	}
	copied := &node{dir: n.dir, mode: n.mode, mod: n.mod}
	c.of[n] = copied
	if !n.dir {
		copied.synced = n.survive(c.rng)
		return copied
	}
	copied.safe = map[string]*node{}
	for _, name := range slices.Sorted(maps.Keys(n.safe)) {
		child := c.clone(n.safe[name])
		copied.safe[name] = child
		child.safeDir, child.safeName = copied, name
	}
	return copied
}

// settle shows processes what the platter holds.
func (d *disk) settle(n *node) {
	if !n.dir {
		n.data = slices.Clone(n.synced)
		d.used += n.space()
		return
	}
	n.seen = maps.Clone(n.safe)
	for _, child := range n.safe {
		child.names = 1
		d.settle(child)
	}
}

// survive returns what a power cut leaves of a file: a size the file had, or one between
// two, and for each page, or each sector of a torn page, one of the contents it had
// since the last Sync. What was never written back reads as zeros.
func (n *node) survive(rng *rand.Rand) []byte {
	count := len(n.pending)
	if count == 0 {
		return slices.Clone(n.synced)
	}
	mode := rng.IntN(4)
	at := pick(rng, count)
	switch mode {
	case 0:
		at = 0
	case 1:
		at = count
	}
	out := make([]byte, n.surviveSize(rng, at, mode))
	copy(out, n.synced)
	for base := int64(0); base < int64(len(out)); base += PageSize {
		page := out[base:min(base+PageSize, int64(len(out)))]
		if !n.dirty(base) {
			continue
		}
		version, torn := at, false
		if mode == 3 {
			version, torn = pick(rng, count), rng.IntN(3) == 0
		}
		for s := 0; s < len(page); s += SectorSize {
			if torn {
				version = pick(rng, count)
			}
			n.replay(page[s:min(s+SectorSize, len(page))], base+int64(s), version)
		}
	}
	return out
}

// surviveSize returns the size after the first at edits or, when mode allows, one at a
// sector's border between that and the size before.
func (n *node) surviveSize(rng *rand.Rand, at, mode int) int64 {
	size := int64(len(n.synced))
	before := size
	for _, e := range n.pending[:at] {
		before, size = size, e.end(size)
	}
	if mode >= 2 && size > before+SectorSize && rng.IntN(2) == 0 {
		sectors := (size - before) / SectorSize
		return (before + SectorSize*(1+rng.Int64N(sectors))) / SectorSize * SectorSize
	}
	return size
}

// dirty reports whether an unsynced edit touches the page at base.
func (n *node) dirty(base int64) bool {
	for _, e := range n.pending {
		if e.data == nil && e.size < base+PageSize || e.data != nil && e.off < base+PageSize && e.off+int64(len(e.data)) > base {
			return true
		}
	}
	return false
}

// replay fills sector, which begins at base in the file, with version edits over what
// was synced.
func (n *node) replay(sector []byte, base int64, version int) {
	clear(sector)
	if base < int64(len(n.synced)) {
		copy(sector, n.synced[base:])
	}
	for _, e := range n.pending[:version] {
		e.apply(sector, base)
	}
}
