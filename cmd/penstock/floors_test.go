package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestFloorsStopFromTheTop(t *testing.T) {
	var (
		mu    sync.Mutex
		ended []string
	)
	until := func(name string) loop {
		return loop{name, func(ctx context.Context) error {
			<-ctx.Done()
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, name)
			return nil
		}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runFloors(ctx, []floor{{until("store")}, {until("hub")}, {until("web")}}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"web", "hub", "store"}; !slices.Equal(ended, want) {
		t.Errorf("ended as %v, want %v", ended, want)
	}
}

func TestALoopThatFailsEndsTheServerAndIsNamed(t *testing.T) {
	cause := errors.New("fdatasync: input/output error")
	err := runFloors(t.Context(), []floor{
		{{"store", func(ctx context.Context) error { <-ctx.Done(); return nil }}},
		{{"done at once", func(context.Context) error { return nil }}, {"lane", func(context.Context) error { return cause }}},
	})
	if !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), "lane: ") {
		t.Errorf("got %v", err)
	}
}
