package tail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/records"
	"penstock/streams/datastream"
	"penstock/streams/datastream/datastreamtest"
	"penstock/wire/kpl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open returns a data stream with real floors below it.
func open(t *testing.T, shards int) *datastream.Stream {
	t.Helper()
	st, err := datastreamtest.Open(t, nil).Data.Create(t.Context(), datastream.New{Account: auth.DefaultAccount, Region: auth.DefaultRegion, Name: "sensors", Shards: shards})
	check(t, err)
	check(t, st.Settled(t.Context()))
	return st
}

func put(t *testing.T, st *datastream.Stream, key string, data ...string) {
	t.Helper()
	in := make([]records.Input, len(data))
	for i, d := range data {
		in[i] = records.Input{Key: key, Hash: records.HashOf(key), Data: []byte(d)}
	}
	out := make([]records.Placed, len(in))
	check(t, st.Put(t.Context(), in, out))
	for _, o := range out {
		check(t, o.Err)
	}
}

// once reads what is there now, as key=data.
func once(t *testing.T, c Config) []string {
	t.Helper()
	c.Once = true
	var got []string
	check(t, Run(t.Context(), c, func(events []Event) error {
		for _, e := range events {
			got = append(got, e.Key+"="+string(e.Data))
		}
		return nil
	}))
	return got
}

// live runs a tail beside the test.
type live struct {
	t    *testing.T
	mu   sync.Mutex
	got  []string
	more chan struct{}
	stop func() error
}

func follow(t *testing.T, c Config) *live {
	l := &live{t: t, more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, c, func(events []Event) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, e := range events {
				l.got = append(l.got, e.Key+"="+string(e.Data))
			}
			select {
			case l.more <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	l.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { _ = l.stop() })
	return l
}

func (l *live) wait(n int) []string {
	l.t.Helper()
	late := time.After(time.Minute)
	for {
		l.mu.Lock()
		got := slices.Clone(l.got)
		l.mu.Unlock()
		if len(got) >= n {
			return got
		}
		select {
		case <-l.more:
		case <-late:
			l.t.Fatalf("%d events of %d: %q", len(got), n, got)
		}
	}
}

// slow finds the place in its shards when it is let go on.
type slow struct {
	*datastream.Stream
	asked chan records.ShardID
	goOn  chan struct{}
}

func (s *slow) At(ctx context.Context, shard records.ShardID, from records.From) (records.Position, error) {
	s.asked <- shard
	<-s.goOn
	return s.Stream.At(ctx, shard, from)
}

func TestWhatComesIsShown(t *testing.T) {
	st := open(t, 3)
	put(t, st, "old", "1")
	source := &slow{Stream: st, asked: make(chan records.ShardID), goOn: make(chan struct{})}
	placed := make(chan struct{})
	l := follow(t, Config{Stream: source, From: records.From{Kind: records.Latest}, Placed: func() { close(placed) }})
	for i := range 3 {
		<-source.asked
		if i > 0 {
			source.goOn <- struct{}{}
		}
	}
	select {
	case <-placed:
		t.Error("a shard has no place, and they say that all have one")
	default:
	}
	source.goOn <- struct{}{}
	<-placed
	for i := range 20 {
		put(t, st, fmt.Sprint("new", i), "1") // into all shards
	}
	if got := l.wait(20); len(got) != 20 || slices.Contains(got, "old=1") {
		t.Errorf("got %q", got)
	}
	if err := l.stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestOrderIsKeptOverReshards(t *testing.T) {
	st := open(t, 1)
	l := follow(t, Config{Stream: st})
	n := 0
	some := func() {
		for range 50 {
			for k := range 4 {
				put(t, st, fmt.Sprint("k", k), fmt.Sprint(n))
			}
			n++
		}
	}
	some()
	check(t, st.Split(t.Context(), 0, records.Middle(records.HashKey{}, records.MaxHashKey)))
	check(t, st.Settled(t.Context()))
	some()
	check(t, st.Merge(t.Context(), 1, 2))
	check(t, st.Settled(t.Context()))
	some()
	inOrder := func(got []string) {
		t.Helper()
		at := map[string]int{}
		for _, line := range got {
			key, text, _ := strings.Cut(line, "=")
			if text != fmt.Sprint(at[key]) {
				t.Fatalf("%s comes after %d of it", line, at[key])
			}
			at[key]++
		}
		if len(got) != 4*n {
			t.Errorf("%d events of %d", len(got), 4*n)
		}
	}
	inOrder(l.wait(4 * n))
	inOrder(once(t, Config{Stream: st}))
	if got := once(t, Config{Stream: st, From: records.From{Kind: records.AtTime, Time: time.Now().Add(-time.Hour)}}); len(got) != 4*n {
		t.Errorf("from an hour ago there are %d events of %d", len(got), 4*n)
	}
	if got := once(t, Config{Stream: st, From: records.From{Kind: records.Latest}}); len(got) != 0 {
		t.Errorf("from now there are %q", got)
	}
	if got := once(t, Config{Stream: st, One: true, Shard: 3}); len(got) != 200 {
		t.Errorf("shard 3 has %d events", len(got))
	}
}

func TestAggregatesAreTakenApart(t *testing.T) {
	st := open(t, 1)
	var b kpl.Builder
	for i := range 3 {
		b.Add(kpl.Record{Key: fmt.Sprint("k", i), Data: []byte(fmt.Sprint(i))})
	}
	put(t, st, "outer", string(b.Append(nil)), "plain", kpl.Magic+"but no aggregate, whatever it begins with")
	if got := strings.Join(once(t, Config{Stream: st}), " "); got != "k0=0 k1=1 k2=2 outer=plain outer="+kpl.Magic+"but no aggregate, whatever it begins with" {
		t.Errorf("got %q", got)
	}
	f, err := ParseFilter([]string{"key:k1"})
	check(t, err)
	if got := once(t, Config{Stream: st, Filter: f}); len(got) != 1 || got[0] != "k1=1" {
		t.Errorf("filtered: %q", got)
	}
}

func TestFilters(t *testing.T) {
	e := Event{Key: "sensor-7", Data: []byte(` {"room":{"name":"kitchen","n/o":[1,{"a":true}]},"t":21.50}`)}
	for text, want := range map[string]bool{
		"key:sensor-7": true, "key:sensor-*": true, "key:*7": true, "key:s*-*": true, "key:*": true, "key:sensor": false, "key:*8": false, "key:sensor-7*7": false,
		"/room/name=kitchen": true, "/room/name=kitche": false, "/t=21.50": true, "/t=21.5": false, "/room/n~1o/1/a=true": true, "/room/n~1o/2=1": false, "/no=x": false, "/room/name/x=": false,
		"kitchen": true, "sensor": true, "bath": false, "": true, "/no pointer without a sign": false,
	} {
		f, err := ParseFilter([]string{text})
		check(t, err)
		if f.Match(e) != want {
			t.Errorf("%q matches: %v", text, !want)
		}
	}
	f, err := ParseFilter([]string{"kitchen", "key:x"})
	check(t, err)
	if f.Match(e) {
		t.Error("one of two terms is enough")
	}
	for _, terms := range [][]string{slices.Repeat([]string{"x"}, 17), {strings.Repeat("x", 2000)}} {
		if _, err := ParseFilter(terms); !fault.Is(err, fault.Invalid) {
			t.Errorf("%d terms: %v", len(terms), err)
		}
	}
}

func TestRefusals(t *testing.T) {
	st := open(t, 1)
	for name, c := range map[string]struct {
		c    Config
		kind fault.Kind
	}{
		"no such shard":               {Config{Stream: st, One: true, Shard: 9}, fault.NotFound},
		"a number without its shard":  {Config{Stream: st, From: records.From{Kind: records.AfterSeq}}, fault.Invalid},
		"a number of another stream":  {Config{Stream: st, One: true, From: records.From{Kind: records.AfterSeq}}, fault.Invalid},
		"more shards than are opened": {Config{Stream: wide{st}}, fault.Invalid},
	} {
		if err := Run(t.Context(), c.c, func([]Event) error { return nil }); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := errors.New("full")
	put(t, st, "k", "1")
	if err := Run(t.Context(), Config{Stream: st}, func([]Event) error { return full }); !errors.Is(err, full) {
		t.Errorf("an error of emit becomes %v", err)
	}
	l := follow(t, Config{Stream: st})
	l.wait(1)
	check(t, st.Delete(t.Context(), true))
	if err := l.stop(); !fault.Is(err, fault.NotFound) && !errors.Is(err, context.Canceled) {
		t.Errorf("of a deleted stream: %v", err)
	}
}

// wide is a stream of very many shards.
type wide struct{ Source }

func (w wide) Shards() []records.Shard {
	out := make([]records.Shard, ShardsMax+1)
	for i := range out {
		out[i] = records.Shard{ID: records.ShardID(i), Parent: records.NoShard, Adjacent: records.NoShard}
	}
	return out
}

func TestEventsAreOneLineOfJSON(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.UTC)
	for name, c := range map[string]struct {
		data string
		sub  int
		as   Show
		want string
	}{
		"JSON":              {"{\n \"a\": \"x\\n\"\r\n}", -1, Auto, `"size":16,"json":{"a":"x\n"}}`},
		"JSON on one line":  {`[1, 2]`, 2, Auto, `"size":6,"json":[1, 2]}`},
		"text":              {"two\nlines \"ü\"", -1, Auto, `"size":14,"text":"two\nlines \"ü\""}`},
		"nothing":           {"", -1, Auto, `"size":0,"text":""}`},
		"bytes":             {"\x00\x01", -1, Auto, `"size":2,"data":"AAE="}`},
		"bytes in a string": {"\"\xff\"", -1, Auto, `"size":3,"data":"Iv8i"}`},
		"as base64":         {"{}", -1, Base64, `"size":2,"data":"e30="}`},
	} {
		e := Event{Shard: 1, Sub: c.sub, Arrival: at, Key: "k\"\n", Data: []byte(c.data)}
		got := string(e.Append(nil, c.as))
		var v struct {
			Shard, Key string
			Sub        *int
			Time       time.Time
		}
		if err := json.Unmarshal([]byte(got), &v); err != nil || strings.ContainsAny(got, "\n\r") || !strings.HasSuffix(got, c.want) || v.Key != e.Key || !v.Time.Equal(at) || (v.Sub != nil) != (c.sub >= 0) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}
