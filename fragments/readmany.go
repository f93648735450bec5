package fragments

import (
	"context"
	"io"
	"slices"
	"sync"

	"penstock/internal/fault"
)

// How many chunks are read at once by ReadIndexes, and how many fragments of a remote one.
const (
	chunksAtOnce = 4
	tablesAtOnce = 16
)

// ReadIndexes is ReadIndex for many fragments, in rising order: the index is asked once
// and each chunk opened once. What is damaged, expired or unknown is nil in the answer;
// any other error is returned.
func (l *Log) ReadIndexes(ctx context.Context, numbers []Number) ([]*Fragment, error) {
	if len(numbers) == 0 {
		return nil, nil
	}
	places, err := l.locateAll(ctx, numbers)
	if err != nil {
		return nil, err
	}
	out := make([]*Fragment, len(numbers))
	var groups [][]int // of places in one chunk
	for i, p := range places {
		switch {
		case p.f != nil:
			out[i] = p.f.index()
		case p.metaLen == 0: // nowhere
		case len(groups) > 0 && l.together(places[groups[len(groups)-1][0]], p):
			groups[len(groups)-1] = append(groups[len(groups)-1], i)
		default:
			groups = append(groups, []int{i})
		}
	}
	err = each(len(groups), chunksAtOnce, func(i int) error { return l.readTables(ctx, places, groups[i], out) })
	return out, err
}

// together reports whether two fragments can be read through one open file.
func (l *Log) together(a, b place) bool { return a.chunk == b.chunk && a.id == b.id }

// each calls fn for 0 to n-1, some at once, and returns one of the errors.
func each(n, atOnce int, fn func(int) error) error {
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for range min(n, atOnce) {
		wg.Go(func() {
			for i := range next {
				if err := fn(i); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// readTables reads the sample tables of fragments of one chunk.
func (l *Log) readTables(ctx context.Context, places []place, group []int, out []*Fragment) error {
	var (
		src    io.ReaderAt
		opened error
		atOnce = 1
	)
	if c := places[group[0]].chunk; c != nil {
		src = c.file
		defer c.releaseMany(len(group))
	} else {
		var done func()
		if src, done, opened = l.s.source(ctx, l.id, places[group[0]].id); opened == nil {
			defer done()
		}
		if l.s.files == nil {
			atOnce = tablesAtOnce
		}
	}
	return each(len(group), atOnce, func(k int) error {
		p := places[group[k]]
		b := make([]byte, recordLen+int(p.metaLen))
		err := opened
		if err == nil {
			err = readFull(src, b, p.off)
		}
		if err = l.readFault(p, err); err == nil {
			var meta []byte
			if meta, _, err = l.checkMeta(p, b); err == nil {
				out[group[k]], err = l.parse(p, meta)
			}
		}
		if fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Expired) || fault.Is(err, fault.NotFound) {
			return nil
		}
		return err
	})
}

// locateAll finds fragments by their rising numbers; those that are nowhere, or that
// retention took, are zero. Chunks in the answer are held, once for each fragment.
func (l *Log) locateAll(ctx context.Context, numbers []Number) ([]place, error) {
	if err := l.load(ctx); err != nil {
		return nil, err
	}
	places := make([]place, len(numbers))
	// Memory first: what moves from there into a row meanwhile is then found.
	l.placeLive(places, numbers, l.look(0))
	first, last := numbers[0], numbers[len(numbers)-1]
	rows, v, err := l.rowsOf(ctx, first, last, true)
	if err != nil {
		for _, p := range places {
			if p.chunk != nil {
				p.chunk.release()
			}
		}
		return nil, err
	}
	var entries []entry
	for _, r := range rows {
		from, _ := slices.BinarySearch(numbers, r.first)
		if from == len(numbers) || r.last <= int64(numbers[from]) {
			continue
		}
		if entries, err = r.unpack(entries); err != nil {
			l.s.cfg.Logger.Error("part of the index cannot be read", "stream", l.id, "object", r.key(l.id), "err", err)
			continue
		}
		for k := range entries {
			e := &entries[k]
			if i, ok := slices.BinarySearch(numbers, e.Number); ok && places[i].Number == 0 && v.head(&e.Head) {
				places[i] = place{entry: *e, id: r.chunkID}
			}
		}
	}
	return places, nil
}

// placeLive finds those of numbers that no row lists yet.
func (l *Log) placeLive(places []place, numbers []Number, v sight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	put := func(p place) bool {
		i, ok := slices.BinarySearch(numbers, p.Number)
		if !ok || !v.head(&p.Head) || places[i].Number != 0 {
			return false
		}
		places[i] = p
		return true
	}
	for _, c := range l.chunks {
		for i := range c.entries {
			if put(place{entry: c.entries[i], chunk: c, id: c.id}) {
				c.hold()
			}
		}
	}
	for _, p := range l.unwritten() {
		put(place{entry: entry{Head: p.f.Head}, f: p.f})
	}
}

// rowsOf lists the chunks that may hold fragments from first to last, and says what is
// shown of them. lenient: an hour that cannot be read hides only itself.
func (l *Log) rowsOf(ctx context.Context, first, last Number, lenient bool) (rows []chunkRow, v sight, err error) {
	err = again(func() error {
		v = l.look(0)
		w, err := l.window(ctx, first, int64(last)+1, v)
		if err == nil {
			rows, err = l.rowsIn(ctx, w, first, last, lenient)
		}
		return err
	})
	return rows, v, err
}

// rowsIn lists the chunks of a window.
func (l *Log) rowsIn(ctx context.Context, w window, first, last Number, lenient bool) ([]chunkRow, error) {
	rows := make([]chunkRow, 0, len(w.chunks))
	for _, c := range w.chunks {
		rows = append(rows, c.chunkRow)
	}
	for _, ix := range w.index {
		for _, p := range ix.parts {
			if p.first > last || p.last <= int64(first) {
				continue
			}
			more, err := l.s.section(ctx, ix, p)
			if lenient && (fault.Is(err, fault.NotFound) || fault.Is(err, fault.Unavailable)) {
				continue // Select tells
			}
			if err != nil {
				return nil, err
			}
			rows = append(rows, more...)
		}
	}
	err := w.kept.each(ctx, last+1, func(r chunkRow) error {
		rows = append(rows, r)
		return nil
	})
	return rows, err
}
