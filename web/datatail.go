package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"penstock/internal/fault"
	"penstock/playback"
	"penstock/playback/tail"
	"penstock/records"
)

// tailsMax bounds the shards that all tails follow at once: each costs a goroutine and
// a page of at most 1 MiB while it is read.
const tailsMax = 16 << 10

// tailData follows a data stream: one JSON object for each record, as server-sent events
// or as lines. An error on the way is the last of them.
func tailData(c *call) error {
	conf, limit, as, err := c.tailConfig()
	if err != nil {
		return err
	}
	sse := strings.Contains(c.r.Header.Get("Accept"), "text/event-stream")
	h := c.w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	if sse {
		h.Set("Content-Type", "text/event-stream")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies hand each line on as it comes
	if c.r.Method == http.MethodHead {
		return nil
	}
	shards := int64(1)
	if !conf.One {
		shards = min(max(shards, int64(c.data.OpenShards())), tail.ShardsMax)
	}
	if !c.s.tails.TryAcquire(shards) {
		return fault.New(fault.Throttled, "tail", c.data.Name(), "too many shards are followed at once").WithHint("follow one shard, or end other tails")
	}
	defer c.s.tails.Release(shards)
	defer c.watching("kinesis:GetRecords", c.data.ARN())()
	t := &tailing{c: c, sse: sse, as: as, limit: limit, flush: http.NewResponseController(c.w), events: make(chan []tail.Event)}
	return t.run(conf)
}

// tailConfig reads the query.
func (c *call) tailConfig() (conf tail.Config, limit int, as tail.Show, err error) {
	q := c.r.URL.Query()
	conf = tail.Config{Stream: c.data, Clock: c.s.c.Clock}
	if conf.Filter, err = tail.ParseFilter(q["filter"]); err != nil {
		return conf, 0, 0, err
	}
	if id := q.Get("shard"); id != "" {
		if conf.Shard, err = records.ParseShardID(id); err != nil {
			return conf, 0, 0, err
		}
		conf.One = true
	}
	if conf.From, err = c.tailFrom(q.Get("from")); err != nil {
		return conf, 0, 0, err
	}
	switch follow := q.Get("follow"); follow {
	case "", "yes", "true", "1":
	case "no", "false", "0":
		conf.Once = true
	default:
		return conf, 0, 0, fault.New(fault.Invalid, "read follow", strconv.Quote(follow), "it is yes or no")
	}
	switch show := q.Get("as"); show {
	case "", "auto":
	case "base64":
		as = tail.Base64
	default:
		return conf, 0, 0, fault.New(fault.Invalid, "read as", strconv.Quote(show), "it is auto or base64")
	}
	if text := q.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
			return conf, 0, 0, fault.New(fault.Invalid, "read limit", strconv.Quote(text), "not a positive number")
		}
	}
	// Asked here, so that what is wrong is heard as a status, not in the stream.
	if conf.One {
		_, err = c.data.At(c.r.Context(), conf.Shard, conf.From)
	} else if k := conf.From.Kind; k == records.AtSeq {
		err = fault.New(fault.Invalid, "read from", q.Get("from"), "a sequence number is of one shard: name it with shard=")
	}
	return conf, limit, as, err
}

// seqDigits is from how many digits on a number is a sequence number, not a time.
const seqDigits = 30

// tailFrom reads where to begin: latest, horizon, a sequence number, or an instant.
func (c *call) tailFrom(text string) (records.From, error) {
	switch strings.ToLower(text) {
	case "", "latest", "now":
		return records.From{Kind: records.Latest}, nil
	case "horizon", "start", "trim_horizon":
		return records.From{}, nil
	}
	if len(text) >= seqDigits && strings.Trim(text, "0123456789") == "" {
		seq, err := records.ParseSeq(text)
		return records.From{Kind: records.AtSeq, Seq: seq}, err
	}
	t, err := playback.ParseTime(text, c.s.c.Clock.Now())
	return records.From{Kind: records.AtTime, Time: t}, err
}

// tailing is one tail on its way out.
type tailing struct {
	c      *call
	sse    bool
	as     tail.Show
	limit  int // 0: none
	sent   int
	buf    []byte
	flush  *http.ResponseController
	events chan []tail.Event
}

// errEnough ends a tail that has sent what was asked for.
var errEnough = errors.New("enough")

func (t *tailing) run(conf tail.Config) error {
	ctx, cancel := context.WithCancel(t.c.r.Context())
	defer cancel()
	ended := make(chan error, 1)
	placed := make(chan struct{})
	conf.Placed = func() { close(placed) }
	go func() {
		ended <- tail.Run(ctx, conf, func(events []tail.Event) error {
			select {
			case t.events <- events:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	// Who reads the status of a tail of what is newest, and then puts, is shown what was put.
	if conf.From.Kind == records.Latest {
		select {
		case <-placed:
		case err := <-ended:
			ended <- err
		case <-ctx.Done():
		}
	}
	t.c.w.WriteHeader(http.StatusOK)
	err := t.pump(ctx, ended)
	cancel()
	if err == nil {
		return nil
	}
	<-ended
	return nil // the reader left, or has enough
}

// pump writes until the tail or the reader ends; nil: the tail did.
func (t *tailing) pump(ctx context.Context, ended <-chan error) error {
	if err := t.flush.Flush(); err != nil {
		return err
	}
	beat := t.c.s.c.Clock.NewTimer(heartbeat)
	defer beat.Stop()
	for {
		t.buf = t.buf[:0]
		select {
		case events := <-t.events:
			for _, e := range events {
				t.event(e)
				if t.sent++; t.sent == t.limit {
					return errors.Join(t.write(), errEnough)
				}
			}
		case <-beat.C:
			if t.sse {
				t.buf = append(t.buf, ": still here\n"...)
			}
			t.buf = append(t.buf, '\n')
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				t.failed(err)
				_ = t.write() // the reader may have left, too
			} else if cause := context.Cause(t.c.r.Context()); fault.KindOf(cause) != fault.Internal { // its key was revoked
				t.failed(cause)
				_ = t.write()
			}
			return nil
		}
		if err := t.write(); err != nil {
			return err
		}
		beat.Reset(heartbeat)
	}
}

func (t *tailing) write() error {
	_ = t.flush.SetWriteDeadline(time.Now().Add(eventTimeout))
	if _, err := t.c.w.Write(t.buf); err != nil {
		return err
	}
	return t.flush.Flush()
}

func (t *tailing) event(e tail.Event) {
	if t.sse {
		t.buf = append(append(append(t.buf, "event: record\nid: "...), e.ID()...), "\ndata: "...)
	}
	t.buf = append(e.Append(t.buf, t.as), '\n')
	if t.sse {
		t.buf = append(t.buf, '\n')
	}
}

func (t *tailing) failed(err error) {
	body, bad := json.Marshal(t.c.s.errorOf(t.c.w, t.c.r, err))
	if bad != nil { // it is text
		return
	}
	if t.sse {
		t.buf = append(append(append(t.buf, "event: error\ndata: "...), body...), '\n', '\n')
		return
	}
	t.buf = append(append(t.buf, body...), '\n')
}
