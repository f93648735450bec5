package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"penstock/producer"
)

// flow is the state machine of one Flow. One goroutine owns it.
type flow struct {
	Flow
	c    Config
	log  *slog.Logger
	p    *producer.Producer
	file string // the checkpoint's

	tails  []*tail // in the order in which they are read
	orphan []mark  // of files that were not found again yet
	saved  string  // the checkpoint as written
	first  bool    // this flow has never run before
	warned map[string]bool
	bad    time.Time            // when a failing checkpoint was last logged
	young  map[fileID]time.Time // files that may become copies of others
	owner  map[string]*tail     // what was last seen under a name

	trouble atomic.Pointer[producer.ServiceError] // why records were refused, since the last look

	records, bytes, refused, lost, cut, open atomic.Int64
}

func newFlow(c Config, f Flow) (*flow, error) {
	fl := &flow{Flow: f, c: c, log: c.Logger.With("flow", f.Name, "stream", f.Stream), file: stateName(c.State, f.Name), warned: map[string]bool{}, young: map[fileID]time.Time{}, owner: map[string]*tail{}}
	return fl, fl.renew()
}

// renew makes the flow's producer. It tries a record for ever: the files are the buffer.
func (f *flow) renew() (err error) {
	pc := f.c.Producer
	pc.Stream, pc.Endpoint, pc.Region, pc.Credentials, pc.Life, pc.Logger = f.Stream, f.c.Endpoint, f.c.Region, f.c.Credentials, -1, f.c.Logger.With("flow", f.Name)
	pc.PendingBytes = cmp.Or(pc.PendingBytes, pendingPerFlow)
	f.p, err = producer.New(pc)
	return err
}

func (f *flow) figures() Stats {
	return Stats{Files: int(f.open.Load()), Records: f.records.Load(), Bytes: f.bytes.Load(), Cut: f.cut.Load(), Refused: f.refused.Load(), Lost: f.lost.Load(), Producer: f.p.Stats()}
}

func (f *flow) run(ctx context.Context) error {
	if err := f.load(); err != nil {
		return err
	}
	defer func() {
		for _, t := range f.tails {
			t.close()
		}
	}()
	ended := make(chan error, 1)
	go func() { ended <- f.p.Run(context.WithoutCancel(ctx)) }()
	f.loop(ctx)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.c.Drain)
	defer cancel()
	if slow := f.p.Close(drain); slow != nil {
		f.log.Warn("not everything that was read could be sent; it is sent at the next start", "err", slow)
	}
	return errors.Join(<-ended, f.save())
}

// load reads the checkpoint and finds its files again.
func (f *flow) load() error {
	s, err := loadState(f.c.FS, f.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.first = true
		return nil
	case err != nil:
		return err
	}
	f.orphan = s.Files
	return nil
}

// loop reads until ctx ends.
func (f *flow) loop(ctx context.Context) {
	save := time.Now()
	for ctx.Err() == nil {
		f.discover()
		busy := true
		for busy && ctx.Err() == nil && time.Since(save) < f.c.Save {
			busy = f.round(ctx)
		}
		if time.Since(save) >= f.c.Save {
			f.mind(f.save())
			save = time.Now()
		}
		wait := f.c.Poll
		if t := f.trouble.Swap(nil); t != nil {
			f.recover(ctx, t)
			wait = max(wait, troubleDefault)
		} else if busy {
			wait = 0
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// mind logs that checkpoints cannot be written, when that begins and once a minute.
// Sending goes on: without checkpoints a crash means doubles, not losses.
func (f *flow) mind(err error) {
	if err != nil && time.Since(f.bad) > time.Minute {
		f.bad = time.Now()
		f.log.Error("write checkpoint: records may be sent twice after a restart", "err", err)
	}
}

// recover goes back to what is stored after the server refused records for good: an
// operator has to do something, and then nothing may be missing.
func (f *flow) recover(ctx context.Context, why *producer.ServiceError) {
	f.log.Error("the server refuses records; they are tried again", "err", why, "try", "check the access key, and that it may kinesis:PutRecords to the stream")
	if f.p.Flush(ctx) != nil {
		return
	}
	from := map[*tail]int64{}
	for _, t := range f.tails {
		if off := t.done.rewind(math.MaxInt64); t.ended && t.copy != nil {
			from[t.copy] = off
		}
	}
	for _, t := range slices.Clone(f.tails) {
		limit, ok := from[t]
		if !ok {
			limit = math.MaxInt64
		}
		if t.f == nil || t.ended {
			continue
		}
		if err := t.seek(t.done.rewind(limit)); err != nil {
			f.emptied(t)
		}
	}
	f.trouble.Store(nil)
}

// round reads a piece of every file and reports whether there was anything.
func (f *flow) round(ctx context.Context) (more bool) {
	now := time.Now()
	for _, t := range f.tails {
		if ctx.Err() != nil || f.trouble.Load() != nil {
			return false
		}
		if t.f == nil || t.ended || t.of != nil || t.after != nil && !f.through(t.after) {
			continue
		}
		t.after = nil
		got, err := t.read(f.put(ctx, t), now)
		switch {
		case errors.Is(err, errOther):
			f.emptied(t)
			return true // the tails have changed
		case errors.Is(err, errFull):
			t.full = true
		case err != nil && ctx.Err() == nil:
			f.warn("read "+t.path, err)
		case got:
			more = true
		default:
			f.quiet(ctx, t, now)
		}
	}
	return more
}

// through reports whether t has been read to its end, for now, and all of it was put.
func (f *flow) through(t *tail) bool {
	if t.ended && t.copy != nil {
		return f.through(t.copy)
	}
	if t.ended || t.f == nil {
		return true
	}
	if t.full {
		return false
	}
	info, err := t.f.Stat()
	return err != nil || info.Size() <= t.reach()
}

// quiet is for a file that has not grown: lines that wait for more of their record, the
// end of a file that was rotated away.
func (f *flow) quiet(ctx context.Context, t *tail, now time.Time) {
	idle := now.Sub(t.grew)
	if f.Start != nil && idle >= f.Gather && t.split.whole > 0 {
		t.full = t.split.flush(f.put(ctx, t)) != nil
	}
	if t.moved && idle >= f.c.Linger && len(t.split.hold) > 0 {
		t.full = t.split.finish(f.put(ctx, t)) != nil
	}
	if _, done := t.done.at(t.split.from); done && idle >= f.c.Linger && len(t.split.hold) == 0 {
		if info, err := t.f.Stat(); err == nil && info.Size() == t.reach() {
			t.checkpoint()
			t.size, t.stamp = info.Size(), info.ModTime()
			t.close()
		}
	}
}

// errFull says that the producer has no room: more is unsent than may be in memory.
var errFull = errors.New("too much is unsent")

// put returns what takes a record of t. It waits for room no longer than Poll, so that
// rotation is noticed while the server is away.
func (f *flow) put(ctx context.Context, t *tail) emit {
	return func(rec []byte, at int64) error {
		n := t.done.begin(at)
		done := &t.done
		short, cancel := context.WithTimeout(ctx, f.c.Poll)
		err := f.p.Put(short, producer.Record{Key: f.keyOf(t, rec), Data: rec}, func(r producer.Result) { f.told(done, n, r) })
		late := short.Err() != nil
		cancel()
		switch {
		case err == nil:
		case late || errors.Is(err, producer.ErrClosed):
			done.undo()
			return errFull
		default: // no stream takes it
			f.refused.Add(1)
			f.log.Error("a record cannot be sent and is left out", "file", t.path, "end", at, "err", err)
			done.stored(n)
		}
		f.records.Add(1)
		f.bytes.Add(int64(len(rec)))
		return nil
	}
}

// told hears the fate of a record.
func (f *flow) told(p *progress, n int, r producer.Result) {
	var refusal *producer.ServiceError
	switch {
	case r.Err == nil:
		p.stored(n)
	case !errors.As(r.Err, &refusal): // the agent ends; it is read again at the next start
	case refusal.Code == "ValidationException" || refusal.Code == "InvalidArgumentException":
		f.refused.Add(1)
		f.log.Error("the server finds a record invalid; it is left out", "err", r.Err)
		p.stored(n)
	default:
		f.trouble.Store(refusal)
	}
}

func (f *flow) keyOf(t *tail, rec []byte) string {
	switch {
	case f.Key.Pattern != nil:
		if m := f.Key.Pattern.FindSubmatch(rec); m != nil && len(m[min(1, len(m)-1)]) > 0 {
			return shorten(string(m[min(1, len(m)-1)]))
		}
		return shorten(t.path)
	case f.Key.File:
		return shorten(t.path)
	}
	return randomKey()
}

func randomKey() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// shorten keeps the end of a key that is too long, where paths differ, and of what is no
// UTF-8 its hexadecimal form.
func shorten(key string) string {
	r := []rune(key)
	if len(r) > producer.KeyMax {
		r = r[len(r)-producer.KeyMax:]
	}
	return string(r)
}

// save writes the checkpoint if it has changed.
func (f *flow) save() error {
	s := state{Version: stateVersion, Flow: f.Name, Files: []mark{}}
	open, cut := 0, 0
	for _, t := range f.tails {
		if !t.ended || len(t.head) > 0 { // of what nothing was ever read, nothing can be found
			s.Files = append(s.Files, t.checkpoint())
		}
		cut += t.split.cut
		if t.f != nil {
			open++
		}
	}
	f.open.Store(int64(open))
	f.cut.Store(int64(cut))
	s.Files = append(s.Files, f.orphan...)
	if text := fmt.Sprint(s); text != f.saved {
		if err := s.save(f.c.FS, f.file); err != nil {
			return err
		}
		f.saved = text
	}
	return nil
}

// warn logs something once.
func (f *flow) warn(what string, err error) {
	if key := what + err.Error(); !f.warned[key] && len(f.warned) < filesMax {
		f.warned[key] = true
		f.log.Warn(what, "err", err)
	}
}
