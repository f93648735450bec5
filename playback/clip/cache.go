package clip

import (
	"container/list"
	"sync"
)

// cache keeps laid out movies within a bound of bytes: players ask for a clip's ranges
// one by one. The one unused longest goes first.
type cache struct {
	mu    sync.Mutex
	limit int64
	size  int64
	order *list.List // of *entry, newest used first
	names map[string]*list.Element
}

type entry struct {
	name string
	m    *movie
}

func newCache(limit int64) *cache {
	return &cache{limit: limit, order: list.New(), names: map[string]*list.Element{}}
}

func (c *cache) get(name string) *movie {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.names[name]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*entry).m
}

func (c *cache) put(name string, m *movie) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names[name] != nil || m.weight() > c.limit {
		return
	}
	c.names[name] = c.order.PushFront(&entry{name, m})
	c.size += m.weight()
	for c.size > c.limit {
		old := c.order.Remove(c.order.Back()).(*entry)
		delete(c.names, old.name)
		c.size -= old.m.weight()
	}
}
