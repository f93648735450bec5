// Package bytecache keeps the most recently used values within a bound of bytes.
//
// What a value weighs is told by whoever puts it; how to make one again, and how not to
// make the same one twice at once, is the caller's.
package bytecache

import (
	"container/list"
	"sync"
)

// Cache holds values under keys; the one unused longest goes first. Make one with New.
// Its methods may be called at once.
type Cache[K comparable, V any] struct {
	mu    sync.Mutex
	limit int64
	used  int64
	order *list.List // of *held[K, V], newest used first
	items map[K]*list.Element
}

type held[K comparable, V any] struct {
	key   K
	value V
	size  int64
}

// New returns an empty cache for limit bytes.
func New[K comparable, V any](limit int64) *Cache[K, V] {
	return &Cache[K, V]{limit: limit, order: list.New(), items: map[K]*list.Element{}}
}

// Get returns the value under key and notes that it was used.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*held[K, V]).value, true
}

// Put keeps value, which weighs size bytes, in place of what was under key. A value
// that weighs more than half of the limit is not kept: it would cost all the others.
func (c *Cache[K, V]) Put(key K, value V, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[key]; ok {
		c.drop(e)
	}
	if size > c.limit/2 {
		return
	}
	c.items[key] = c.order.PushFront(&held[K, V]{key, value, size})
	c.used += size
	for c.used > c.limit {
		c.drop(c.order.Back())
	}
}

func (c *Cache[K, V]) drop(e *list.Element) {
	old := c.order.Remove(e).(*held[K, V])
	delete(c.items, old.key)
	c.used -= old.size
}

// Size returns how many values there are and what they weigh together.
func (c *Cache[K, V]) Size() (values int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.items), c.used
}
