package datastream

import (
	"context"
	"database/sql"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/internal/fault"
)

// Consumers is the registered readers, by name. It is an immutable snapshot.
func (s *Stream) Consumers() []Consumer { return *s.readers.Load() }

// Consumer finds a registered reader. Unknown: fault.NotFound.
func (s *Stream) Consumer(name string) (Consumer, error) {
	list := s.Consumers()
	i, ok := slices.BinarySearchFunc(list, name, func(c Consumer, name string) int { return strings.Compare(c.Name, name) })
	if !ok {
		return Consumer{}, fault.New(fault.NotFound, "find consumer", name, "no such consumer")
	}
	return list[i], nil
}

// putConsumer puts c into the snapshot, or takes it out when its Status is empty. The
// caller holds s.mu, or nobody else knows s yet.
func (s *Stream) putConsumer(c Consumer) {
	list := slices.Clone(s.Consumers())
	i, ok := slices.BinarySearchFunc(list, c.Name, func(c Consumer, name string) int { return strings.Compare(c.Name, name) })
	switch {
	case c.Status == "" && ok:
		list = slices.Delete(list, i, i+1)
	case c.Status == "":
	case ok:
		list[i] = c
	default:
		list = slices.Insert(list, i, c)
	}
	s.readers.Store(&list)
	close(s.readersChanged)
	s.readersChanged = make(chan struct{})
}

// saveConsumer writes c down; an empty Status deletes it.
func (s *Stream) saveConsumer(ctx context.Context, c Consumer) error {
	doc, err := json.Marshal(consumerRow{Created: c.Created.Unix(), Status: c.Status, Tags: c.Tags, Policy: c.Policy})
	if err != nil {
		return err
	}
	err = s.c.c.Meta.Write(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
		if c.Status == "" {
			_, err := tx.Exec(`DELETE FROM datastream_consumer WHERE stream = ? AND name = ?`, s.id, c.Name)
			return err
		}
		_, err := tx.Exec(`INSERT INTO datastream_consumer (stream, name, doc) VALUES (?, ?, ?)
			ON CONFLICT (stream, name) DO UPDATE SET doc = excluded.doc`, s.id, c.Name, string(doc))
		return err
	})
	if err != nil {
		return fault.Wrap(fault.Unavailable, "write down consumer", c.Name, err)
	}
	s.putConsumer(c)
	return nil
}

// Register makes a consumer: CREATING for StateDelay, then ACTIVE. Refusals: Taken,
// ConsumerQuota; fault.NotFound: the stream is being deleted.
func (s *Stream) Register(ctx context.Context, name string, tags map[string]string) (Consumer, error) {
	const op = "register consumer"
	if err := CheckName(name); err != nil {
		return Consumer{}, err
	}
	if len(tags) > TagsMax {
		return Consumer{}, refuse(op, name, &Refusal{Reason: TagQuota, Count: len(tags), Limit: TagsMax})
	}
	most := ConsumersMax
	if s.c.Account(s.account, s.region).Committed {
		most = ConsumersMaxPlus
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Info().Status == Deleting {
		return Consumer{}, fault.New(fault.NotFound, op, name, "the stream is being deleted")
	}
	if _, err := s.Consumer(name); err == nil {
		return Consumer{}, refuse(op, name, &Refusal{Reason: Taken})
	}
	if n := len(s.Consumers()); n >= most {
		return Consumer{}, refuse(op, name, &Refusal{Reason: ConsumerQuota, Count: n, Limit: most})
	}
	// One that is registered again has another ARN, also in the same second.
	now := s.c.c.Clock.Now().Unix()
	second := max(now, s.lastMade[name]+1)
	// Only names made in this second could make the same ARN again.
	maps.DeleteFunc(s.lastMade, func(_ string, at int64) bool { return at < now })
	c := Consumer{Name: name, Created: time.Unix(second, 0).UTC(), Status: Creating, Tags: copyTags(tags), stream: s.arn}
	if s.c.c.StateDelay <= 0 {
		c.Status = Active
	}
	if err := s.saveConsumer(ctx, c); err != nil {
		return Consumer{}, err
	}
	s.lastMade[name] = second
	if c.Status == Creating {
		s.pass(c)
	} else {
		c.Status = Creating // what the answer to the call says, as the service's does
	}
	return c, nil
}

// Deregister takes a consumer away: DELETING for StateDelay, then gone. Subscriptions of
// it end. Refusals: none; fault.NotFound: there is none of this name.
func (s *Stream) Deregister(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.Consumer(name)
	if err != nil {
		return err
	}
	if c.Status == Deleting {
		return nil
	}
	if c.Status = Deleting; s.c.c.StateDelay <= 0 {
		c.Status = ""
	}
	if err := s.saveConsumer(ctx, c); err != nil {
		return err
	}
	if c.Status == Deleting {
		s.pass(c)
	}
	return nil
}

// pass has a consumer taken out of the state that it is in, beside all else. The caller
// holds s.mu.
func (s *Stream) pass(c Consumer) {
	s.c.later(func(ctx context.Context) { s.finishConsumer(ctx, c) })
}

// finishConsumer takes a consumer out of the state that it was seen in.
func (s *Stream) finishConsumer(ctx context.Context, seen Consumer) {
	for s.c.pause(ctx, max(s.c.c.StateDelay, time.Millisecond)) {
		s.mu.Lock()
		c, err := s.Consumer(seen.Name)
		if err != nil || c.Status != seen.Status || !c.Created.Equal(seen.Created) {
			s.mu.Unlock()
			return
		}
		if c.Status == Creating {
			c.Status = Active
		} else {
			c.Status = ""
		}
		err = s.saveConsumer(ctx, c)
		s.mu.Unlock()
		if err == nil {
			return
		}
		s.c.log.Error("a change of a consumer waits for storage", "stream", s.name, "consumer", seen.Name, "err", err)
		s.c.pause(ctx, retryAfter)
	}
}

// resumeConsumers goes on with what a stop interrupted.
func (s *Stream) resumeConsumers(ctx context.Context, work *sync.WaitGroup) {
	for _, c := range s.Consumers() {
		if c.Status == Creating || c.Status == Deleting {
			work.Go(func() { s.finishConsumer(ctx, c) })
		}
	}
}

// TagConsumer adds tags to a consumer and takes others away. Refusals: TagQuota.
func (s *Stream) TagConsumer(ctx context.Context, name string, add map[string]string, remove []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.Consumer(name)
	if err != nil {
		return err
	}
	if c.Tags, err = retag(c.Tags, add, remove); err != nil {
		return fault.Wrap(fault.Invalid, "tag consumer", name, err)
	}
	return s.saveConsumer(ctx, c)
}

// SetConsumerPolicy sets the resource policy of a consumer as text; "" removes it. The
// caller has checked it.
func (s *Stream) SetConsumerPolicy(ctx context.Context, name, policy string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.Consumer(name)
	if err != nil {
		return err
	}
	c.Policy = policy
	return s.saveConsumer(ctx, c)
}
