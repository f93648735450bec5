package mqtt

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/records"
	"penstock/streams/datastream"
)

// Limits of one put: what has come while the one before was under way goes together.
const (
	batchMax   = 500
	batchBytes = 1 << 20
	// drainMost is how long what a client sent before it left may take to be stored.
	drainMost   = 5 * time.Second
	makeTimeout = 30 * time.Second
)

// message is a record on its way; answer hears once what became of it.
type message struct {
	topic  string
	data   []byte
	answer func(error)
}

// session is one client that is signed in.
type session struct {
	s         *Server
	principal auth.Principal
	about     auth.Context
	remote    string
	client    string // its identifier, as it said
	end       func(error)

	ctx    context.Context
	cancel context.CancelFunc
	room   *semaphore.Weighted
	queue  chan message
	left   chan struct{} // closed when the connection has ended
	before chan struct{} // ended of the session that the same client had; nil: none
	ended  chan struct{} // closed when nothing more is stored
	work   sync.WaitGroup

	targets map[string]*target // of the worker alone
}

// target is a data stream that a session publishes to.
type target struct {
	st      *datastream.Stream
	held    context.Context // ends when the session may no more
	release func()
}

// signIn finds out who a client is. end closes its connection, with the reason.
func (s *Server) signIn(user, password, client, remote string, secure bool, end func(error)) (*session, error) {
	ctx, cancel := context.WithTimeout(context.Background(), signInTimeout)
	defer cancel()
	if user == "" && password == "" {
		return nil, fault.New(fault.Unauthentic, "sign in", "", "user and password are needed: any user name, and a key's token")
	}
	p, err := s.c.Auth.Basic(ctx, user, password, remote)
	if err != nil {
		return nil, err
	}
	c := &session{s: s, principal: p, about: auth.Context{SourceIP: remote, Secure: secure}, remote: remote, client: client, end: end,
		room: semaphore.NewWeighted(max(sessionBytes, int64(s.c.MaxPacket))), queue: make(chan message, s.c.InFlight), left: make(chan struct{}), ended: make(chan struct{}), targets: map[string]*target{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	s.sessions[c] = struct{}{}
	if last := s.newest[c.name()]; last != nil {
		c.before = last.ended
	}
	s.newest[c.name()] = c
	s.mu.Unlock()
	s.figures.connections.Inc()
	c.work.Go(c.run)
	return c, nil
}

// name is what the sessions of one client have in common: the broker ends all but the newest.
func (c *session) name() string { return c.principal.Account + "/" + c.principal.ID + "/" + c.client }

// kick ends the connection.
func (c *session) kick(reason error) {
	c.s.log.Info("client is disconnected", "remote", c.remote, "principal", c.principal.ID, "err", reason)
	c.end(reason)
}

// close ends the session, once its connection has.
func (c *session) close() {
	c.s.mu.Lock()
	_, here := c.s.sessions[c]
	delete(c.s.sessions, c)
	c.s.mu.Unlock()
	if !here {
		return
	}
	// What came before the end is stored: a client that sends with QoS 0 and leaves did so
	// in good faith.
	over := time.AfterFunc(drainMost, c.cancel)
	close(c.left)
	c.work.Wait()
	over.Stop()
	c.cancel()
	c.s.figures.connections.Dec()
}

// publish queues a message; it waits while too much of this client, or of all, is not
// stored yet, and so keeps the client waiting. answer is called by another goroutine, in
// the order of publish.
func (c *session) publish(topic string, data []byte, answer func(error)) error {
	weight := int64(len(data) + len(topic) + 256)
	if err := c.room.Acquire(c.ctx, weight); err != nil {
		return err
	}
	if err := c.s.room.Acquire(c.ctx, weight); err != nil {
		c.room.Release(weight)
		return err
	}
	m := message{topic, data, func(err error) {
		c.room.Release(weight)
		c.s.room.Release(weight)
		result := "stored"
		if err != nil {
			result = fault.KindOf(err).String()
		} else {
			c.s.figures.bytes.Add(float64(len(data)))
		}
		c.s.figures.messages.WithLabelValues(result).Inc()
		answer(err)
	}}
	select {
	case c.queue <- m:
		return nil
	case <-c.ctx.Done():
		m.answer(c.ctx.Err())
		return c.ctx.Err()
	}
}

// run stores what is queued, in order, and behind all that the client sent before it came
// back: what it then sends again, and what follows, is to be the last that is stored.
func (c *session) run() {
	defer func() {
		for _, t := range c.targets {
			t.release()
		}
		for len(c.queue) > 0 {
			(<-c.queue).answer(c.ctx.Err())
		}
		c.s.mu.Lock()
		if c.s.newest[c.name()] == c {
			delete(c.s.newest, c.name())
		}
		c.s.mu.Unlock()
		close(c.ended)
	}()
	if c.before != nil {
		select {
		case <-c.before:
		case <-c.ctx.Done():
		}
	}
	var batch []message
	for {
		batch = batch[:0]
		select {
		case m := <-c.queue:
			batch = append(batch, m)
		case <-c.ctx.Done():
			return
		case <-c.left:
			if len(c.queue) == 0 {
				return
			}
			batch = append(batch, <-c.queue)
		}
		for size := len(batch[0].data); len(c.queue) > 0 && len(batch) < batchMax && size < batchBytes; {
			m := <-c.queue
			size += len(m.data)
			batch = append(batch, m)
		}
		c.store(batch)
		clear(batch)
	}
}

// store puts a batch: runs of messages to one stream go together.
func (c *session) store(batch []message) {
	var in []records.Input
	from := 0
	var now *target
	flush := func(to int) {
		if len(in) > 0 {
			c.put(now, in, batch[from:to])
		}
		in, from = in[:0], to
	}
	for i, m := range batch {
		stream, key, err := c.s.place(m.topic, c.client)
		var t *target
		if err == nil {
			t, err = c.target(stream)
		}
		if err != nil {
			flush(i)
			m.answer(err)
			from = i + 1
			continue
		}
		if t != now {
			flush(i)
			now = t
		}
		in = append(in, records.Input{Key: key, Hash: records.HashOf(key), Data: m.data})
	}
	flush(len(batch))
}

// put stores messages to one stream. What a shard's limits refuse is tried again for a
// while: a client of MQTT 3 cannot be told.
func (c *session) put(t *target, in []records.Input, batch []message) {
	out := make([]records.Placed, len(in))
	for began := time.Now(); ; {
		err := t.st.Put(c.ctx, in, out)
		if err != nil && len(batch) > 1 && fault.Is(err, fault.Invalid) { // one is too large: find it
			for i := range batch {
				c.put(t, in[i:i+1], batch[i:i+1])
			}
			return
		}
		if err != nil {
			for _, m := range batch {
				m.answer(err)
			}
			return
		}
		// Answers are in order: up to the first that was refused. Those behind it of the same
		// key would overtake it, so all behind it are put again; they may come twice.
		n := 0
		for n < len(out) && out[n].Err == nil {
			batch[n].answer(nil)
			n++
		}
		if in, out, batch = in[n:], out[n:], batch[n:]; len(in) == 0 {
			return
		}
		select {
		case <-time.After(throttleWait):
		case <-c.ctx.Done():
			began = time.Time{}
		}
		if time.Since(began) > throttleMost {
			for i, m := range batch {
				err := out[i].Err
				if err == nil { // stored, behind one that is not
					err = out[0].Err
				}
				m.answer(err)
			}
			return
		}
	}
}

// target finds the data stream, or makes it on its first use, and asks whether the
// session may put into it. It is asked for each batch anew.
func (c *session) target(name string) (*target, error) {
	if t := c.targets[name]; t != nil {
		if t.held.Err() == nil && t.st.Info().Status != datastream.Deleting {
			return t, nil
		}
		err := context.Cause(t.held)
		t.release()
		delete(c.targets, name)
		if err != nil {
			return nil, err
		}
	}
	if len(c.targets) >= streamsMax {
		return nil, fault.New(fault.Invalid, "publish to", name, "this connection publishes to too many data streams already")
	}
	st, err := c.find(name)
	if err != nil {
		c.s.c.Auth.Note(c.ctx, c.principal, auth.Deed{Action: auth.DataPutRecord, Object: name, Remote: c.remote, Detail: "mqtt", Err: err})
		return nil, err
	}
	deed := auth.Deed{Action: auth.DataPutRecord, Object: st.ARN(), Remote: c.remote, Detail: "mqtt start"}
	c.s.c.Auth.Note(c.ctx, c.principal, deed)
	held, stop := c.s.c.Auth.HoldShared(c.ctx, c.principal, auth.DataPutRecord, st.ARN(), st.Shared, c.about)
	unwatch := context.AfterFunc(held, func() {
		if c.ctx.Err() == nil {
			c.kick(context.Cause(held))
		}
	})
	t := &target{st, held, func() {
		unwatch()
		stop()
		deed.Detail = "mqtt stop"
		c.s.c.Auth.Note(context.WithoutCancel(c.ctx), c.principal, deed)
	}}
	c.targets[name] = t
	return t, nil
}

func (c *session) find(name string) (*datastream.Stream, error) {
	a, region := c.s.c.Auth, c.s.c.Region
	st, err := c.s.c.Catalogue.Get(c.ctx, c.principal.Account, region, name)
	if err == nil {
		err = a.AuthorizeShared(c.principal, auth.DataPutRecord, st.ARN(), st.Shared(), c.about)
		if fault.Is(err, fault.Denied) && a.AuthorizeShared(c.principal, auth.DataDescribeStream, st.ARN(), st.Shared(), c.about) != nil {
			err = fault.New(fault.NotFound, "publish to", name, "no such data stream")
		}
		return st, err
	}
	if !fault.Is(err, fault.NotFound) {
		return nil, err
	}
	arn := datastream.ARN(c.principal.Account, region, name)
	for _, action := range []auth.Action{auth.DataPutRecord, auth.DataCreateStream} {
		if a.Authorize(c.principal, action, arn, c.about) != nil {
			return nil, fault.New(fault.NotFound, "publish to", name, "no such data stream, and this key may not create it")
		}
	}
	// A client that leaves meanwhile must not leave half a stream behind.
	making, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), makeTimeout)
	defer cancel()
	st, err = c.s.c.Catalogue.Ensure(making, c.principal.Account, region, name)
	a.Note(c.ctx, c.principal, auth.Deed{Action: auth.DataCreateStream, Object: arn, Remote: c.remote, Detail: "on a first mqtt message", Err: err})
	return st, err
}
