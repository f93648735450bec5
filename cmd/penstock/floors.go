package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// loop is one long-running part of the server.
type loop struct {
	name string
	run  func(context.Context) error
}

// floor is a set of loops that start and stop together.
type floor []loop

// runFloors runs the loops of all floors until ctx ends or one of them fails, then
// stops them from the top down, so that a store outlives everything that writes to it.
func runFloors(ctx context.Context, floors []floor) error {
	first, failed := context.WithCancelCause(ctx)
	defer failed(nil)
	type running struct {
		cancel context.CancelFunc
		wait   *sync.WaitGroup
	}
	var (
		up   []running
		mu   sync.Mutex
		errs []error
	)
	for _, f := range floors {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := running{cancel, &sync.WaitGroup{}}
		for _, l := range f {
			r.wait.Go(func() {
				err := l.run(own)
				if own.Err() == nil && err == nil {
					return // it had nothing more to do
				}
				if err != nil && !errors.Is(err, context.Canceled) {
					mu.Lock()
					errs = append(errs, fmt.Errorf("%s: %w", l.name, err))
					mu.Unlock()
					failed(err)
				}
			})
		}
		up = append(up, r)
	}
	<-first.Done()
	for i := len(up) - 1; i >= 0; i-- {
		up[i].cancel()
		up[i].wait.Wait()
	}
	return errors.Join(errs...)
}
