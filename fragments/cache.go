package fragments

import "penstock/internal/bytecache"

// cacheKey names a piece of an object.
type cacheKey struct {
	object string
	off    int64
}

// cache holds records and index sections that were read lately.
type cache = bytecache.Cache[cacheKey, any]

func newCache(limit int64) *cache { return bytecache.New[cacheKey, any](limit) }
