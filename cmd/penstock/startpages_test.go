package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"penstock/internal/host"
)

func TestMemoryOfTheStartIsGivenBackOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, calls := time.Now(), 0
		loop := giveBackStart(host.System{}, func() (int64, error) {
			calls++
			return 0, errors.New("a kernel that cannot")
		}, slog.New(slog.DiscardHandler))
		if err := loop(t.Context()); err != nil || calls != 1 || time.Since(began) != startOver {
			t.Errorf("%v, %d calls after %v", err, calls, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := loop(ctx); err != nil || calls != 1 {
			t.Errorf("stopped before: %v, %d calls", err, calls)
		}
	})
}
