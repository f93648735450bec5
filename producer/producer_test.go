package producer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSmallRecordsTravelTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		p := start(t, f, Config{})
		var got []Result
		for i := range 100 {
			if err := p.Put(t.Context(), Record{Key: fmt.Sprint("key-", i%5), Data: []byte(fmt.Sprint(i))}, func(r Result) { got = append(got, r) }); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(90 * time.Millisecond)
		if len(f.all()) != 0 {
			t.Error("sent before its time")
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if len(f.requests) != 1 || f.plain != 2 || len(f.log) != 100 || len(got) != 100 {
			t.Fatalf("%v requests, %d records on the wire, %d stored, %d told", f.requests, f.plain, len(f.log), len(got))
		}
		if r := got[1]; r.Err != nil || r.Sequence == "" || r.Sub < 0 || r.Attempts != 1 || !strings.HasPrefix(r.Shard, "shardId-") {
			t.Errorf("result %+v", r)
		}
		if s := p.Stats(); s.Stored != 100 || s.Pending != 0 || s.Requests != 1 {
			t.Errorf("figures %+v", s)
		}
	})
}

func TestARecordAloneIsPutAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		p := start(t, f, Config{})
		res, err := p.PutWait(t.Context(), Record{Key: "k", Data: []byte("x"), Hash: "7"})
		if err != nil || res.Sub != -1 || f.log[0] != (stored{"shardId-000000000000", "k", "x", -1}) {
			t.Errorf("%+v %v %v", res, err, f.log)
		}
	})
}

func TestRequestsStayWithinTheLimits(t *testing.T) {
	for name, c := range map[string]Config{
		"aggregated":     {AggregateBytes: 20 << 10, RequestBytes: 1 << 20, RequestRecords: 20},
		"one by one":     {AggregateBytes: -1, RequestBytes: 1 << 20, RequestRecords: 50},
		"unordered":      {AggregateBytes: -1, Unordered: true, RequestBytes: 1 << 20, RequestRecords: 50},
		"small requests": {AggregateBytes: 1 << 10, RecordBytes: 64 << 10, RequestBytes: 64 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(8)
				p := start(t, f, c)
				rnd := rand.New(rand.NewPCG(1, 1))
				for i := range 3000 {
					n := rnd.IntN(300)
					if i%50 == 0 {
						n = 60 << 10
					}
					if err := p.Put(t.Context(), Record{Key: fmt.Sprint(rnd.IntN(400)), Data: make([]byte, n)}, nil); err != nil {
						t.Fatal(err)
					}
				}
				if err := p.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(f.log) != 3000 || f.biggest > p.c.RequestBytes || f.most > p.c.RecordBytes {
					t.Errorf("%d stored; the biggest request has %d bytes, the biggest record %d", len(f.log), f.biggest, f.most)
				}
				for _, n := range f.requests {
					if n > p.c.RequestRecords {
						t.Errorf("a request of %d records", n)
					}
				}
			})
		})
	}
}

// TestOrderOfAKeySurvivesFaults throws all at once at it: throttled records, failing
// requests, lost answers, a reshard.
func TestOrderOfAKeySurvivesFaults(t *testing.T) {
	for _, mode := range []struct {
		name string
		c    Config
	}{
		{"aggregates", Config{AggregateBytes: 400}}, {"aggregates in CBOR", Config{AggregateBytes: 400, CBOR: true}},
		{"one by one", Config{AggregateBytes: -1}}, {"no waiting", Config{BufferedTime: -1, AggregateBytes: -1}},
	} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprint(mode.name, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rnd, pace := rand.New(rand.NewPCG(seed, 9)), rand.New(rand.NewPCG(seed, 8)) // the server's and ours
					f := newFake(3)
					f.before = func(string, int) error {
						switch rnd.IntN(12) {
						case 0:
							return errLost
						case 1:
							return &ServiceError{Code: "InternalFailureException", Status: 500}
						case 2:
							return &ServiceError{Code: "LimitExceededException", Status: 400}
						}
						return nil
					}
					f.lose = func(int) bool { return rnd.IntN(8) == 0 }
					f.refuse = func(int, shard, wireRecord) string {
						switch rnd.IntN(6) {
						case 0:
							return "ProvisionedThroughputExceededException"
						case 1:
							return "InternalFailure"
						}
						return ""
					}
					c := mode.c
					c.Life = -1
					p := start(t, f, c)
					const keys, each = 12, 60
					told := map[string]int{}
					for n := range each {
						for k := range keys {
							key := fmt.Sprint("key-", k)
							if err := p.Put(t.Context(), Record{Key: key, Data: []byte(fmt.Sprint(n))}, func(r Result) {
								if r.Err != nil || told[key] != n {
									t.Errorf("%s: told %d after %d: %v", key, n, told[key]-1, r.Err)
								}
								told[key]++
							}); err != nil {
								t.Fatal(err)
							}
						}
						if n == 20 || n == 40 {
							f.split(n / 20)
						}
						time.Sleep(time.Duration(pace.IntN(30)) * time.Millisecond)
					}
					if err := p.Close(t.Context()); err != nil {
						t.Fatal(err)
					}
					keepsOrder(t, f.log, keys, each)
				})
			})
		}
	}
}

func TestAfterAReshardNothingIsLeftInAWrongShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		p := start(t, f, Config{})
		if _, err := p.PutWait(t.Context(), Record{Key: "key-0", Data: []byte("0")}); err != nil {
			t.Fatal(err)
		}
		f.split(0)
		for n := 1; n < 30; n++ {
			if err := p.Put(t.Context(), Record{Key: "key-0", Data: []byte(fmt.Sprint(n))}, nil); err != nil {
				t.Fatal(err)
			}
			if err := p.Put(t.Context(), Record{Key: "key-1", Data: []byte(fmt.Sprint(n - 1))}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen := map[string]string{}
		for _, s := range f.log[1:] {
			seen[s.key] += s.data + " "
		}
		if n := strings.Count(seen["key-0"]+seen["key-1"], " "); n != 58 || hashOf("key-0")[0]>>7 == hashOf("key-1")[0]>>7 {
			t.Errorf("%d records are readable of 58: %v", n, seen)
		}
	})
}

func TestAThrottledShardDoesNotHoldUpOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		slow := f.shards[0].id
		f.refuse = func(_ int, s shard, _ wireRecord) string {
			if s.id == slow && time.Now().Before(time.Date(2000, 1, 1, 0, 0, 3, 0, time.UTC)) {
				return "ProvisionedThroughputExceededException"
			}
			return ""
		}
		var throttled int
		p := start(t, f, Config{Observe: func(r Request) { throttled += r.Throttled }})
		began := time.Now()
		took := map[byte]time.Duration{}
		var wg sync.WaitGroup
		for i := range 20 {
			key := fmt.Sprint("key-", i)
			wg.Add(1)
			if err := p.Put(t.Context(), Record{Key: key}, func(Result) { took[hashOf(key)[0]>>7] = time.Since(began); wg.Done() }); err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
		if took[1] > 200*time.Millisecond || took[0] < 3*time.Second || throttled == 0 || throttled > 12 {
			t.Errorf("the throttled shard took %v, the other %v, after %d refusals", took[0], took[1], throttled)
		}
	})
}

func TestARecordThatIsRefusedDoesNotTakeOthersWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(4)
		f.check = func(_ *http.Request, body []byte) error {
			if strings.Contains(string(body), `"PartitionKey":"bad"`) {
				return &ServiceError{Code: "ValidationException", Message: "1 validation error detected", Status: 400}
			}
			return nil
		}
		p := start(t, f, Config{AggregateBytes: -1})
		results := map[string]error{}
		for _, key := range []string{"a", "b", "bad", "c", "d"} {
			if err := p.Put(t.Context(), Record{Key: key}, func(r Result) { results[key] = r.Err }); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var refusal *ServiceError
		if len(f.log) != 4 || !errors.As(results["bad"], &refusal) || refusal.Code != "ValidationException" || results["d"] != nil {
			t.Errorf("stored %v, told %v", f.log, results)
		}
	})
}

func TestPutWaitsWhileTooMuchIsUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		down := true
		f.before = func(string, int) error {
			if down {
				return errLost
			}
			return nil
		}
		p := start(t, f, Config{PendingBytes: 100 << 10, Life: -1})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n := 0
		for ; ; n++ {
			if err := p.Put(ctx, Record{Key: "k", Data: make([]byte, 10<<10)}, nil); err != nil {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				break
			}
		}
		if n != 9 {
			t.Errorf("%d records of 10 KiB went into 100 KiB", n)
		}
		f.mu.Lock()
		down = false
		f.mu.Unlock()
		for range 50 {
			if err := p.Put(t.Context(), Record{Key: "k", Data: make([]byte, 10<<10)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Flush(t.Context()); err != nil || len(f.log) != 59 {
			t.Errorf("%d stored, %v", len(f.log), err)
		}
	})
}

func TestARecordIsGivenUpWhenItsTimeIsUp(t *testing.T) {
	for name, aggregate := range map[string]int{"shards unknown": 0, "put fails": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				f.before = func(string, int) error {
					return &ServiceError{Code: "ResourceNotFoundException", Message: "Stream sensors not found.", Status: 400}
				}
				p := start(t, f, Config{AggregateBytes: aggregate, Life: 20 * time.Second})
				began := time.Now()
				_, err := p.PutWait(t.Context(), Record{Key: "k"})
				if took := time.Since(began); !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "Stream sensors not found.") || took < 20*time.Second || took > 30*time.Second {
					t.Errorf("%v after %v", err, took)
				}
			})
		})
	}
}

func TestWaitingRecordsAreLoggedOnceAMinute(t *testing.T) {
	for name, aggregate := range map[string]int{"shards unknown": 0, "put fails": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(1)
				f.before = func(string, int) error {
					return &ServiceError{Code: "ResourceNotFoundException", Message: "Stream sensors not found.", Status: 400}
				}
				var out bytes.Buffer
				p := start(t, f, Config{AggregateBytes: aggregate, Life: 150 * time.Second, Logger: slog.New(slog.NewTextHandler(&out, nil))})
				if _, err := p.PutWait(t.Context(), Record{Key: "k"}); !errors.Is(err, ErrExpired) {
					t.Fatal(err)
				}
				if n := strings.Count(out.String(), "Stream sensors not found."); n != 3 {
					t.Errorf("%d lines in 150 s, want 3:\n%s", n, &out)
				}
			})
		})
	}
}

func TestARefusedCallerIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.before = func(string, int) error { return &ServiceError{Code: "AccessDeniedException", Status: 400} }
		p := start(t, f, Config{})
		began := time.Now()
		_, err := p.PutWait(t.Context(), Record{Key: "k"})
		var s *ServiceError
		if !errors.As(err, &s) || s.Code != "AccessDeniedException" || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestWhoMayNotListShardsAggregatesByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		f.before = func(operation string, _ int) error {
			if operation == "ListShards" {
				return &ServiceError{Code: "AccessDeniedException", Status: 400}
			}
			return nil
		}
		p := start(t, f, Config{})
		for n := range 50 {
			for k := range 3 {
				if err := p.Put(t.Context(), Record{Key: fmt.Sprint("key-", k), Data: []byte(fmt.Sprint(n))}, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := p.Flush(t.Context()); err != nil || f.plain != 3 {
			t.Errorf("%d records on the wire, %v", f.plain, err)
		}
		keepsOrder(t, f.log, 3, 50)
	})
}

func TestClose(t *testing.T) {
	t.Run("sends what is left", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(2)
			p := start(t, f, Config{BufferedTime: time.Hour})
			for i := range 10 {
				if err := p.Put(t.Context(), Record{Key: fmt.Sprint(i)}, nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(p.Close(t.Context()), p.Close(t.Context())); err != nil || len(f.log) != 10 {
				t.Errorf("%d stored, %v", len(f.log), err)
			}
			if err := p.Put(t.Context(), Record{Key: "k"}, nil); !errors.Is(err, ErrClosed) {
				t.Errorf("put after close: %v", err)
			}
		})
	})
	t.Run("gives up at its deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(2)
			f.latency = time.Hour
			p := start(t, f, Config{Life: -1, Timeout: 2 * time.Hour})
			var fate error
			if err := p.Put(t.Context(), Record{Key: "k"}, func(r Result) { fate = r.Err }); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(fate, ErrClosed) {
				t.Errorf("closed with %v, the record's fate is %v", err, fate)
			}
		})
	})
	t.Run("without Run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(1)
			p, err := New(Config{Stream: "s", Endpoint: "http://fake", Credentials: Static("a", "b", ""), HTTP: clientOf(f)})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Put(t.Context(), Record{Key: "k"}, nil); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(p.Close(t.Context()), p.Close(t.Context()), p.Run(t.Context())); err != nil || len(f.log) != 1 {
				t.Errorf("%d stored, %v", len(f.log), err)
			}
		})
	})
	t.Run("the end of Run's context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(1)
			f.latency = time.Hour
			p, err := New(Config{Stream: "s", Endpoint: "http://fake", Credentials: Static("a", "b", ""), HTTP: clientOf(f)})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var fate error
			if err := p.Put(ctx, Record{Key: "k"}, func(r Result) { fate = r.Err }); err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(time.Second, cancel)
			if err := p.Run(ctx); !errors.Is(err, context.Canceled) || !errors.Is(fate, ErrClosed) {
				t.Errorf("%v, fate %v", err, fate)
			}
			if err := p.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestWhatNoStreamTakesIsRefusedAtOnce(t *testing.T) {
	p, err := New(Config{Stream: "s", Credentials: Static("a", "b", "")})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]Record{
		"no key": {}, "a long key": {Key: strings.Repeat("ü", 257)}, "a key of no UTF-8": {Key: "\xff"}, "too much data": {Key: "k", Data: make([]byte, 1<<20)},
		"a hash of letters": {Key: "k", Hash: "x"}, "a hash beyond the key space": {Key: "k", Hash: "340282366920938463463374607431768211456"}, "a hash with a zero before": {Key: "k", Hash: "01"},
	} {
		if err := p.Put(t.Context(), r, func(Result) { t.Error("told twice") }); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for name, c := range map[string]Config{
		"no stream": {Credentials: Static("a", "b", "")}, "no key": {Stream: "s"}, "an endpoint without a host": {Stream: "s", Credentials: Static("a", "b", ""), Endpoint: "localhost"},
		"requests smaller than records": {Stream: "s", Credentials: Static("a", "b", ""), RequestBytes: 100}, "501 records": {Stream: "s", Credentials: Static("a", "b", ""), RequestRecords: 501},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
