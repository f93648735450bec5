package producer

import (
	"errors"
	"slices"
)

// shard is an open shard and its part of the key space, both ends in it.
type shard struct {
	id       string
	from, to hash
}

func (s shard) holds(h hash) bool { return s.from.compare(h) <= 0 && h.compare(s.to) <= 0 }

// shardMap is the open shards of a stream, by key. It does not change.
type shardMap struct{ list []shard }

// newShardMap checks that list covers the whole key space, with nothing twice.
func newShardMap(list []shard) (*shardMap, error) {
	slices.SortFunc(list, func(a, b shard) int { return a.from.compare(b.from) })
	var next hash
	over := false
	for _, s := range list {
		if over || s.from != next || s.to.compare(s.from) < 0 {
			return nil, errors.New("the open shards do not cover the key space")
		}
		next, over = s.to.next()
	}
	if !over {
		return nil, errors.New("the stream's shards are not all open yet")
	}
	return &shardMap{list}, nil
}

// next is h+1; over: h is the last.
func (h hash) next() (n hash, over bool) {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i]++; h[i] != 0 {
			return h, false
		}
	}
	return h, true
}

// of returns the shard that holds h.
func (m *shardMap) of(h hash) shard {
	i, exact := slices.BinarySearchFunc(m.list, h, func(s shard, h hash) int { return s.from.compare(h) })
	if !exact {
		i--
	}
	return m.list[i]
}

// at is of, for the beginning of a shard.
func (m *shardMap) at(from hash) shard { return m.of(from) }

func (m *shardMap) byID(id string) (shard, bool) {
	i := slices.IndexFunc(m.list, func(s shard) bool { return s.id == id })
	if i < 0 {
		return shard{}, false
	}
	return m.list[i], true
}
