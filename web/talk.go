package web

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"penstock/auth"
	"penstock/ingest/camera"
	"penstock/ingest/talk"
	"penstock/internal/fault"
	"penstock/streams"
)

// Limits of a socket that carries a voice.
const (
	// talkMessageMax bounds a message: talk.FrameMax, with room to be told what is wrong.
	talkMessageMax = 4 << 10
	// talkWriteTimeout is how long a message to the browser may take to leave.
	talkWriteTimeout = 5 * time.Second
	// talkLookOver is how often it is looked whether the camera is still the stream's.
	talkLookOver = 2 * time.Second
)

// talkView is what a stream's camera takes; where Talk is null, Reason and Hint say why.
type talkView struct {
	Talk   *camera.Voice `json:"talk"`
	Reason string        `json:"reason,omitempty"`
	Hint   string        `json:"hint,omitempty"`
	Busy   *talkerView   `json:"busy"` // who talks to it now
}

type talkerView struct {
	Who   string    `json:"who"`
	Since time.Time `json:"since"`
}

// known is what is known of a camera's loudspeaker without asking the camera.
func (s *Server) known(st streams.Stream) *camera.Voice {
	if s.c.Talk == nil {
		return nil
	}
	return s.c.Talk.Known(st)
}

// talkToCamera answers a plain GET with what the camera takes, which asks it the first
// time. A WebSocket carries a voice there: the first message is the voice that the camera
// takes, {"codec":"PCMU","rate":8000}; then each binary message from the client is sound
// of it, best 20 ms. {"error":{...}} comes before an end that the client did not ask for.
func talkToCamera(c *call) error {
	if c.s.c.Talk == nil {
		return fault.New(fault.Unavailable, "talk to", c.stream.Name, "this server calls no cameras")
	}
	if !websocket.IsWebSocketUpgrade(c.r) {
		return c.showTalk()
	}
	up := websocket.Upgrader{
		HandshakeTimeout: 10 * time.Second, ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10,
		// Which pages may open a socket was decided where the cookie was read.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	conn, err := up.Upgrade(c.w, c.r, nil)
	if err != nil {
		return nil // the upgrader has answered
	}
	defer conn.Close()
	c.talk(conn)
	return nil
}

func (c *call) showTalk() error {
	var v talkView
	voice, err := c.s.c.Talk.Ask(c.r.Context(), c.stream)
	switch {
	case c.r.Context().Err() != nil:
		return err
	case err != nil:
		v.Reason, v.Hint = err.Error(), fault.HintOf(err)
	default:
		v.Talk = &voice
	}
	if who, since, ok := c.s.c.Talk.Talking(c.stream); ok {
		v.Busy = &talkerView{who, since.UTC().Truncate(time.Second)}
	}
	return c.json(v)
}

// talk calls the camera and carries what the socket says until one of both hangs up.
func (c *call) talk(conn *websocket.Conn) {
	ctx, end := context.WithCancelCause(c.r.Context())
	defer end(nil)
	line, err := c.s.c.Talk.Call(ctx, c.stream, c.principal.Name)
	if err != nil {
		c.s.c.Auth.Note(ctx, c.principal, auth.Deed{Action: auth.Talk, Object: c.stream.ARN(), Remote: remoteHost(c.r), Detail: "start", Err: err})
		c.sayWhy(conn, whyEnded(err, c.stream))
		return
	}
	defer c.watching(auth.Talk, c.stream.ARN())()
	defer line.Close()
	if c.write(conn, line.Voice()) != nil {
		return // the client left while the camera was called
	}
	left := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(left)
		listen(conn, line, end)
	})
	defer reading.Wait()
	defer conn.Close()
	tick := time.NewTicker(talkLookOver)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case <-left:
			over = true
		case <-line.Done():
			over = true
		case <-tick.C:
			if st, err := c.s.c.Catalogue.ByID(c.stream.ID); err != nil || st.Source == nil || *st.Source != *c.stream.Source {
				end(fault.New(fault.Expired, "talk to", c.stream.Name, "its camera was changed or removed").WithHint("call again"))
			}
		}
	}
	line.Close()
	if err := line.Err(); err != nil {
		c.sayWhy(conn, whyEnded(err, c.stream))
	}
}

// listen hands what the socket says to the camera until it closes.
func listen(conn *websocket.Conn, line *talk.Call, end context.CancelCauseFunc) {
	conn.SetReadLimit(talkMessageMax)
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if kind != websocket.BinaryMessage {
			end(fault.New(fault.Invalid, "read message", "", "text, and this socket takes sound").WithHint("send G.711 as binary messages"))
			<-line.Done()
			return
		}
		if line.Say(data) != nil {
			<-line.Done() // it says why
			return
		}
	}
}

// whyEnded is what a client is told; a server that stops has no words of its own.
func whyEnded(err error, st streams.Stream) error {
	if err == nil || fault.KindOf(err) == fault.Internal {
		return fault.New(fault.Unavailable, "talk to", st.Name, "the server ends the call").WithHint("call again in a moment")
	}
	return err
}

func (c *call) write(conn *websocket.Conn, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Now().Add(talkWriteTimeout)); err != nil {
		return err
	}
	return conn.WriteMessage(websocket.TextMessage, text)
}

// sayWhy tells the client why there is no more, and says goodbye. One that left hears
// nothing, and nothing is lost.
func (c *call) sayWhy(conn *websocket.Conn, err error) {
	if c.write(conn, c.s.errorOf(c.w, c.r, err)) == nil {
		_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
	}
}
