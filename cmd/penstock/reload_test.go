package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"penstock/internal/fault"
	"penstock/internal/secret"
)

// lines is a log that can be waited for.
type lines struct {
	mu   sync.Mutex
	b    bytes.Buffer
	come chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() {
		select {
		case l.come <- struct{}{}:
		default:
		}
	}()
	return l.b.Write(p)
}

func (l *lines) take() string {
	<-l.come
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}

func TestReloadChangesWhatItCan(t *testing.T) {
	c := defaults()
	next, wrong := c, error(nil)
	log := &lines{come: make(chan struct{}, 1)}
	level := &slog.LevelVar{}
	level.Set(levelOf(c))
	out, err := outgoing(c)
	if err != nil {
		t.Fatal(err)
	}
	r := &reloader{read: func() (config, error) { return next, wrong }, held: c, level: level, calls: out, log: slog.New(slog.NewTextHandler(log, nil))}
	hup := make(chan os.Signal)
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { r.run(ctx, hup, func() bool { return false }, func() { t.Error("it hung up") }) })
	defer done.Wait()
	defer stop()
	again := func(words string) {
		t.Helper()
		hup <- syscall.SIGHUP
		if got := log.take(); !strings.Contains(got, words) {
			t.Errorf("it says %s, want %s", got, words)
		}
	}
	// Port 1 of this machine: refused by the guard, or by nobody listening.
	denied := func() bool { _, err := out.Dial(ctx, "tcp", "127.0.0.1:1"); return fault.Is(err, fault.Denied) }

	again(`"settings were read again" changed=nothing`)
	if !denied() {
		t.Error("loopback may be called")
	}
	next.Allow, next.LogLevel = []string{"127.0.0.0/8"}, "debug"
	again(`changed="allow_addresses log_level"`)
	if denied() || level.Level() != slog.LevelDebug {
		t.Errorf("loopback is denied: %v, level %v", denied(), level.Level())
	}
	next.S3.SecretKey = secretText{secret.New("very-secret")}
	next.Allow, next.HTTP = nil, "127.0.0.1:9"
	again(`changed="allow_addresses http s3" restart_for="http s3"`)
	if !denied() {
		t.Error("loopback may still be called")
	}
	next.Allow, wrong = []string{"127.0.0.0/8"}, errors.New("line 7: no such setting")
	again("line 7: no such setting")
	if !denied() {
		t.Error("wrong settings were taken")
	}
}

func TestAServerEndsWithItsTerminal(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after bool
		ends          bool
	}{
		{"no terminal", false, false, false}, {"the terminal is there", true, true, false}, {"the terminal is gone", true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := outgoing(defaults())
			if err != nil {
				t.Fatal(err)
			}
			log := &lines{come: make(chan struct{}, 1)}
			r := &reloader{read: func() (config, error) { return defaults(), nil }, held: defaults(), level: &slog.LevelVar{}, calls: out, log: slog.New(slog.NewTextHandler(log, nil))}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			hup, asked, ended := make(chan os.Signal, 1), 0, false
			hup <- syscall.SIGHUP
			done := make(chan struct{})
			go func() {
				r.run(ctx, hup, func() bool { asked++; return asked == 1 && c.before || asked > 1 && c.after }, func() { ended = true; stop() })
				close(done)
			}()
			if !c.ends {
				log.take()
				stop()
			}
			<-done
			if ended != c.ends {
				t.Errorf("ended %v, want %v", ended, c.ends)
			}
		})
	}
}
