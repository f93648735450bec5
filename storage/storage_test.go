package storage_test

import (
	"path/filepath"
	"strings"
	"testing"

	"penstock/internal/fault"
	"penstock/storage"
)

func FuzzKey(f *testing.F) {
	for _, seed := range []string{"v/ab12/20260102/1700000000000-7.chk", "", "..", "a/../b", "/a", "a//b", "a\\..\\b", "a.b/c=d_e-f", ".tmp", "a\x00b", strings.Repeat("a/", 20) + "a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		err := storage.CheckKey("fuzz", key)
		if err != nil {
			if !fault.Is(err, fault.Invalid) || len(err.Error()) > 1000 {
				t.Errorf("refused with %v", err)
			}
			return
		}
		path := filepath.Join("/root/bucket", filepath.FromSlash(key))
		if !strings.HasPrefix(path, "/root/bucket/") || path != "/root/bucket/"+key {
			t.Errorf("%q leads to %q", key, path)
		}
		if !filepath.IsLocal(key) || len(key) > storage.MaxKey {
			t.Errorf("%q is not local", key)
		}
		for i := range len(key) {
			if err := storage.CheckPrefix("fuzz", key[:i]); err != nil {
				t.Errorf("the key %q is allowed, its prefix is not: %v", key, err)
			}
		}
	})
}

func TestKeysHaveLimits(t *testing.T) {
	part := strings.Repeat("k", storage.MaxSegment)
	for key, ok := range map[string]bool{
		part: true, part + "k": false,
		strings.Repeat("a/", storage.MaxDepth-1) + "a": true,
		strings.Repeat("a/", storage.MaxDepth) + "a":   false,
		part + "/" + part + "/" + part[:110]:           true,
		part + "/" + part + "/" + part[:111]:           false,
	} {
		if err := storage.CheckKey("test", key); (err == nil) != ok {
			t.Errorf("a key of %d bytes: %v", len(key), err)
		}
	}
}
