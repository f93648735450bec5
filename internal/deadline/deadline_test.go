package deadline_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"penstock/internal/deadline"
)

// counted counts what it is told.
type counted struct {
	net.Conn
	reads, writes int
}

func (c *counted) SetReadDeadline(t time.Time) error {
	c.reads++
	return c.Conn.SetReadDeadline(t)
}

func (c *counted) SetWriteDeadline(t time.Time) error {
	c.writes++
	return c.Conn.SetWriteDeadline(t)
}

func pair(t *testing.T) (*deadline.Conn, *counted, net.Conn) {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	under := &counted{Conn: a}
	return deadline.New(under), under, b
}

// after reads, or writes, and tells after how long that ended by a deadline.
func after(t *testing.T, f func([]byte) (int, error)) time.Duration {
	t.Helper()
	begin := time.Now()
	if _, err := f(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	return time.Since(begin)
}

func TestDeadlinesAreKept(t *testing.T) {
	for _, way := range []string{"read", "write", "both"} {
		synctest.Test(t, func(t *testing.T) {
			c, _, _ := pair(t)
			do, set := c.Read, c.SetReadDeadline
			switch way {
			case "write":
				do, set = c.Write, c.SetWriteDeadline
			case "both":
				set = c.SetDeadline
			}
			in := func(d time.Duration) { _ = set(time.Now().Add(d)) }
			expect := func(what string, want time.Duration) {
				t.Helper()
				if got := after(t, do); got != want {
					t.Errorf("%s %s: ended after %v, not %v", way, what, got, want)
				}
			}
			in(10 * time.Second)
			expect("alone", 10*time.Second)
			expect("still past", 0)
			in(time.Minute)
			expect("after one that was met", time.Minute)
			in(10 * time.Second)
			in(2 * time.Minute)
			expect("a later one", 2*time.Minute)
			in(2 * time.Minute)
			in(10 * time.Second)
			expect("an earlier one", 10*time.Second)
			in(10 * time.Second)
			_ = set(time.Time{})
			in(time.Minute)
			expect("after none", time.Minute)
			_ = set(time.Unix(1, 0))
			expect("long ago", 0)
			in(time.Second)
			expect("after long ago", time.Second)
			in(10 * time.Second)
			_ = set(time.Time{})
			time.AfterFunc(time.Hour, func() { in(time.Second) })
			expect("one that comes while it waits for ever", time.Hour+time.Second)
			time.AfterFunc(time.Minute, func() { _ = set(time.Unix(1, 0)) })
			in(time.Hour)
			expect("long ago, while it waits", time.Minute)
		})
	}
}

func TestDeadlinesThatAreTakenBackCostNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, under, peer := pair(t)
		go func() { _, _ = io.Copy(io.Discard, peer) }()
		for range 1000 { // as net/http does for a request
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			_ = c.SetReadDeadline(time.Time{})
			_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			_ = c.SetWriteDeadline(time.Time{})
			_ = c.SetReadDeadline(time.Now().Add(2 * time.Minute))
			time.Sleep(time.Millisecond)
		}
		if under.reads != 1 || under.writes != 1 {
			t.Errorf("the connection was told %d and %d times, not once each", under.reads, under.writes)
		}
		go func() { _, _ = peer.Write([]byte("y")) }()
		time.Sleep(time.Minute) // past what it was told, not past what was asked for
		if n, err := c.Read(make([]byte, 8)); n != 1 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
	})
}

func TestAWriteGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, peer := pair(t)
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
		got := make(chan string)
		go func() {
			b := make([]byte, 3)
			_, _ = io.ReadFull(peer, b)
			time.Sleep(30 * time.Second)
			rest := make([]byte, 3)
			_, _ = io.ReadFull(peer, rest)
			got <- string(b) + string(rest)
		}()
		if n, err := c.Write([]byte("abcdef")); n != 6 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if s := <-got; s != "abcdef" {
			t.Error(s)
		}
	})
}

func TestOnlyOneLookOutIsLeftOut(t *testing.T) {
	c, _, peer := pair(t)
	go func() { _, _ = peer.Write([]byte("abcdef")) }()
	one := func(want string) {
		t.Helper()
		b := make([]byte, 1)
		if n, err := c.Read(b); string(b[:n]) != want || err != nil {
			t.Errorf("%q, %v; want %q", b[:n], err, want)
		}
	}
	c.Unwatch()
	one("a") // no request was answered yet
	c.Answered(true)
	c.Unwatch()
	b := make([]byte, 2)
	if n, err := c.Read(b); n != 2 || err != nil {
		t.Error("a longer read was left out")
	}
	one("")
	one("d")
	c.Unwatch()
	c.Answered(false)
	one("e")
	c.Unwatch()
	one("f") // the last request took long
	var none *deadline.Conn
	none.Unwatch()
	none.Answered(true)
}

// serve has net/http serve connections of a pipe, which end with the test.
func serve(t *testing.T, h http.HandlerFunc) (dial func() net.Conn) {
	l := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ConnContext: deadline.NewContext}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(deadline.Listen(l))
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return func() net.Conn {
		a, b := net.Pipe()
		l.accept <- a
		t.Cleanup(func() { b.Close() })
		return b
	}
}

type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// ask sends a request and reads its answer.
func ask(t *testing.T, c net.Conn) {
	t.Helper()
	go func() { _, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello") }()
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r.Body); string(b) != "hello" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	c := deadline.FromContext(r.Context())
	c.Unwatch()
	defer c.Answered(true)
	_, _ = io.Copy(w, r.Body)
}

func TestSlowHeadersAndIdlersAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := serve(t, echo)
		closed := func(what string, c net.Conn, want time.Duration) {
			t.Helper()
			begin := time.Now()
			if _, err := io.Copy(io.Discard, c); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(begin); got != want {
				t.Errorf("%s: closed after %v, not %v", what, got, want)
			}
		}
		c := dial()
		_, _ = io.WriteString(c, "POST / HT")
		closed("the first headers", c, 10*time.Second)
		c = dial()
		for range 100 {
			ask(t, c)
			time.Sleep(time.Second)
		}
		_, _ = io.WriteString(c, "POST / HT")
		closed("later headers", c, 10*time.Second)
		c = dial()
		for range 100 {
			ask(t, c)
			time.Sleep(time.Second)
		}
		closed("an idler", c, 2*time.Minute-time.Second)
	})
}

func TestAClientThatLeavesIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := make(chan struct{})
		left := make(chan error, 1)
		dial := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Kind") == "" {
				echo(w, r)
				return
			}
			if c := deadline.FromContext(r.Context()); r.Header.Get("Kind") == "unwatched" {
				c.Unwatch()
			}
			_, _ = io.Copy(io.Discard, r.Body)
			<-long
			left <- r.Context().Err()
		})
		for _, kind := range []string{"unwatched", "watched"} {
			c := dial()
			ask(t, c)
			ask(t, c)
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nKind: "+kind+"\r\n\r\nhello")
			synctest.Wait()
			_ = c.Close()
			synctest.Wait()
			long <- struct{}{}
			if err := <-left; errors.Is(err, context.Canceled) != (kind == "watched") {
				t.Errorf("%s: the request's context says %v", kind, err)
			}
		}
	})
}
