package storage

import (
	"context"
	"errors"
	"fmt"
	"io"

	"penstock/internal/fault"
)

// The checks that every Bucket makes before it does anything, so that all refuse the
// same calls in the same words. Implementations call them; users need not.

// CheckPut returns a fault for a Put that cannot succeed, or nil.
func CheckPut(ctx context.Context, op, key string, size int64) error {
	if err := CheckKey(op, key); err != nil {
		return err
	}
	if size < 0 {
		return fault.New(fault.Invalid, op, key, "the size is negative")
	}
	return CheckContext(ctx, op, key)
}

// CheckGet returns a fault for a Get that cannot succeed, or nil.
func CheckGet(ctx context.Context, op, key string, off int64) error {
	if err := CheckKey(op, key); err != nil {
		return err
	}
	if off < 0 {
		return fault.New(fault.Invalid, op, key, "the offset is negative")
	}
	return CheckContext(ctx, op, key)
}

// CheckList returns a fault for a List that cannot succeed, or nil. Any string may be
// the key to start after.
func CheckList(ctx context.Context, op, prefix string) error {
	if err := CheckPrefix(op, prefix); err != nil {
		return err
	}
	return CheckContext(ctx, op, prefix)
}

// CheckDelete returns a fault for a Delete that cannot succeed, or nil. One bad key
// refuses the whole call.
func CheckDelete(ctx context.Context, op string, keys []string) error {
	for _, key := range keys {
		if err := CheckKey(op, key); err != nil {
			return err
		}
	}
	return CheckContext(ctx, op, "")
}

// CheckContext returns a fault that wraps the context's error, or nil.
func CheckContext(ctx context.Context, op, key string) error {
	return fault.Wrap(fault.Unavailable, op, key, ctx.Err())
}

// ShortSource is the error of a Put whose reader gave err before size bytes. It is
// fault.Invalid whatever the cause: no store can help, so trying again there is vain.
func ShortSource(op, key string, err error) error {
	if err == nil { // io.ReaderAt forbids it; storing a part would be worse
		err = io.ErrNoProgress
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Invalid, op, key, "the source ended before its size")
	}
	return fault.Wrap(fault.Invalid, op, key, fmt.Errorf("read the source: %w", err))
}
