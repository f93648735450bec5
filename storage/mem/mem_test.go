package mem_test

import (
	"testing"

	"penstock/storage"
	"penstock/storage/mem"
	"penstock/storage/storagetest"
)

func TestBucket(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Bucket { return mem.New(mem.Config{}) })
}
