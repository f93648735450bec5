package still

import (
	"container/list"
	"sync"
)

// cache keeps finished pictures, the newest used longest, within a bound of bytes. The
// same picture may be there under two names; it counts twice.
type cache struct {
	mu    sync.Mutex
	limit int64
	size  int64
	order *list.List // of *entry, newest used first
	names map[string]*list.Element
}

type entry struct {
	name string
	pic  *picture
}

func newCache(limit int64) *cache {
	return &cache{limit: limit, order: list.New(), names: map[string]*list.Element{}}
}

func (c *cache) get(name string) *picture {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.names[name]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*entry).pic
}

func (c *cache) put(name string, p *picture) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.names[name]; e != nil {
		c.drop(e)
	}
	if weight(p) > c.limit/2 {
		return
	}
	c.names[name] = c.order.PushFront(&entry{name, p})
	c.size += weight(p)
	for c.size > c.limit {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	old := c.order.Remove(e).(*entry)
	delete(c.names, old.name)
	c.size -= weight(old.pic)
}

// weight counts what a picture costs: its bytes and its place in the cache.
func weight(p *picture) int64 { return int64(len(p.jpeg)) + 256 }
