package loadgen

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"
)

// DefaultRecord is the bytes of a record.
const DefaultRecord = 1024

// Variety is how many different bodies are sent in turn.
const Variety = 8

type entry struct {
	Data         []byte
	PartitionKey string
}

type putRecords struct {
	StreamName string
	Records    []entry
}

type putRecord struct {
	StreamName   string
	Data         []byte
	PartitionKey string
}

// entries are records that do not compress, of keys all over the hash space.
func entries(rng *rand.ChaCha8, n, size int) []entry {
	out := make([]entry, n)
	for i := range out {
		out[i] = entry{make([]byte, size), fmt.Sprintf("device-%016x", rng.Uint64())}
		_, _ = rng.Read(out[i].Data)
	}
	return out
}

// PutLoad is what puts: connections that each have one request under way.
type PutLoad struct {
	Conns, Batch int // Batch 1: PutRecord
	Codec        Codec
	Size         int // bytes of a record; 0: DefaultRecord
}

// String says what is put by how many.
func (l PutLoad) String() string {
	what := "PutRecord"
	if l.Batch > 1 {
		what = fmt.Sprintf("PutRecords x %d", l.Batch)
	}
	if l.Conns == 1 {
		return fmt.Sprintf("%s, %s, 1 connection", what, l.Codec.Name)
	}
	return fmt.Sprintf("%s, %s, %d connections", what, l.Codec.Name, l.Conns)
}

// Op is the operation that is called.
func (l PutLoad) Op() string {
	if l.Batch > 1 {
		return "PutRecords"
	}
	return "PutRecord"
}

// Record is the bytes of a record.
func (l PutLoad) Record() int {
	if l.Size == 0 {
		return DefaultRecord
	}
	return l.Size
}

// Bodies are Variety requests to put into stream.
func (l PutLoad) Bodies(stream string) ([]Body, error) {
	var seed [32]byte
	_, _ = crand.Read(seed[:])
	rng := rand.NewChaCha8(seed)
	out := make([]Body, Variety)
	for i := range out {
		records := entries(rng, l.Batch, l.Record())
		var request any = putRecords{stream, records}
		if l.Batch == 1 {
			request = putRecord{stream, records[0].Data, records[0].PartitionKey}
		}
		var err error
		if out[i], err = NewBody(l.Codec, request); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Tally is what happened in a window.
type Tally struct {
	Records   int
	Seconds   float64
	Waits     []time.Duration // of the requests
	Sent      int64           // bytes
	Refused   map[string]int  // records, by the service's word
	First     error           // why the first was refused
	CPU       float64         // s, of the server, where its process is known
	RSS, Peak float64         // MB, of the server
	Generator float64         // cores, of this process
	Others    float64         // cores, of who else uses the machine; of all that ran, when the server's process is not known
}

// Rate is records a second.
func (r *Tally) Rate() float64 {
	if r.Seconds == 0 {
		return 0
	}
	return float64(r.Records) / r.Seconds
}

// RefusedRecords counts the records that were refused.
func (r *Tally) RefusedRecords() (n int) {
	for _, k := range r.Refused {
		n += k
	}
	return n
}

// refuse counts records that were not taken.
func (r *Tally) refuse(by map[string]int, status int, answer []byte) {
	if r.Refused == nil {
		r.Refused = map[string]int{}
	}
	for code, n := range by {
		r.Refused[code] += n
	}
	if r.First == nil {
		r.First = fmt.Errorf("%d %.200q", status, answer)
	}
}

// WarmUp is put before each window.
const WarmUp = 500 * time.Millisecond

// Window measures what work does between start and stop, after WarmUp. Each of the n workers
// has a connection and a tally of its own; a request counts when its answer came in the
// window. Edge, if not nil, is called at the beginning and at the end of the window.
func (e *Endpoint) Window(ctx context.Context, d time.Duration, n int, edge func(end bool), work func(c *Conn, r *Tally, i int, start, stop time.Time) error) (*Tally, error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	start := time.Now().Add(WarmUp)
	stop := start.Add(d)
	runs, errs := make([]Tally, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			c, err := e.Open(ctx)
			if err == nil {
				err = work(c, &runs[i], i, start, stop)
			}
			if errs[i] = err; err != nil {
				end()
			}
		})
	}
	var from, to Counters
	var err error
	Sleep(ctx, time.Until(start))
	if edge != nil {
		edge(false)
	}
	own, busy, began := OwnCPU(), MachineCPU(), time.Now()
	if e.PID != 0 {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", e.PID), []byte("5"), 0) // the peak begins anew, where that is allowed
		from, err = ReadProcess(e.PID)
	}
	Sleep(ctx, time.Until(stop))
	took := max(time.Since(began).Seconds(), 1e-3)
	r := &Tally{Seconds: d.Seconds()} // what is counted lies between start and stop, however late this woke
	r.Generator, busy = (OwnCPU()-own)/took, MachineCPU()-busy
	if e.PID != 0 && err == nil {
		to, err = ReadProcess(e.PID)
	}
	if edge != nil {
		edge(true)
	}
	all.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	r.CPU, r.RSS, r.Peak = (to.CPU - from.CPU).Seconds(), float64(to.RSS)/1e6, float64(to.Peak)/1e6
	r.Others = max(0, (busy-r.CPU)/took-r.Generator)
	for i := range runs {
		r.add(&runs[i])
	}
	return r, nil
}

// add joins what one worker counted.
func (r *Tally) add(one *Tally) {
	r.Records, r.Sent, r.Waits = r.Records+one.Records, r.Sent+one.Sent, append(r.Waits, one.Waits...)
	for code, n := range one.Refused {
		if r.Refused == nil {
			r.Refused = map[string]int{}
		}
		r.Refused[code] += n
	}
	if r.First == nil {
		r.First = one.First
	}
}

// Put measures a load on a stream that is there.
func (e *Endpoint) Put(ctx context.Context, stream string, l PutLoad, d time.Duration, edge func(end bool)) (*Tally, error) {
	bodies, err := l.Bodies(stream)
	if err != nil {
		return nil, err
	}
	return e.Window(ctx, d, l.Conns, edge, func(c *Conn, r *Tally, i int, start, stop time.Time) error {
		for n := i; time.Now().Before(stop); n++ {
			began, sent := time.Now(), c.Sent
			status, err := c.Call(l.Op(), l.Codec.ContentType, bodies[n%Variety])
			now := time.Now()
			if err != nil {
				return fmt.Errorf("%s: %w", l, err)
			}
			if status != http.StatusOK {
				if refused := refusal(l.Op(), status, c.Answer); refused.final() {
					return refused
				}
			}
			if now.Before(start) || now.After(stop) {
				continue
			}
			refused := Failed(c.Answer, l, status)
			stored := l.Batch
			for _, n := range refused {
				stored -= n
			}
			if len(refused) > 0 {
				r.refuse(refused, status, c.Answer)
			}
			r.Records += stored
			r.Sent += c.Sent - sent
			r.Waits = append(r.Waits, now.Sub(began))
		}
		return nil
	})
}

// Failed counts the records that an answer says were refused, by the service's word; nil: none.
func Failed(answer []byte, l PutLoad, status int) map[string]int {
	if status != http.StatusOK {
		return map[string]int{refusal("", status, answer).Code: l.Batch}
	}
	if l.Batch == 1 || noneFailed(answer, l.Codec) {
		return nil
	}
	var body struct {
		FailedRecordCount int
		Records           []struct{ ErrorCode string }
	}
	if err := l.Codec.decode(answer, &body); err != nil {
		return map[string]int{"an answer that cannot be read": l.Batch}
	}
	by := map[string]int{}
	for _, r := range body.Records {
		if r.ErrorCode != "" {
			by[r.ErrorCode]++
		}
	}
	if len(by) == 0 {
		return nil
	}
	return by
}

// noneFailed finds out without decoding the answer of a PutRecords whether all of its
// records were taken, as is the rule; false: look closer.
func noneFailed(answer []byte, c Codec) bool {
	const key = "FailedRecordCount"
	i := bytes.LastIndex(answer, []byte(key))
	if i < 0 {
		return false
	}
	rest := answer[i+len(key):]
	if c.Name == JSON().Name {
		rest = bytes.TrimLeft(rest[:min(len(rest), 16)], `": `)
		return len(rest) > 1 && rest[0] == '0'
	}
	return len(rest) > 0 && rest[0] == 0
}
