package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"penstock/internal/guard"
)

// calls is the one dialler for addresses that people typed: it refuses loopback,
// link-local and metadata addresses unless the operator allowed them.
type calls struct{ guard atomic.Pointer[guard.Guard] }

// outgoing makes the dialler that the settings allow.
func outgoing(c config) (*calls, error) {
	g, err := allowing(c)
	if err != nil {
		return nil, err
	}
	o := &calls{}
	o.guard.Store(g)
	return o, nil
}

func allowing(c config) (*guard.Guard, error) {
	var allow []netip.Prefix
	for _, cidr := range c.Allow {
		p, err := netip.ParsePrefix(cidr)
		if err != nil {
			return nil, err
		}
		allow = append(allow, p)
	}
	return guard.New(guard.Config{Allow: allow})
}

// Dial is a host.Dial, by the rules that hold now.
func (o *calls) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return o.guard.Load().Dial(ctx, network, address)
}

// reloader changes, in a running server, the settings that can be changed there.
type reloader struct {
	read  func() (config, error) // file, environment and flags, checked
	held  config                 // what holds now
	level *slog.LevelVar
	calls *calls
	log   *slog.Logger
}

// reload reads the settings again. What is wrong changes nothing.
func (r *reloader) reload() {
	fresh, err := r.read()
	if err != nil {
		r.log.Error("settings were read again and are wrong: those from before go on", "err", err)
		return
	}
	g, err := allowing(fresh)
	if err != nil {
		r.log.Error("settings were read again and are wrong: those from before go on", "err", err)
		return
	}
	changed := differences(r.held, fresh)
	r.calls.guard.Store(g)
	r.level.Set(levelOf(fresh))
	r.held.Allow, r.held.LogLevel = fresh.Allow, fresh.LogLevel
	if late := differences(r.held, fresh); len(late) > 0 {
		r.log.Warn("settings were read again; some wait for a restart", "changed", strings.Join(changed, " "), "restart_for", strings.Join(late, " "))
		return
	}
	if changed == nil {
		changed = []string{"nothing"}
	}
	r.log.Info("settings were read again", "changed", strings.Join(changed, " "))
}

// differences names the settings, or sections of them, that are not the same.
func differences(a, b config) (names []string) {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		if !reflect.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			name, _, _ := strings.Cut(va.Type().Field(i).Tag.Get("yaml"), ",")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// run reloads at each signal until ctx ends. The signal comes as well when the terminal
// closes that the server was started in: then hungUp is called.
func (r *reloader) run(ctx context.Context, hup <-chan os.Signal, atTerminal func() bool, hungUp func()) {
	began := atTerminal()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if began && !atTerminal() {
				hungUp()
				return
			}
			r.reload()
		}
	}
}
