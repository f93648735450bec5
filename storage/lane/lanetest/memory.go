package lanetest

import (
	"bytes"
	"context"
	"iter"
	"sync"
	"time"

	"penstock/internal/fault"
	"penstock/storage"
)

// MaxMemoryBody is the largest body that a Memory takes.
const MaxMemoryBody = 64 << 20

// Memory is a Lane that forgets everything when the process ends: for tests of what
// stands on a Lane. The zero value is an empty one.
type Memory struct {
	mu      sync.Mutex
	epoch   uint64
	trimmed storage.LSN // how many are gone
	batches []storage.Batch
}

var _ storage.Lane = (*Memory)(nil)

// Fence makes epoch the only one that may append.
func (m *Memory) Fence(ctx context.Context, epoch uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if epoch < m.epoch {
		return fault.New(fault.Denied, "fence lane", "", "a newer epoch is known")
	}
	m.epoch = epoch
	return nil
}

// Append keeps a copy of the body.
func (m *Memory) Append(ctx context.Context, epoch uint64, wall time.Time, entries int, body [][]byte) (storage.LSN, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	whole := bytes.Join(body, nil)
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case epoch != m.epoch:
		return 0, fault.New(fault.Denied, "append to lane", "", "fenced")
	case len(whole) == 0 || len(whole) > MaxMemoryBody || entries < 0:
		return 0, fault.New(fault.Invalid, "append to lane", "", "no body, or too large")
	}
	b := storage.Batch{
		Epoch: epoch, LSN: m.trimmed + storage.LSN(len(m.batches)) + 1,
		Wall: time.UnixMilli(wall.UnixMilli()).UTC(), Entries: entries, Body: whole,
	}
	m.batches = append(m.batches, b)
	return b.LSN, nil
}

// get returns the batch and where it is: below the first, there, or not yet.
func (m *Memory) get(lsn storage.LSN) (b storage.Batch, expired, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case lsn <= m.trimmed:
		return b, true, false
	case lsn > m.trimmed+storage.LSN(len(m.batches)):
		return b, false, false
	}
	return m.batches[lsn-m.trimmed-1], false, true
}

// Replay yields the batches from number from on.
func (m *Memory) Replay(ctx context.Context, from storage.LSN) iter.Seq2[storage.Batch, error] {
	return func(yield func(storage.Batch, error) bool) {
		for {
			if err := ctx.Err(); err != nil {
				yield(storage.Batch{LSN: from}, err)
				return
			}
			first, _ := m.Bounds()
			from = max(from, first)
			b, expired, ok := m.get(from)
			if expired {
				continue
			}
			if !ok || !yield(b, nil) {
				return
			}
			from++
		}
	}
}

// ReadAt fills p from the body of a batch.
func (m *Memory) ReadAt(ctx context.Context, lsn storage.LSN, off int64, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, expired, ok := m.get(lsn)
	switch {
	case expired:
		return fault.New(fault.Expired, "read batch", "", "trimmed")
	case !ok:
		return fault.New(fault.NotFound, "read batch", "", "not there yet")
	case off < 0 || off+int64(len(p)) > int64(len(b.Body)):
		return fault.New(fault.Invalid, "read batch", "", "outside the body")
	}
	copy(p, b.Body[off:])
	return nil
}

// Trim forgets the batches below before.
func (m *Memory) Trim(ctx context.Context, before storage.LSN) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	for len(m.batches) > 0 && m.batches[0].LSN < before {
		m.batches = m.batches[1:]
		m.trimmed++
	}
	return nil
}

// Bounds returns the first batch that is kept and the number that the next one will get.
func (m *Memory) Bounds() (first, next storage.LSN) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trimmed + 1, m.trimmed + storage.LSN(len(m.batches)) + 1
}
