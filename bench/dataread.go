package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"penstock/internal/loadgen"
	"penstock/wire/eventstream"
)

const readLimit = 10_000 // of GetRecords, its most

// fill puts at least n records into stream and returns how many there are.
func (e *endpoint) fill(ctx context.Context, stream string, conns, n int) (int, error) {
	_, asCBOR := codecs()
	l := loadgen.PutLoad{Conns: conns, Batch: 500, Codec: asCBOR}
	bodies, err := l.Bodies(stream)
	if err != nil {
		return 0, err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	var (
		asked, stored atomic.Int64
		all           sync.WaitGroup
		errs          = make([]error, conns)
	)
	for i := range conns {
		all.Go(func() {
			c, err := e.Open(ctx)
			for k := i; err == nil && asked.Add(int64(l.Batch)) <= int64(n+l.Batch-1); k++ {
				var status int
				if status, err = c.Call(l.Op(), l.Codec.ContentType, bodies[k%loadgen.Variety]); err == nil && (status != http.StatusOK || len(loadgen.Failed(c.Answer, l, status)) > 0) {
					err = fmt.Errorf("%d %.200q", status, c.Answer)
				}
				if err == nil {
					stored.Add(int64(l.Batch))
				}
			}
			errs[i] = err
		})
	}
	all.Wait()
	return int(stored.Load()), errors.Join(errs...)
}

// read asks for the next page of a shard and counts its records.
func read(c *loadgen.Conn, codec loadgen.Codec, iterator string, limit int) (n int, next string, err error) {
	b, err := loadgen.NewBody(codec, obj{"ShardIterator": iterator, "Limit": limit})
	if err != nil {
		return 0, "", err
	}
	status, err := c.Call("GetRecords", codec.ContentType, b)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GetRecords: %d %.200q", status, c.Answer)
	}
	return recordsIn(c.Answer), nextIterator(c.Answer, codec), err
}

// drain reads all shards of stream from their oldest record on, over and over.
func (e *endpoint) drain(ctx context.Context, stream string, codec loadgen.Codec, d time.Duration) (*loadgen.Tally, error) {
	ids, err := e.shards(ctx, stream)
	if err != nil {
		return nil, err
	}
	return e.Window(ctx, d, len(ids), nil, func(c *loadgen.Conn, r *loadgen.Tally, i int, start, stop time.Time) error {
		iterator := ""
		for time.Now().Before(stop) {
			if iterator == "" {
				if iterator, err = e.iterator(ctx, stream, ids[i]); err != nil {
					return err
				}
			}
			began := time.Now()
			n, next, err := read(c, codec, iterator, readLimit)
			if err != nil {
				return err
			}
			if iterator = next; n == 0 {
				iterator = ""
			}
			if now := time.Now(); !now.Before(start) && !now.After(stop) {
				r.Records += n
				r.Waits = append(r.Waits, now.Sub(began))
			}
		}
		return nil
	})
}

// readAll reads a stream once, all shards at once, and returns its records and how long
// that took. Every page must have records until as many came as there are.
func (e *endpoint) readAll(ctx context.Context, stream string, records int) (time.Duration, error) {
	_, asCBOR := codecs()
	ids, err := e.shards(ctx, stream)
	if err != nil {
		return 0, err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	began, errs := time.Now(), make([]error, len(ids))
	var found atomic.Int64
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() {
			iterator, err := e.iterator(ctx, stream, id)
			var c *loadgen.Conn
			if err == nil {
				c, err = e.Open(ctx)
			}
			for n := 1; err == nil && n > 0; {
				n, iterator, err = read(c, asCBOR, iterator, readLimit)
				found.Add(int64(n))
			}
			errs[i] = err
		})
	}
	all.Wait()
	if n := int(found.Load()); n != records {
		errs = append(errs, fmt.Errorf("%d records of %d were read back", n, records))
	}
	return time.Since(began), errors.Join(errs...)
}

// consumer registers one and returns its ARN once it is active.
func (e *endpoint) consumer(ctx context.Context, stream, name string) (string, error) {
	var reg struct{ Consumer struct{ ConsumerARN string } }
	if err := e.Control(ctx, "RegisterStreamConsumer", obj{"StreamARN": stream, "ConsumerName": name}, &reg); err != nil {
		return "", err
	}
	for {
		var d struct {
			ConsumerDescription struct{ ConsumerStatus string }
		}
		if err := e.Control(ctx, "DescribeStreamConsumer", obj{"ConsumerARN": reg.Consumer.ConsumerARN}, &d); err != nil {
			return "", err
		}
		if d.ConsumerDescription.ConsumerStatus == "ACTIVE" {
			return reg.Consumer.ConsumerARN, nil
		}
		if !loadgen.Sleep(ctx, 20*time.Millisecond) {
			return "", ctx.Err()
		}
	}
}

// subscription is one open SubscribeToShard. It goes over HTTP/2, as the SDKs' do.
type subscription struct {
	res    *http.Response
	opened time.Time
	waits  []time.Duration // from before the put to the event in hand
}

func (e *endpoint) subscribe(ctx context.Context, client *http.Client, consumer, shard string) (*subscription, error) {
	text, err := json.Marshal(obj{"ConsumerARN": consumer, "ShardId": shard, "StartingPosition": obj{"Type": "LATEST"}})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+e.Address+"/", bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "Kinesis_20131202.SubscribeToShard")
	e.Signer.SignHash(r, loadgen.BodyOf(text).Hash(), time.Now())
	res, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("SubscribeToShard: %s", res.Status)
	}
	return &subscription{res: res}, nil
}

// follow reads events until the body ends, and counts what arrives.
func (s *subscription) follow(arrived *atomic.Int64) error {
	defer s.res.Body.Close()
	buf, chunk := make([]byte, 0, 1<<20), make([]byte, 64<<10)
	for {
		n, err := s.res.Body.Read(chunk)
		now := time.Now()
		buf = append(buf, chunk[:n]...)
		rest := buf
		for {
			m, size, err := eventstream.Decode(rest)
			if errors.Is(err, eventstream.ErrShort) {
				break
			}
			if err != nil {
				return err
			}
			if m.Get(":message-type") == "exception" {
				return fmt.Errorf("%s: %s", m.Get(":exception-type"), m.Payload)
			}
			arrived.Add(int64(s.take(m.Payload, now)))
			rest = rest[size:]
		}
		buf = append(buf[:0], rest...)
		if err != nil {
			return nil // the test ends it
		}
	}
}

// take notes the age of each record: its data begins with when it was put.
func (s *subscription) take(payload []byte, now time.Time) (n int) {
	key := []byte(`"Data":"`)
	var stamp [9]byte
	for {
		i := bytes.Index(payload, key)
		if i < 0 || len(payload) < i+len(key)+12 {
			return n
		}
		payload = payload[i+len(key):]
		if _, err := base64.StdEncoding.Decode(stamp[:], payload[:12]); err != nil {
			return n
		}
		n++
		put := time.Unix(0, int64(binary.BigEndian.Uint64(stamp[:])))
		if put.After(s.opened) {
			s.waits = append(s.waits, now.Sub(put))
		}
	}
}

// delivery measures from before a put to the event in the hand of each of n consumers,
// at 1,000 records a second in 50 requests, over four shards.
func (e *endpoint) delivery(ctx context.Context, n int, d time.Duration) (*loadgen.Tally, error) {
	stream := fmt.Sprintf("fan-%d", n)
	arn, err := e.CreateStream(ctx, stream, 4)
	if err != nil {
		return nil, err
	}
	ids, err := e.shards(ctx, stream)
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	var (
		subs    []*subscription
		all     sync.WaitGroup
		arrived atomic.Int64
		errs    = make([]error, n*len(ids))
	)
	for i := range n {
		consumer, err := e.consumer(ctx, arn, fmt.Sprintf("consumer-%d", i))
		if err != nil {
			return nil, err
		}
		var p http.Protocols
		p.SetUnencryptedHTTP2(true)
		client := &http.Client{Transport: &http.Transport{Protocols: &p, DisableCompression: true}}
		for _, id := range ids {
			s, err := e.subscribe(ctx, client, consumer, id)
			if err != nil {
				return nil, err
			}
			subs = append(subs, s)
		}
	}
	for i, s := range subs {
		s.opened = time.Now().Add(loadgen.WarmUp) // counted from then on
		all.Go(func() { errs[i] = s.follow(&arrived) })
	}
	from, err := loadgen.ReadProcess(e.PID)
	if err != nil {
		return nil, err
	}
	own, busy, began := loadgen.OwnCPU(), loadgen.MachineCPU(), time.Now()
	sent, err := e.pace(ctx, stream, 1000, loadgen.WarmUp+d)
	r := &loadgen.Tally{}
	for wait := 0; err == nil && arrived.Load() < int64(sent*n) && wait < 500; wait++ {
		loadgen.Sleep(ctx, 10*time.Millisecond)
	}
	to, err2 := loadgen.ReadProcess(e.PID)
	r.Seconds = time.Since(began).Seconds()
	r.Generator, busy = (loadgen.OwnCPU()-own)/r.Seconds, loadgen.MachineCPU()-busy
	end()
	all.Wait()
	r.Records, r.CPU, r.RSS, r.Peak = int(arrived.Load()), (to.CPU - from.CPU).Seconds(), float64(to.RSS)/1e6, float64(to.Peak)/1e6
	r.Others = max(0, (busy-r.CPU)/r.Seconds-r.Generator)
	for _, s := range subs {
		r.Waits = append(r.Waits, s.waits...)
	}
	if r.Records != sent*n {
		err = errors.Join(err, fmt.Errorf("%d records were put, %d delivered to %d consumers", sent, r.Records, n))
	}
	return r, errors.Join(append(errs, err, err2, e.DeleteStream(context.WithoutCancel(ctx), stream))...)
}

// pace puts records that say when they were put, evenly, in 50 requests a second.
func (e *endpoint) pace(ctx context.Context, stream string, rate int, d time.Duration) (sent int, err error) {
	_, asCBOR := codecs()
	l := loadgen.PutLoad{Conns: 1, Batch: rate / 50, Codec: asCBOR}
	bodies, err := l.Bodies(stream)
	if err != nil {
		return 0, err
	}
	c, err := e.Open(ctx)
	if err != nil {
		return 0, err
	}
	tick := time.NewTicker(time.Second / 50)
	defer tick.Stop()
	// Data is a byte string behind its key and the three bytes of its length.
	key := append([]byte("Data"), 0x59, recordSize>>8, recordSize&0xff)
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-tick.C
		data := slices.Clone(bodies[0].Bytes)
		now := uint64(time.Now().UnixNano())
		for rest := data; ; {
			i := bytes.Index(rest, key)
			if i < 0 {
				break
			}
			binary.BigEndian.PutUint64(rest[i+len(key):], now)
			rest = rest[i+len(key)+recordSize:]
		}
		status, err := c.Call(l.Op(), l.Codec.ContentType, loadgen.BodyOf(data))
		if err != nil {
			return sent, err
		}
		if status != http.StatusOK || len(loadgen.Failed(c.Answer, l, status)) > 0 {
			return sent, fmt.Errorf("%d %.200q", status, c.Answer)
		}
		sent += l.Batch
	}
	return sent, nil
}
