package retry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"penstock/internal/fault"
	"penstock/storage"
	"penstock/storage/mem"
	"penstock/storage/retry"
	"penstock/storage/storagetest"
)

var errAway = fault.New(fault.Unavailable, "test", "", "the store is away")

// flaky fails as often as told. It may be used at once.
type flaky struct {
	storage.Bucket
	mu    sync.Mutex
	fail  int  // so many calls fail
	late  bool // a failing Put has stored its object all the same
	steps int  // a list or a reader breaks off after so many items or bytes, while fail lasts
	err   error
	calls int
}

func (f *flaky) next() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.fail == 0 {
		return nil
	}
	f.fail--
	if f.err != nil {
		return f.err
	}
	return errAway
}

func (f *flaky) Put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	if err := f.next(); err != nil {
		if f.late {
			if err := f.Bucket.Put(ctx, key, r, size); err != nil {
				return err
			}
		}
		return err
	}
	return f.Bucket.Put(ctx, key, r, size)
}

func (f *flaky) Delete(ctx context.Context, keys ...string) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.Bucket.Delete(ctx, keys...)
}

func (f *flaky) Get(ctx context.Context, key string, off, n int64) (io.ReadCloser, error) {
	err := f.next()
	if err != nil && f.steps == 0 {
		return nil, err
	}
	r, gerr := f.Bucket.Get(ctx, key, off, n)
	if err == nil || gerr != nil {
		return r, gerr
	}
	data, _ := io.ReadAll(r)
	if len(data) <= f.steps { // it comes through whole
		return io.NopCloser(bytes.NewReader(data)), r.Close()
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(data[:f.steps]), broken{err})), r.Close()
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func (f *flaky) List(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error] {
	return func(yield func(storage.Object, error) bool) {
		err, n := f.next(), 0
		for o, lerr := range f.Bucket.List(ctx, prefix, after) {
			if n++; err != nil && n > f.steps {
				break
			}
			if !yield(o, lerr) {
				return
			}
		}
		if err != nil {
			yield(storage.Object{}, err)
		}
	}
}

func wrap(f *flaky, cfg retry.Config) *retry.Bucket {
	f.Bucket = mem.New(mem.Config{})
	cfg.Bucket = f
	cfg.Jitter = func() float64 { return 1 }
	return retry.New(cfg)
}

func TestBucketThatNeverFails(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Bucket { return wrap(&flaky{}, retry.Config{}) })
}

func TestBucketWhoseEverySecondCallFails(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.Bucket {
		return retry.New(retry.Config{
			Bucket: &everySecond{Bucket: mem.New(mem.Config{})}, First: time.Microsecond, Max: time.Microsecond,
			Attempts: 100, // with others at once a call may be the second of two again and again
		})
	})
}

type everySecond struct {
	storage.Bucket
	mu sync.Mutex
	n  int
}

func (f *everySecond) Put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	f.mu.Lock()
	f.n++
	fail := f.n%2 == 1
	f.mu.Unlock()
	if fail {
		return errAway
	}
	return f.Bucket.Put(ctx, key, r, size)
}

func TestWaitsDoubleUpToTheirBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waits []string
		f := &flaky{fail: 6}
		b := wrap(f, retry.Config{First: time.Second, Max: 10 * time.Second, Notify: func(n retry.Failure) {
			waits = append(waits, fmt.Sprintf("%d:%v", n.Attempt, n.Wait))
			if n.Op != "put" || n.Key != "k" || !errors.Is(n.Err, errAway) {
				t.Errorf("Notify got %+v", n)
			}
		}})
		began := time.Now()
		storagetest.Put(t, b, "k", []byte("x"))
		if got, want := strings.Join(waits, " "), "1:1s 2:2s 3:4s 4:8s 5:10s 6:10s"; got != want {
			t.Errorf("waits %s, want %s", got, want)
		}
		if took := time.Since(began); took != 35*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestJitterHalvesAWaitAtMost(t *testing.T) {
	for jitter, want := range map[float64]time.Duration{0: 500 * time.Millisecond, 0.5: 750 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			f := &flaky{fail: 1, Bucket: mem.New(mem.Config{})}
			b := retry.New(retry.Config{Bucket: f, First: time.Second, Jitter: func() float64 { return jitter }})
			began := time.Now()
			storagetest.Put(t, b, "k", nil)
			if took := time.Since(began); took != want {
				t.Errorf("jitter %v waited %v, want %v", jitter, took, want)
			}
		})
	}
}

func TestItGivesUpAfterItsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		f := &flaky{fail: -1}
		b := wrap(f, retry.Config{Attempts: 4, Registerer: reg})
		if err := b.Put(t.Context(), "k", strings.NewReader("x"), 1); !errors.Is(err, errAway) {
			t.Errorf("Put = %v", err)
		}
		if f.calls != 4 || b.Retries() != 3 {
			t.Errorf("%d calls, %d retries", f.calls, b.Retries())
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
			# HELP penstock_storage_retries_total Storage operations that failed and were tried again.
			# TYPE penstock_storage_retries_total counter
			penstock_storage_retries_total{op="put"} 3
		`)); err != nil {
			t.Error(err)
		}
	})
}

func TestFinalErrorsAreNotRepeated(t *testing.T) {
	for kind, final := range map[fault.Kind]bool{
		fault.Invalid: true, fault.NotFound: true, fault.InUse: true, fault.Denied: true, fault.Unauthentic: true, fault.Expired: true,
		fault.Internal: false, fault.Unavailable: false, fault.Throttled: false,
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &flaky{fail: 1, err: fault.New(kind, "test", "", "no")}
			b := wrap(f, retry.Config{})
			err := b.Put(t.Context(), "k", strings.NewReader("x"), 1)
			if (err != nil) != final || (f.calls == 1) != final {
				t.Errorf("%v: %d calls, %v", kind, f.calls, err)
			}
		})
	}
}

// TestATimeLimitOfTheNetworkIsTriedAgain has a dial run into its own time limit, which is
// a context.DeadlineExceeded, though nobody's context has ended.
func TestATimeLimitOfTheNetworkIsTriedAgain(t *testing.T) {
	_, late := (&net.Dialer{Deadline: time.Unix(1, 0)}).DialContext(t.Context(), "tcp", "127.0.0.1:1")
	if !errors.Is(late, context.DeadlineExceeded) {
		t.Fatalf("the dial says %v", late)
	}
	f := &flaky{fail: 2, err: fault.Wrap(fault.Unavailable, "put object", "k", late)}
	b := wrap(f, retry.Config{First: time.Microsecond, Max: time.Microsecond})
	storagetest.Put(t, b, "k", []byte("x"))
	f.fail = 2
	if got := storagetest.Get(t, b, "k", 0, -1); string(got) != "x" || b.Retries() != 4 {
		t.Errorf("%q after %d retries", got, b.Retries())
	}
}

func TestAContextEndsAWaitAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wrap(&flaky{fail: -1}, retry.Config{Attempts: -1, First: time.Hour, Max: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := b.Put(ctx, "k", strings.NewReader("x"), 1); !errors.Is(err, errAway) {
			t.Errorf("Put = %v, want the last error", err)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAPutWhoseAnswerWasLostIsNotInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wrap(&flaky{fail: 1, late: true}, retry.Config{})
		storagetest.Put(t, b, "k", []byte("mine"))
		storagetest.Want(t, "another's Put", b.Put(t.Context(), "k", strings.NewReader("other"), 5), fault.InUse)
		f := &flaky{fail: 1}
		b = wrap(f, retry.Config{})
		storagetest.Put(t, f.Bucket, "k", []byte("another's"))
		storagetest.Want(t, "a retried Put of other bytes", b.Put(t.Context(), "k", strings.NewReader("mine"), 4), fault.InUse)
	})
}

func TestAReadGoesOnWhereItBrokeOff(t *testing.T) {
	data := storagetest.Bytes(1, 10_000)
	for _, c := range []struct{ off, n, from, to int64 }{{0, -1, 0, 10_000}, {500, -1, 500, 10_000}, {500, 3000, 500, 3500}, {9000, 5000, 9000, 10_000}} {
		synctest.Test(t, func(t *testing.T) {
			f := &flaky{steps: 700}
			b := wrap(f, retry.Config{Attempts: 3})
			storagetest.Put(t, b, "k", data)
			f.fail = 1000 // each answer breaks off after 700 bytes, which is progress
			if got := storagetest.Get(t, b, "k", c.off, c.n); !bytes.Equal(got, data[c.from:c.to]) {
				t.Errorf("Get(%d, %d) gave %d other bytes", c.off, c.n, len(got))
			}
		})
	}
}

func TestAReadWithoutProgressGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{}
		b := wrap(f, retry.Config{Attempts: 3})
		storagetest.Put(t, b, "k", []byte("x"))
		f.fail = -1
		if _, err := b.Get(t.Context(), "k", 0, -1); !errors.Is(err, errAway) || f.calls != 4 {
			t.Errorf("Get = %v after %d calls", err, f.calls-1)
		}
	})
}

func TestAListGoesOnWhereItBrokeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{steps: 3}
		b := wrap(f, retry.Config{Attempts: 3})
		for i := range 20 {
			storagetest.Put(t, b, fmt.Sprintf("d/%02d", i), nil)
		}
		f.fail = 5
		keys := storagetest.Keys(t, b, "d/", "d/01")
		if len(keys) != 18 || keys[0] != "d/02" || keys[17] != "d/19" {
			t.Errorf("List = %v", keys)
		}
		f.steps, f.fail = 0, -1
		n := 0
		for _, err := range b.List(t.Context(), "", "") {
			if n++; !errors.Is(err, errAway) {
				t.Errorf("List = %v", err)
			}
		}
		if n != 1 {
			t.Errorf("List yielded %d times", n)
		}
	})
}
