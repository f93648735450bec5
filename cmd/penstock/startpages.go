package main

import (
	"context"
	"log/slog"
	"time"

	"penstock/internal/host"
)

// startOver is when the pages of the program that only the start needed are given back: a
// third of them. Cameras have been called by then.
const startOver = 10 * time.Second

// giveBackStart is a loop that does so once. release is host.ReleaseProgram.
func giveBackStart(clock host.Clock, release func() (int64, error), log *slog.Logger) func(context.Context) error {
	return func(ctx context.Context) error {
		timer := clock.NewTimer(startOver)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if _, err := release(); err != nil {
			log.Debug("memory of the start stays", "err", err)
		}
		return nil
	}
}
