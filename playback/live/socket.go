package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"penstock/internal/fault"
	"penstock/streams"
)

// The kinds of binary messages, and their flag.
const (
	kindInit  = 1
	kindMedia = 2
	flagSync  = 1

	headerSize = 12
)

// request is a message from the client.
type request struct {
	Add    *string `json:"add"`
	ID     *int    `json:"id"`
	Audio  bool    `json:"audio"`
	Remove *int    `json:"remove"`
}

// message is a text message to the client.
type message struct {
	Type    string `json:"type"`
	ID      int    `json:"id"`
	Stream  string `json:"stream,omitempty"`
	MIME    string `json:"mime,omitempty"`
	StartUS int64  `json:"start_us,omitempty"`
	Status  string `json:"status,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Samples int    `json:"samples,omitempty"`
	Message string `json:"message,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// socket is one connection. A goroutine reads it; each subscription writes to it from
// its own, and so do pings and states.
type socket struct {
	s         *Server
	conn      *websocket.Conn
	ctx       context.Context
	cancel    context.CancelFunc
	authorize Authorize
	running   sync.WaitGroup

	write sync.Mutex // one message at a time

	mu   sync.Mutex // guards subs; never held while writing
	subs map[uint16]*subscription
	many atomic.Int32 // len(subs)
}

// run serves the socket until it closes.
func (k *socket) run(st streams.Stream, audio bool) {
	defer k.running.Wait()
	defer k.conn.Close()
	defer k.cancel()
	k.running.Add(2)
	go k.ping()
	go k.states()
	// Reading does not heed a context: closing the connection ends it.
	stop := context.AfterFunc(k.ctx, func() { k.close() })
	defer stop()
	k.add(st, 0, audio)
	k.conn.SetReadLimit(MessageMax)
	heard := func() error { return k.conn.SetReadDeadline(time.Now().Add(pongWithin)) }
	k.conn.SetPongHandler(func(string) error { return heard() })
	for heard() == nil {
		kind, data, err := k.conn.ReadMessage()
		if err != nil {
			return
		}
		if kind != websocket.TextMessage {
			k.complain(0, fault.New(fault.Invalid, "read message", "", "not text"))
			continue
		}
		k.handle(data)
	}
}

// close says goodbye when the client still listens, and hangs up.
func (k *socket) close() {
	text := websocket.FormatCloseMessage(websocket.CloseGoingAway, "")
	_ = k.conn.WriteControl(websocket.CloseMessage, text, time.Now().Add(time.Second))
	_ = k.conn.Close()
}

// handle does what a message asks.
func (k *socket) handle(data []byte) {
	var q request
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&q); err != nil {
		k.complain(0, fault.New(fault.Invalid, "read message", "", "not the JSON that this socket takes"))
		return
	}
	switch {
	case q.Remove != nil && q.Add == nil:
		k.remove(*q.Remove)
	case q.Add != nil && q.Remove == nil && q.ID != nil && *q.ID >= 0 && *q.ID <= math.MaxUint16 && len(*q.Add) <= streams.NameMax:
		st, err := k.authorize(k.ctx, *q.Add)
		if err != nil {
			k.complain(*q.ID, err)
			return
		}
		k.add(st, uint16(*q.ID), q.Audio)
	default:
		id := 0
		if q.ID != nil {
			id = *q.ID
		}
		k.complain(id, fault.New(fault.Invalid, "read message", "", `neither {"add":NAME,"id":N} nor {"remove":N}`))
	}
}

// add starts a subscription.
func (k *socket) add(st streams.Stream, id uint16, audio bool) {
	k.mu.Lock()
	_, taken := k.subs[id]
	full := len(k.subs) >= SubscriptionsMax
	var sub *subscription
	if !taken && !full {
		sub = newSubscription(k, st, id, audio)
		k.subs[id] = sub
		k.many.Store(int32(len(k.subs)))
		k.running.Add(1)
	}
	k.mu.Unlock()
	switch {
	case taken:
		k.complain(int(id), fault.New(fault.InUse, "watch", st.Name, "that id is taken").WithHint("remove it first"))
	case full:
		k.complain(int(id), fault.New(fault.Throttled, "watch", st.Name, "a socket carries at most 64 streams").
			WithHint("open another socket"))
	default:
		k.s.c.Metrics.Viewers.WithLabelValues("socket").Inc()
		k.state(int(id), k.s.c.Hub.State(st.ID))
		go sub.run()
	}
}

// remove ends a subscription; when there is none of that id, it already ended.
func (k *socket) remove(id int) {
	if id < 0 || id > math.MaxUint16 {
		return
	}
	k.mu.Lock()
	sub := k.subs[uint16(id)]
	k.mu.Unlock()
	if sub != nil {
		sub.cancel()
		<-sub.done // so that the id can be used again at once
	}
}

// gone takes an ended subscription off the list.
func (k *socket) gone(sub *subscription) {
	k.mu.Lock()
	if k.subs[sub.id] == sub {
		delete(k.subs, sub.id)
		k.many.Store(int32(len(k.subs)))
	}
	k.mu.Unlock()
	k.s.c.Metrics.Viewers.WithLabelValues("socket").Dec()
	close(sub.done)
}

// states tells the client how its streams are, as that changes.
func (k *socket) states() {
	defer k.running.Done()
	updates := k.s.c.Hub.Subscribe()
	defer updates.Close()
	for {
		state, err := updates.Next(k.ctx)
		if err != nil {
			return
		}
		k.mu.Lock()
		var ids []int
		for id, sub := range k.subs {
			if sub.st.ID == state.ID && sub.news(state) {
				ids = append(ids, int(id))
			}
		}
		k.mu.Unlock()
		for _, id := range ids {
			k.state(id, state)
		}
	}
}

func (k *socket) state(id int, s streams.State) {
	k.text(message{Type: "state", ID: id, Status: string(s.Status), Reason: s.Reason})
}

// ping keeps the connection alive through what stands between, and finds out when
// the client is gone.
func (k *socket) ping() {
	defer k.running.Done()
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-t.C:
			if err := k.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout)); err != nil {
				k.cancel()
				return
			}
		}
	}
}

// complain tells the client about an error in words that it may see.
func (k *socket) complain(id int, err error) {
	m := message{Type: "error", ID: id, Message: err.Error(), Hint: fault.HintOf(err)}
	if fault.KindOf(err) == fault.Internal {
		if errors.Is(err, context.Canceled) {
			return
		}
		k.s.c.Logger.Error("live socket", "err", err)
		m.Message, m.Hint = "something went wrong here", "look into the server's log"
	}
	k.text(m)
}

func (k *socket) text(m message) {
	data, err := json.Marshal(m)
	if err != nil {
		k.s.c.Logger.Error("live socket", "err", err)
		return
	}
	k.send(websocket.TextMessage, data)
}

// media sends a binary message. It blocks while the client is slow, and closes the
// socket when it is too slow for one message.
func (k *socket) media(kind, flags byte, id uint16, at time.Time, data []byte) {
	var head [headerSize]byte
	head[0], head[1] = kind, flags
	binary.BigEndian.PutUint16(head[2:], id)
	binary.BigEndian.PutUint64(head[4:], uint64(max(0, at.UnixMicro())))
	k.send(websocket.BinaryMessage, head[:], data)
}

func (k *socket) send(kind int, data ...[]byte) {
	k.write.Lock()
	defer k.write.Unlock()
	if k.ctx.Err() != nil {
		return
	}
	if err := k.sendLocked(kind, data); err != nil {
		k.cancel()
	}
}

func (k *socket) sendLocked(kind int, data [][]byte) error {
	if err := k.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	var w io.WriteCloser
	w, err := k.conn.NextWriter(kind)
	if err != nil {
		return err
	}
	for _, d := range data {
		if _, err := w.Write(d); err != nil {
			return err
		}
	}
	return w.Close()
}
