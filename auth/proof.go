package auth

import (
	"context"
	"sync"
	"time"
)

type proofKey struct{}

// WithProof returns ctx with f, which is called when somebody proves with a token, a cookie
// or a signature who they are: a door that bounds strangers no longer counts them.
func WithProof(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, proofKey{}, f)
}

// proved calls what WithProof left.
func proved(ctx context.Context) {
	if f, ok := ctx.Value(proofKey{}).(func()); ok {
		f()
	}
}

// What is remembered of proofs: from where, and for how long after a key was first used anew
// from there, its holder is believed to be the one who names it.
const (
	proofLife = time.Hour
	proofsMax = 16_384
)

// proofs remembers where the holders of keys have lately proved right from. It is no
// permission: it says whose bodies may wait in memory for their signature to be judged.
type proofs struct {
	mu   sync.Mutex
	seen map[provedAt]time.Time
}

type provedAt struct{ id, host string }

func (p *proofs) put(id, host string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil || len(p.seen) >= proofsMax {
		p.seen = map[provedAt]time.Time{} // whoever is still there proves it again in a moment
	}
	p.seen[provedAt{id, host}] = now
}

func (p *proofs) lately(id, host string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.seen[provedAt{id, host}]
	return ok && now.Sub(at) < proofLife
}
