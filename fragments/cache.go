package fragments

import (
	"container/list"
	"sync"
)

// cacheKey names a piece of an object.
type cacheKey struct {
	object string
	off    int64
}

// cache holds the most recently used values, bounded by their bytes. Its methods may be
// called at once.
type cache struct {
	mu    sync.Mutex
	limit int64
	used  int64
	order *list.List // of *cached, newest first
	items map[cacheKey]*list.Element
}

type cached struct {
	key   cacheKey
	value any
	size  int64
}

func newCache(limit int64) *cache {
	return &cache{limit: limit, order: list.New(), items: map[cacheKey]*list.Element{}}
}

func (c *cache) get(key cacheKey) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).value, true
}

// put keeps value, which takes size bytes; what is larger than a quarter of the cache is
// not kept.
func (c *cache) put(key cacheKey, value any, size int64) {
	if size > c.limit/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[key]; ok {
		c.used += size - e.Value.(*cached).size
		e.Value = &cached{key, value, size}
		c.order.MoveToFront(e)
	} else {
		c.items[key] = c.order.PushFront(&cached{key, value, size})
		c.used += size
	}
	for c.used > c.limit {
		e := c.order.Back()
		old := e.Value.(*cached)
		c.order.Remove(e)
		delete(c.items, old.key)
		c.used -= old.size
	}
}
