package lobby_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/lobby"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func never() bool { return false }

func TestRoomIsBoundedByAddressAndInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lobby.New(lobby.Config{Total: 100, PerAddress: 50})
		for _, c := range []struct {
			remote string
			n      int64
			ok     bool
		}{
			{"192.0.2.1:1", 30, true},
			{"192.0.2.1:2", 20, true},
			{"192.0.2.1:3", 1, false},
			{"[::ffff:192.0.2.1]:4", 1, false}, // the same, mapped
			{"[2001:db8::1]:1", 40, true},
			{"[2001:db8::ffff]:1", 20, false}, // of the same /64
			{"198.51.100.1:1", 500, false},    // counts as 50
			{"198.51.100.1:1", 10, true},
			{"203.0.113.1:1", 1, false},
		} {
			begin := time.Now()
			_, ok := l.Enter(t.Context(), c.remote, c.n, never)
			if waited := time.Since(begin); ok != c.ok || ok && waited > 0 || !ok && waited != lobby.Patience {
				t.Errorf("%d bytes of %s: %v after %v", c.n, c.remote, ok, waited)
			}
		}
		if l.Inside() != 100 {
			t.Errorf("%d bytes inside", l.Inside())
		}
	})
}

func TestWhoWaitsGetsInWhenThereIsRoomOrProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lobby.New(lobby.Config{Total: 100, PerAddress: 100})
		first, _ := l.Enter(t.Context(), "192.0.2.1:1", 100, never)
		var in, proved atomic.Int32
		for i := range 6 {
			go func() {
				leave, ok := l.Enter(t.Context(), fmt.Sprintf("192.0.2.%d:1", i), 40, func() bool { return proved.Load() > 0 })
				if !ok {
					t.Error("no room in time")
					return
				}
				in.Add(1)
				time.Sleep(time.Second)
				leave()
				leave() // once
			}()
		}
		synctest.Wait()
		if in.Load() != 0 {
			t.Error("in without room")
		}
		first()
		synctest.Wait()
		if in.Load() != 2 || l.Inside() != 80 {
			t.Errorf("%d in, with %d bytes", in.Load(), l.Inside())
		}
		proved.Store(1)
		time.Sleep(1500 * time.Millisecond) // the first two leave, all others are proved
		if in.Load() != 6 || l.Inside() != 0 {
			t.Errorf("%d in, with %d bytes", in.Load(), l.Inside())
		}
		time.Sleep(time.Minute)

		hold, _ := l.Enter(t.Context(), "192.0.2.1:1", 100, never)
		defer hold()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, ok := l.Enter(gone, "192.0.2.2:1", 1, never); ok {
			t.Error("who left is in")
		}
	})
}
