package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
)

// flushUse is how long the last use of keys and sessions may be held back, so that
// a request is not a database write.
const flushUse = 30 * time.Second

// Authority answers who is calling and what they may do. Open makes one; all methods
// may be called at once.
type Authority struct {
	config Config
	ring   *keyring
	log    *slog.Logger
	dir    atomic.Pointer[directory]
	limits *limiter
	hashes chan struct{} // bounds memory: each password check takes passwordMemory
	proved *provedPasswords
	gauges *metrics
	deeds  *deeds

	derived derivedKeys
	proofs  proofs

	reload sync.Mutex // one load at a time; taken before mu

	mu       sync.Mutex
	looked   time.Time // when the second began in which looks are counted
	looks    int       // for changes after an unknown token, in that second
	used     map[string]use
	sessions map[string]*session
	holds    map[*hold]struct{}
	watchers map[*Revocations]struct{}
}

// use is a key's or session's use that the store does not know yet.
type use struct {
	at     time.Time
	remote string // hostOf from
	from   string
}

// Open reads people and keys, and refuses a master key that is not the one their
// secrets were sealed under. Close it after the last door is shut.
func Open(ctx context.Context, c Config) (*Authority, error) {
	if c.Meta == nil {
		return nil, fault.New(fault.Invalid, "open auth", "", "Config.Meta is missing")
	}
	c.Account = cmp.Or(c.Account, DefaultAccount)
	c.Region = cmp.Or(c.Region, DefaultRegion)
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Rand = cmp.Or(c.Rand, rand.Reader)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Poll = cmp.Or(c.Poll, time.Second)
	ring, err := newKeyring(c.MasterKey, c.Rand)
	if err != nil {
		return nil, err
	}
	a := &Authority{
		config: c, ring: ring, log: c.Logger,
		limits: newLimiter(), hashes: make(chan struct{}, passwordsAtOnce), proved: newProvedPasswords(c.Rand),
		gauges: newMetrics(c.Registerer), deeds: newDeeds(),
		used: map[string]use{}, sessions: map[string]*session{},
		holds: map[*hold]struct{}{}, watchers: map[*Revocations]struct{}{},
	}
	if err := a.checkMasterKey(ctx); err != nil {
		return nil, err
	}
	d, err := a.load(ctx)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "read people and keys", "", err)
	}
	a.dir.Store(d)
	return a, nil
}

// checkMasterKey leaves a sealed mark on the first start and opens it on each later one.
func (a *Authority) checkMasterKey(ctx context.Context) error {
	var mark string
	err := a.config.Meta.Read().QueryRowContext(ctx, `SELECT words FROM auth_state WHERE name = 'master'`).Scan(&mark)
	if errors.Is(err, sql.ErrNoRows) {
		if mark, err = a.ring.sealText("master", "penstock"); err != nil {
			return err
		}
		err = a.config.Meta.Write(ctx, func(tx *sql.Tx) error {
			_, err := tx.Exec(`INSERT INTO auth_state (name, number, words) VALUES ('master', 0, ?) ON CONFLICT (name) DO NOTHING`, mark)
			return err
		})
		return fault.Wrap(fault.Unavailable, "mark master key", "", err)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "check master key", "", err)
	}
	_, err = a.ring.unsealText("master", mark)
	return fault.Wrap(fault.Invalid, "check master key", "", err)
}

// Run notices changes by other processes within Config.Poll, ends what they revoke,
// and writes down the last use of keys. It returns when ctx ends, after the last write.
func (a *Authority) Run(ctx context.Context) error {
	lastFlush := a.config.Clock.Now()
	for {
		timer := a.config.Clock.NewTimer(a.config.Poll)
		select {
		case <-ctx.Done():
			timer.Stop()
			final, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			err := a.flush(final)
			if errors.Is(err, context.DeadlineExceeded) { // no reason to end in disorder
				a.log.Warn("the disk is too slow to write down when keys were last used", "err", err)
				return nil
			}
			return err
		case <-timer.C:
		}
		if err := a.refresh(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("cannot look for changed keys; those known stay in force", "err", err)
			a.gauges.pollErrors.Inc()
		}
		if now := a.config.Clock.Now(); now.Sub(lastFlush) >= flushUse || now.Before(lastFlush) {
			lastFlush = now
			if err := a.flush(ctx); err != nil && ctx.Err() == nil {
				a.log.Warn("cannot write down when keys were last used", "err", err)
			}
			a.limits.forget(now)
			a.sumUp(ctx, now)
		}
	}
}

// refresh loads the directory again when the store's epoch moved.
func (a *Authority) refresh(ctx context.Context) error {
	var epoch int64
	if err := a.config.Meta.Read().QueryRowContext(ctx, `SELECT number FROM auth_state WHERE name = 'epoch'`).Scan(&epoch); err != nil {
		return err
	}
	if epoch == a.dir.Load().epoch {
		a.recheck(func(*hold) bool { return true }) // policies with dates change by themselves
		return nil
	}
	return a.reloadNow(ctx)
}

func (a *Authority) reloadNow(ctx context.Context) error {
	a.reload.Lock()
	defer a.reload.Unlock()
	d, err := a.load(ctx)
	if err != nil {
		return err
	}
	old := a.dir.Swap(d)
	a.announce(old, d)
	return nil
}

// looksMax is how often in a second missed looks.
const looksMax = 10

// missed looks for a key that another process may just have made: at most 10 times a
// second, so that guessing costs the database nothing.
func (a *Authority) missed(ctx context.Context) {
	now := a.config.Clock.Now()
	a.mu.Lock()
	if d := now.Sub(a.looked); d < 0 || d >= time.Second {
		a.looked, a.looks = now, 0
	}
	if a.looks++; a.looks > looksMax {
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	if err := a.refresh(ctx); err != nil {
		a.gauges.pollErrors.Inc()
	}
}

// change runs f in a transaction that moves the epoch, then loads what it left.
func (a *Authority) change(ctx context.Context, f func(*sql.Tx) error) error {
	err := a.config.Meta.Write(ctx, func(tx *sql.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE auth_state SET number = number + 1 WHERE name = 'epoch'`)
		return err
	})
	if err != nil {
		return err
	}
	return a.reloadNow(context.WithoutCancel(ctx))
}

// touch notes that a key was used; Run writes it down.
func (a *Authority) touch(id, remote string) { a.touchAt(id, remote, a.config.Clock.Now()) }

func (a *Authority) touchAt(id, remote string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, ok := a.used[id]
	if !ok || last.from != remote {
		last.from, last.remote = remote, hostOf(remote)
		a.proofs.put(id, last.remote, now) // its mutex is always taken last
	}
	last.at = now
	a.used[id] = last
}

func (a *Authority) flush(ctx context.Context) error {
	a.mu.Lock()
	used := a.used
	a.used = map[string]use{}
	a.mu.Unlock()
	now := toMillis(a.config.Clock.Now())
	idle := now - SessionIdle.Milliseconds()
	var stale int
	err := a.config.Meta.Read().QueryRowContext(ctx,
		`SELECT (SELECT COUNT(*) FROM auth_session WHERE expires < ? OR seen < ?) + (SELECT COUNT(*) FROM auth_link WHERE expires < ?)`,
		now, idle, now).Scan(&stale)
	if err != nil || (len(used) == 0 && stale == 0) {
		return err
	}
	return a.config.Meta.Write(ctx, func(tx *sql.Tx) error {
		for id, u := range used {
			ms := toMillis(u.at)
			if _, err := tx.Exec(`UPDATE auth_key SET last_used = ?, last_remote = ? WHERE id = ? AND last_used < ?`, ms, u.remote, id, ms); err != nil {
				return err
			}
			if _, err := tx.Exec(`UPDATE auth_session SET seen = ? WHERE hash = ? AND seen < ?`, ms, id, ms); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`DELETE FROM auth_session WHERE expires < ? OR seen < ?`, now, idle); err != nil {
			return err
		}
		_, err := tx.Exec(`DELETE FROM auth_link WHERE expires < ?`, now)
		return err
	})
}

// audit tells the audit log, if there is one.
func (a *Authority) audit(ctx context.Context, e AuditEvent) {
	if a.config.Audit != nil {
		if e.Account == "" {
			e.Account = a.config.Account
		}
		a.config.Audit.Record(ctx, e)
	}
}
