package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"penstock/internal/fault"
)

// queueLen bounds the writes that wait; past it a caller waits for a place, no longer
// than its context. A thousand cameras that all close a chunk at once fit.
const queueLen = 1024

// maxBatch bounds the writes of one transaction, so that the first of a long queue is
// not kept waiting for the last.
const maxBatch = 256

// The states of a write. Whoever moves it out of waiting owns it.
const (
	writeWaiting int32 = iota
	writeStarted
	writeAbandoned // its caller's context ended first: it will not run
)

type write struct {
	ctx    context.Context
	fn     func(*sql.Tx) error
	state  atomic.Int32
	err    error
	thrown any // what fn panicked with
	done   chan struct{}
}

// Write runs fn in a transaction and returns when it is durable. Writes submitted at
// once share a commit, in order of arrival; each has a savepoint, so an error of one
// undoes that one alone and is returned as it is. fn runs on the writer goroutine: it
// must not call Write, Commit or Rollback, nor wait for anything else, and its statements
// should not take a context that may end meanwhile: SQLite, interrupted in a statement,
// undoes the whole transaction, the others' writes too, which then hear of it. A panic of
// fn is undone and raised again in the caller. On a full disk fn runs a second time, once
// the reserve is given up: what it did to anything but the transaction must bear that.
//
// When ctx ends first Write returns its error at once; fn then either never runs or, if
// it had begun, may still be committed. fault.Unavailable: the store is closed or the
// disk is full.
func (db *DB) Write(ctx context.Context, fn func(tx *sql.Tx) error) error {
	w := &write{ctx: ctx, fn: fn, done: make(chan struct{})}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("write metadata: %w", err)
	}
	select {
	case <-db.stop:
		return db.closed()
	default:
	}
	select {
	case db.queue <- w:
	case <-db.stop:
		return db.closed()
	case <-ctx.Done():
		return fmt.Errorf("write metadata: %w", ctx.Err())
	}
	select {
	case <-w.done:
	case <-db.done: // Close drained the queue; w may have slipped in behind it
		select {
		case <-w.done:
		default:
			return db.closed()
		}
	case <-ctx.Done():
		w.state.CompareAndSwap(writeWaiting, writeAbandoned)
		return fmt.Errorf("write metadata: %w", ctx.Err())
	}
	if w.thrown != nil {
		panic(w.thrown)
	}
	return w.err
}

func (db *DB) closed() error {
	return fault.New(fault.Unavailable, "write metadata", db.cfg.Path, "the store is closed")
}

// run is the writer goroutine.
func (db *DB) run() {
	defer close(db.done)
	batch := make([]*write, 0, maxBatch)
	for {
		select {
		case w := <-db.queue:
			batch = db.commit(append(batch[:0], w))
		case <-db.stop:
			for {
				select {
				case w := <-db.queue:
					batch = db.commit(append(batch[:0], w))
				default:
					return
				}
			}
		}
		clear(batch)
	}
}

// commit runs the first write and all that are or come into the queue meanwhile, up to
// maxBatch, in one transaction, and answers them. It returns batch for reuse.
func (db *DB) commit(batch []*write) []*write {
	began := db.cfg.Clock.Now()
	db.spare.look()
	err := db.transact(&batch)
	if mayBeFull(err) && db.spare.giveUp() {
		for _, w := range batch {
			w.again()
		}
		err = db.transact(&batch)
	}
	db.tell(began, err)
	db.met.observe(db.cfg.Clock.Now().Sub(began), len(batch), err)
	for _, w := range batch {
		if err != nil && w.err == nil {
			w.err = err
		}
		close(w.done)
	}
	return batch
}

// tellEvery is how often failing commits are worth a line in the log.
const tellEvery = 10 * time.Second

// tell logs failing commits; only the writer goroutine calls it.
func (db *DB) tell(now time.Time, err error) {
	if err == nil {
		return
	}
	db.failures++
	if age := now.Sub(db.told); age >= 0 && age < tellEvery {
		return
	}
	db.cfg.Logger.Error("metadata was not written", "failures", db.failures, "err", err)
	db.told, db.failures = now, 0
}

// transact fills batch from the queue while it works. Its error is the whole
// transaction's: none of the writes happened.
func (db *DB) transact(batch *[]*write) error {
	// The caller's context must not reach the transaction: one who gives up would roll
	// back the others' writes.
	tx, err := db.writer.BeginTx(context.Background(), nil)
	if err != nil {
		return classify("begin transaction", db.cfg.Path, err)
	}
	for i := 0; i < len(*batch); i++ {
		if err := db.step(tx, (*batch)[i]); err != nil {
			return errors.Join(classify("write metadata", db.cfg.Path, err), ignoreDone(tx.Rollback()))
		}
		if len(*batch) < maxBatch {
			select {
			case w := <-db.queue:
				*batch = append(*batch, w)
			default:
			}
		}
	}
	if err := tx.Commit(); err != nil {
		return errors.Join(classify("commit metadata", db.cfg.Path, err), ignoreDone(tx.Rollback()))
	}
	return nil
}

// step runs one write under its savepoint. Its error means that the transaction is lost.
func (db *DB) step(tx *sql.Tx, w *write) error {
	if !w.state.CompareAndSwap(writeWaiting, writeStarted) {
		return nil
	}
	if w.err = w.ctx.Err(); w.err != nil {
		return nil
	}
	if _, err := tx.Exec("SAVEPOINT w"); err != nil {
		return err
	}
	w.call(tx)
	if db.spare.held && mayBeFull(w.err) {
		return w.err // all of it again, from the reserve
	}
	if w.err != nil || w.thrown != nil {
		if _, err := tx.Exec("ROLLBACK TO w"); err != nil {
			// A full disk makes SQLite undo the whole transaction by itself; the
			// others then fail for fn's reason.
			return errors.Join(w.err, err)
		}
	}
	_, err := tx.Exec("RELEASE w")
	return err
}

// again readies a write whose transaction was lost to run once more.
func (w *write) again() {
	if w.thrown == nil && w.state.CompareAndSwap(writeStarted, writeWaiting) {
		w.err = nil
	}
}

func (w *write) call(tx *sql.Tx) {
	finished := false
	defer func() {
		if !finished {
			if w.thrown = recover(); w.thrown == nil {
				w.err = fault.New(fault.Internal, "write metadata", "", "the write ended its goroutine")
			}
		}
	}()
	w.err = w.fn(tx)
	finished = true
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// Waiting returns how many writes are queued behind the transaction under way.
func (db *DB) Waiting() int { return len(db.queue) }
