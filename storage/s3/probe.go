package s3

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"penstock/internal/fault"
)

// Step is one thing that Probe tried.
type Step struct {
	Name     string // "put", "get a range", "list", "conditional put", "delete"
	Required bool   // without it the store cannot be used
	OK       bool
	Words    string // what was seen, for a person
	Err      error  // why not, if the server said so
}

// Report is what Probe found out about a server.
type Report struct {
	Store       string // where, without the keys
	Steps       []Step
	Conditional bool // If-None-Match is honoured: Put needs one request, not two
}

// Err returns why the store cannot be used, or nil.
func (r Report) Err() error {
	for _, s := range r.Steps {
		if s.Required && !s.OK {
			e := &fault.Error{Kind: fault.Unavailable, Op: "probe " + r.Store, Err: fmt.Errorf("%s: %s", s.Name, s.Words),
				Hint: fault.HintOf(s.Err)}
			if s.Err != nil {
				e.Kind, e.Err = fault.KindOf(s.Err), fmt.Errorf("%s: %w", s.Name, s.Err)
			}
			return e
		}
	}
	return nil
}

// String gives one line for each step.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Store)
	for _, s := range r.Steps {
		mark := "ok  "
		if !s.OK {
			mark = "no  "
			if s.Required {
				mark = "FAIL"
			}
		}
		fmt.Fprintf(&b, "  %s %s: %s\n", mark, s.Name, s.Words)
	}
	return b.String()
}

// probeData is what the probe stores; the second differs and must not replace it.
const (
	probeData  = "penstock asks what this store can do"
	probeOther = "this must not replace what was there"
)

// Probe tries each operation on an object of its own, which it removes again, and
// remembers whether conditional writes work. It stops at the first required step that
// fails. Report.Err says whether the store can be used; the error is for the probe itself.
func (b *Bucket) Probe(ctx context.Context) (Report, error) {
	rep := Report{Store: b.String()}
	var id [8]byte
	if _, err := io.ReadFull(b.cfg.Rand, id[:]); err != nil {
		return rep, fault.Wrap(fault.Internal, "probe", b.String(), err)
	}
	key := "penstock-probe/" + hex.EncodeToString(id[:])
	b.conditional.Store(false)
	for _, try := range []func(context.Context, string) Step{b.tryPut, b.tryRange, b.tryList, b.tryConditional, b.tryDelete} {
		s := try(ctx, key)
		rep.Steps = append(rep.Steps, s)
		if s.Name == stepConditional {
			rep.Conditional = s.OK
		}
		if s.Required && !s.OK {
			// Leave nothing behind, though it is likely to fail as well.
			_ = b.Delete(ctx, key)
			break
		}
	}
	if err := ctx.Err(); err != nil {
		return rep, fault.Wrap(fault.Unavailable, "probe", b.String(), err)
	}
	b.conditional.Store(rep.Conditional && rep.Err() == nil)
	return rep, nil
}

const stepConditional = "conditional put"

func failed(s Step, err error) Step {
	s.Err, s.Words = err, err.Error()
	if hint := fault.HintOf(err); hint != "" {
		s.Words += "; " + hint
	}
	return s
}

func (b *Bucket) tryPut(ctx context.Context, key string) Step {
	s := Step{Name: "put", Required: true}
	if err := b.send(ctx, key, strings.NewReader(probeData), int64(len(probeData)), false); err != nil {
		return failed(s, err)
	}
	s.OK, s.Words = true, "an object can be stored"
	return s
}

func (b *Bucket) tryRange(ctx context.Context, key string) Step {
	s := Step{Name: "get a range", Required: true}
	got, err := b.read(ctx, key, 9, 4)
	if err != nil {
		return failed(s, err)
	}
	if want := probeData[9:13]; string(got) != want {
		s.Words = fmt.Sprintf("asked for 4 bytes from the middle, got %.20q", got)
		return s
	}
	s.OK, s.Words = true, "a part of an object can be read"
	return s
}

func (b *Bucket) read(ctx context.Context, key string, off, n int64) ([]byte, error) {
	r, err := b.Get(ctx, key, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, 1<<10))
	return data, errors.Join(err, r.Close())
}

func (b *Bucket) tryList(ctx context.Context, key string) Step {
	s := Step{Name: "list", Required: true}
	for o, err := range b.List(ctx, key, "") {
		if err != nil {
			return failed(s, err)
		}
		if o.Key == key && o.Size == int64(len(probeData)) {
			s.OK, s.Words = true, "a new object is listed at once"
			return s
		}
	}
	s.Words = "an object that was just stored is not listed"
	return s
}

func (b *Bucket) tryConditional(ctx context.Context, key string) Step {
	s := Step{Name: stepConditional}
	err := b.send(ctx, key, strings.NewReader(probeOther), int64(len(probeOther)), true)
	got, rerr := b.read(ctx, key, 0, -1)
	switch {
	case rerr != nil:
		return failed(s, rerr)
	case err == nil && bytes.Equal(got, []byte(probeOther)):
		s.Words = "If-None-Match is ignored, the server overwrites: each put asks first whether the key exists"
	case err == nil:
		s.Words = "If-None-Match is answered with success though nothing was written: each put asks first"
	case !bytes.Equal(got, []byte(probeData)):
		s.Words = "the server refused the write and yet changed the object: each put asks first"
	case !fault.Is(err, fault.InUse):
		s.Words, s.Err = "not supported ("+err.Error()+"): each put asks first whether the key exists", err
	default:
		s.OK, s.Words = true, "If-None-Match is honoured: a key is never overwritten"
	}
	return s
}

func (b *Bucket) tryDelete(ctx context.Context, key string) Step {
	s := Step{Name: "delete", Required: true}
	for _, keys := range [][]string{{key}, {key, key + "-2"}} { // single and bulk
		if err := b.Delete(ctx, keys...); err != nil {
			return failed(s, err)
		}
	}
	if _, err := b.stat(ctx, opGet, key); !fault.Is(err, fault.NotFound) {
		s.Words = "the object is still there after it was deleted"
		return s
	}
	s.OK, s.Words = true, "an object can be removed"
	return s
}
