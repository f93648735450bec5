package kinesis

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/auth"
	"penstock/wire/eventstream"
)

// event is one message of a subscription.
type event struct {
	kind string // of the event or exception
	Body struct {
		Records                    []struct{ SequenceNumber, PartitionKey, Data string }
		ContinuationSequenceNumber string
		MillisBehindLatest         int64
		ChildShards                []struct{ ShardId string }
		Message                    string `json:"message"`
	}
}

// reader reads the events of one subscription.
type reader struct {
	t      *testing.T
	answer *http.Response
	in     *bufio.Reader
}

// subscribe begins a subscription over the client, which must be allowed.
func (r *rig) subscribe(client http.RoundTripper, as auth.Issued, consumer, shard, position string) *reader {
	r.t.Helper()
	body := fmt.Sprintf(`{"ConsumerARN":%q,"ShardId":%q,"StartingPosition":%s}`, consumer, shard, position)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // a machine may be very late
	r.t.Cleanup(cancel)
	answer, err := client.RoundTrip(r.request(ctx, as, "SubscribeToShard", jsonType, []byte(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		r.t.Fatalf("subscribe: %d %s", answer.StatusCode, text)
	}
	s := &reader{t: r.t.(*testing.T), answer: answer, in: bufio.NewReader(answer.Body)}
	if got := s.next(); got.kind != "initial-response" {
		r.t.Fatalf("the first message is %s", got.kind)
	}
	return s
}

func (s *reader) close() { s.answer.Body.Close() }

// next reads one event; at the end of the stream its kind is empty.
func (s *reader) next() (e event) {
	s.t.Helper()
	head := make([]byte, 4)
	if _, err := io.ReadFull(s.in, head); err == io.EOF {
		return e
	} else if err != nil {
		s.t.Fatal(err)
	}
	raw := make([]byte, int(head[0])<<24|int(head[1])<<16|int(head[2])<<8|int(head[3]))
	copy(raw, head)
	if _, err := io.ReadFull(s.in, raw[4:]); err != nil {
		s.t.Fatal(err)
	}
	m, _, err := eventstream.Decode(raw)
	if err != nil {
		s.t.Fatal(err)
	}
	e.kind = m.Get(":event-type") + m.Get(":exception-type")
	if err := json.Unmarshal(m.Payload, &e.Body); err != nil {
		s.t.Fatalf("%s: %v", m.Payload, err)
	}
	return e
}

// nextRecords reads events until one has records.
func (s *reader) nextRecords() event {
	for {
		if e := s.next(); e.kind != "SubscribeToShardEvent" || len(e.Body.Records) > 0 {
			return e
		}
	}
}

func h2c() *http.Transport {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	return tr
}

// consumer makes a stream of n shards with one consumer, whose ARN it returns.
func (r *rig) consumer(stream string, n int) string {
	r.ok("CreateStream", fmt.Sprintf(`{"StreamName":%q,"ShardCount":%d}`, stream, n))
	out := r.ok("RegisterStreamConsumer", fmt.Sprintf(`{"StreamARN":%q,"ConsumerName":"c"}`, streamARN(stream)))
	return out["Consumer"].(map[string]any)["ConsumerARN"].(string)
}

func (r *rig) put(stream, key string) string {
	out := r.ok("PutRecord", fmt.Sprintf(`{"StreamName":%q,"Data":"aGk=","PartitionKey":%q,"ExplicitHashKey":"0"}`, stream, key))
	return out["SequenceNumber"].(string)
}

func TestRecordsArriveOverBothProtocolsAndAreResumed(t *testing.T) {
	for name, client := range map[string]*http.Transport{"HTTP/1.1": {}, "h2c": h2c()} {
		t.Run(name, func(t *testing.T) {
			defer client.CloseIdleConnections()
			r := newRig(t, options{})
			arn := r.consumer("s", 1)
			s := r.subscribe(client, r.admin, arn, "shardId-000000000000", `{"Type":"LATEST"}`)
			if want := strings.TrimPrefix(name, "h2c"); want != "" && s.answer.Proto != want || want == "" && s.answer.ProtoMajor != 2 {
				t.Fatalf("spoken over %s", s.answer.Proto)
			}
			if got := s.answer.Header.Get("Content-Type"); got != "application/vnd.amazon.eventstream" {
				t.Fatal(got)
			}
			first := r.put("s", "a")
			got := s.nextRecords()
			if len(got.Body.Records) != 1 || got.Body.Records[0].SequenceNumber != first || got.Body.Records[0].PartitionKey != "a" {
				t.Fatalf("%+v", got)
			}
			s.close()
			second := r.put("s", "b")
			for _, kind := range []string{"AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"} {
				again := r.again(client, arn, fmt.Sprintf(`{"Type":%q,"SequenceNumber":%q}`, kind, got.Body.ContinuationSequenceNumber))
				if e := again.nextRecords(); len(e.Body.Records) != 1 || e.Body.Records[0].SequenceNumber != second {
					t.Fatalf("resumed %s the continuation: %+v", kind, e)
				}
				again.close()
			}
		})
	}
}

// again subscribes once the subscription before has noticed that its reader left.
func (r *rig) again(client http.RoundTripper, arn, position string) *reader {
	r.t.Helper()
	r.idle()
	return r.subscribe(client, r.admin, arn, "shardId-000000000000", position)
}

// idle waits until no subscription is under way.
func (r *rig) idle() {
	for {
		r.server.subs.mu.Lock()
		var sub *subscription
		for _, sub = range r.server.subs.held {
			break
		}
		r.server.subs.mu.Unlock()
		if sub == nil {
			return
		}
		<-sub.ctx.Done()
	}
}

func TestASilentShardHasHeartbeatsAndTheSessionEnds(t *testing.T) {
	r := newRig(t, options{clock: &handClock{}, kinesis: Config{Heartbeat: 20 * time.Millisecond, SubscriptionLife: time.Hour}})
	arn := r.consumer("s", 1)
	s := r.subscribe(http.DefaultTransport, r.admin, arn, "0", `{"Type":"TRIM_HORIZON"}`)
	defer s.close()
	var numbers []string
	moved := func() bool { return len(numbers) >= 3 && numbers[0] != numbers[len(numbers)-1] }
	for over := false; ; {
		e := s.next()
		if e.kind == "" {
			break
		}
		if e.kind != "SubscribeToShardEvent" || len(e.Body.Records) != 0 || e.Body.ContinuationSequenceNumber == "" {
			t.Fatalf("%+v", e)
		}
		if numbers = append(numbers, e.Body.ContinuationSequenceNumber); moved() && !over {
			over = true
			r.clock.add(time.Hour)
		}
	}
	if !moved() || !slices.IsSorted(numbers) {
		t.Fatalf("the number to go on from does not move with the time: %v", numbers)
	}
}

func TestOneSubscriptionReadsAShardAtATime(t *testing.T) {
	r := newRig(t, options{})
	arn := r.consumer("s", 1)
	body := fmt.Sprintf(`{"ConsumerARN":%q,"ShardId":"0","StartingPosition":{"Type":"LATEST"}}`, arn)
	s := r.subscribe(http.DefaultTransport, r.admin, arn, "0", `{"Type":"LATEST"}`)
	defer s.close()
	want := "Another active subscription exists for this consumer: 000000000000:s:shardId-000000000000:c"
	if got := r.fails(r.admin, "SubscribeToShard", body, "ResourceInUseException"); got != want {
		t.Fatal(got)
	}
	r.clock.add(5 * time.Second)
	next := r.subscribe(http.DefaultTransport, r.admin, arn, "0", `{"Type":"LATEST"}`)
	defer next.close()
	e := s.next()
	for e.kind == "SubscribeToShardEvent" {
		e = s.next()
	}
	if e.kind != "ResourceInUseException" || e.Body.Message != want {
		t.Fatalf("the first one ended with %+v", e)
	}
	r.put("s", "a")
	if e := next.nextRecords(); len(e.Body.Records) != 1 {
		t.Fatalf("%+v", e)
	}
}

func TestASubscriptionEndsWithItsKeyItsConsumerAndItsStream(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*rig, auth.Issued)
		want string
	}{
		"key": {func(r *rig, k auth.Issued) {
			must[struct{}](r.t)(struct{}{}, r.auth.RemoveKey(context.Background(), k.ID))
		}, "AccessDeniedException"},
		"consumer": {func(r *rig, _ auth.Issued) {
			r.ok("DeregisterStreamConsumer", fmt.Sprintf(`{"StreamARN":%q,"ConsumerName":"c"}`, streamARN("s")))
		}, "ResourceNotFoundException"},
		"stream": {func(r *rig, _ auth.Issued) { r.ok("DeleteStream", `{"StreamName":"s","EnforceConsumerDeletion":true}`) }, "ResourceNotFoundException"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{})
			arn := r.consumer("s", 1)
			worker := r.key(auth.NewKey{Role: auth.RoleWorker})
			s := r.subscribe(http.DefaultTransport, worker, arn, "0", `{"Type":"LATEST"}`)
			defer s.close()
			c.end(r, worker)
			e := s.next()
			for e.kind == "SubscribeToShardEvent" {
				e = s.next()
			}
			if e.kind != c.want {
				t.Fatalf("it ended with %+v", e)
			}
		})
	}
}

func TestAReaderWhoDoesNotReadHoldsUpNobody(t *testing.T) {
	r := newRig(t, options{})
	arn := r.consumer("s", 1)
	other := r.ok("RegisterStreamConsumer", fmt.Sprintf(`{"StreamARN":%q,"ConsumerName":"d"}`, streamARN("s")))["Consumer"].(map[string]any)["ConsumerARN"].(string)
	small := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(64 << 10)
		}
		return c, err
	}}
	defer small.CloseIdleConnections()
	stuck := r.subscribe(small, r.admin, arn, "0", `{"Type":"TRIM_HORIZON"}`)
	defer stuck.close()
	reading := r.subscribe(http.DefaultTransport, r.admin, other, "0", `{"Type":"TRIM_HORIZON"}`)
	defer reading.close()
	data := strings.Repeat("A", 1<<20)
	const n = 24 // far more than sockets and windows hold
	got := make(chan int, 1)
	go func() {
		defer close(got) // when it fails, too
		sum := 0
		for sum < n {
			sum += len(reading.nextRecords().Body.Records)
		}
		got <- sum
	}()
	for range n {
		r.ok("PutRecord", fmt.Sprintf(`{"StreamName":"s","Data":%q,"PartitionKey":"a"}`, data))
	}
	if sum := <-got; sum != n {
		t.Fatalf("%d records", sum)
	}
	if e := stuck.nextRecords(); len(e.Body.Records) == 0 {
		t.Fatal("whoever begins to read again gets what waits")
	}
}
