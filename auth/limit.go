package auth

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"penstock/internal/fault"
)

// Brute-force limits: after the burst, one more try per interval. A right password gives
// back the try that it cost and no more: else whoever has an account of their own could
// sign in to it between guesses at another's.
const (
	addressBurst    = 10
	addressInterval = 30 * time.Second
	nameBurst       = 40
	nameInterval    = 15 * time.Second
	// An answer to RTSP Digest with a user name that is no key's is tried with every key, 5 µs
	// each: wrong ones from an address are tried so often at once, then once per interval.
	searchBurst    = 100
	searchInterval = time.Second
	// limitEntries bounds memory. When it is reached with names and addresses that are
	// all in use, newcomers share one entry: slower for them, never open.
	limitEntries = 16_384
)

// limiter counts failed sign-ins by address (IPv6 by /64) and by name tried, whether
// or not the name exists.
type limiter struct {
	mu      sync.Mutex
	buckets map[string]*bucket
	swept   time.Time // when a full map was last searched for entries to drop
}

// bucket is empty of failures at the time free.
type bucket struct {
	free     time.Time
	interval time.Duration
}

func newLimiter() *limiter { return &limiter{buckets: map[string]*bucket{}} }

// allow charges one try, or refuses it.
func (l *limiter) allow(now time.Time, remote, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	address := l.bucket(now, addressKey(remote), addressInterval)
	person := l.bucket(now, "n "+name, nameInterval)
	wait := max(address.wait(now, addressBurst), person.wait(now, nameBurst))
	if wait > 0 {
		return tooMany(wait)
	}
	address.charge(now)
	person.charge(now)
	return nil
}

// address refuses who comes from where there were too many failures, and charges nothing.
func (l *limiter) address(now time.Time, remote string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.buckets[addressKey(remote)]; b != nil && b.wait(now, addressBurst) > 0 {
		return tooMany(b.wait(now, addressBurst))
	}
	return nil
}

// search charges an address for a search through all keys, or reports that it has had
// enough of them.
func (l *limiter) search(now time.Time, remote string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(now, "d "+addressKey(remote), searchInterval)
	if b.wait(now, searchBurst) > 0 {
		return false
	}
	b.charge(now)
	return true
}

// found gives a search back that found its key.
func (l *limiter) found(remote string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.buckets["d "+addressKey(remote)]; b != nil {
		b.free = b.free.Add(-b.interval)
	}
}

func tooMany(wait time.Duration) error {
	return fault.New(fault.Throttled, "sign in", "", fmt.Sprintf("too many failed tries; wait %d s", int(wait/time.Second)+1)).
		WithAfter(wait).WithHint("wait, or make a one-time link on the server with `penstock link`")
}

// succeed gives back the try that was charged.
func (l *limiter) succeed(remote, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range []string{addressKey(remote), "n " + name} {
		if b := l.buckets[key]; b != nil {
			b.free = b.free.Add(-b.interval)
		}
	}
}

// forget drops entries that hold no failures.
func (l *limiter) forget(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
}

func (l *limiter) sweep(now time.Time) {
	for k, b := range l.buckets {
		if !now.Before(b.free) {
			delete(l.buckets, k)
		}
	}
}

func (l *limiter) bucket(now time.Time, name string, interval time.Duration) *bucket {
	if b := l.buckets[name]; b != nil {
		return b
	}
	if len(l.buckets) >= limitEntries {
		if d := now.Sub(l.swept); d >= time.Second || d < 0 { // not for each try of a flood
			l.swept = now
			l.sweep(now)
		}
		if len(l.buckets) >= limitEntries {
			name = "overflow " + name[:2]
			if b := l.buckets[name]; b != nil {
				return b
			}
		}
	}
	b := &bucket{free: now, interval: interval}
	l.buckets[name] = b
	return b
}

func (b *bucket) wait(now time.Time, burst int) time.Duration {
	return b.free.Sub(now) - time.Duration(burst-1)*b.interval
}

func (b *bucket) charge(now time.Time) {
	if b.free.Before(now) {
		b.free = now
	}
	b.free = b.free.Add(b.interval)
}

func addressKey(remote string) string {
	a, ok := sourceAddr(remote)
	if !ok {
		return "a unknown"
	}
	if a.Is6() {
		p, err := a.Prefix(64)
		if err == nil {
			return "a " + netip.Prefix.String(p)
		}
	}
	return "a " + a.String()
}

// hostOf drops the port of a remote address.
func hostOf(remote string) string {
	if a, ok := sourceAddr(remote); ok {
		return a.String()
	}
	return remote
}
