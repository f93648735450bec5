package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"

	"penstock/internal/fault"
	"penstock/media/wave"
)

const (
	// spoken is what one message carries, spokenTime how long that takes to say.
	spoken     = 160
	spokenTime = 20 * time.Millisecond
	// talkPatience is how long a server may take to call the camera, goodbye how long to
	// take leave.
	talkPatience = 30 * time.Second
	goodbye      = 5 * time.Second
)

func talkCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	cmd := &cobra.Command{Use: "talk NAME [FILE]", Short: "Say something into the loudspeaker of a camera, or show what it takes", Args: cobra.RangeArgs(1, 2), ValidArgsFunction: c.streamNames(1),
		Long: "FILE is a WAV file of one channel and 8000 Hz (16-bit PCM, A-law or mu-law) or bare mu-law; - is standard input.\n" +
			"Without FILE it prints what the camera takes, and who talks to it.",
		Example: "  penstock talk front-door hello.wav\n" +
			"  penstock talk front-door\n" +
			"  ffmpeg -i hello.mp3 -ar 8000 -ac 1 -f mulaw - | penstock talk front-door -",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return c.talkOffer(cmd.Context(), args[0])
			}
			in, done, err := c.t.records(args[1], nil)
			if err != nil {
				return err
			}
			defer done()
			return c.talk(cmd.Context(), args[0], in)
		}}
	c.bind(cmd)
	return cmd
}

// talkOffer prints what a camera takes.
func (c *client) talkOffer(ctx context.Context, name string) error {
	var d map[string]any
	if err := c.call(ctx, http.MethodGet, streamPath(name, "/talk"), nil, nil, &d); err != nil {
		return err
	}
	if c.t.format != "table" {
		return c.t.printOne(d, func(d map[string]any) []string {
			if v, ok := d["talk"].(map[string]any); ok {
				return []string{text(v, "codec")}
			}
			return []string{"none"}
		})
	}
	line := "no two-way audio"
	if v, ok := d["talk"].(map[string]any); ok {
		line = text(v, "codec") + ", " + text(v, "rate") + " Hz"
	} else if why, ok := d["reason"].(string); ok {
		line = why
	}
	if who, ok := d["busy"].(map[string]any); ok {
		line += "; " + text(who, "who") + " talks to it since " + text(who, "since")
	}
	if _, err := fmt.Fprintln(c.t.out, line); err != nil {
		return err
	}
	if hint, ok := d["hint"].(string); ok {
		c.t.say("try: %s", hint)
	}
	return nil
}

// talk says what in holds, as fast as it is spoken.
func (c *client) talk(ctx context.Context, name string, in io.Reader) error {
	speech, err := wave.NewReader(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn, err := c.socket(ctx, streamPath(name, "/talk"))
	if err != nil {
		return err
	}
	defer conn.Close()
	codec, err := listens(conn)
	if err != nil {
		return err
	}
	speech.As(codec == "PCMU")
	ended := make(chan error, 1)
	go func() {
		_, err := listens(conn) // it says nothing more but why it ends
		cancel(err)
		ended <- err
	}()
	n, err := say(ctx, conn, speech)
	// What was said is in front of this on its way. A server that is gone is told nothing.
	_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(goodbye))
	_ = conn.SetReadDeadline(time.Now().Add(goodbye))
	why := <-ended
	switch {
	case fault.KindOf(why) != fault.Internal, err == nil && !websocket.IsCloseError(why, websocket.CloseNormalClosure):
		return why
	case err != nil:
		return err
	}
	c.t.say("said %s to %s", (time.Duration(n) * time.Second / wave.Rate).Round(10*time.Millisecond), name)
	return nil
}

// say sends speech, a message every 20 ms, and returns how many octets it was.
func say(ctx context.Context, conn *websocket.Conn, speech io.Reader) (n int, err error) {
	buf := make([]byte, spoken)
	due := time.Now()
	for {
		got, err := io.ReadFull(speech, buf)
		if got > 0 {
			if wait := time.Until(due); wait > 0 {
				t := time.NewTimer(wait)
				select {
				case <-t.C:
				case <-ctx.Done():
					t.Stop()
					return n, context.Cause(ctx)
				}
			} else {
				due = time.Now() // standard input had nothing to say
			}
			due = due.Add(spokenTime)
			if err := conn.WriteMessage(websocket.BinaryMessage, buf[:got]); err != nil {
				return n, unreachable{fmt.Errorf("talk: %w", err)}
			}
			n += got
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

// listens reads a message: the codec of a camera that listens, or why none does.
func listens(conn *websocket.Conn) (codec string, err error) {
	_, data, err := conn.ReadMessage()
	if err != nil {
		return "", err
	}
	var m struct {
		Codec string
		Error struct{ Code, Message, Hint string }
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return "", fmt.Errorf("read the server's answer: %w", err)
	}
	switch {
	case m.Error.Code != "":
		return "", fault.New(kinds[m.Error.Code], "", "", m.Error.Message).WithHint(m.Error.Hint)
	case m.Codec != "PCMU" && m.Codec != "PCMA":
		return "", fmt.Errorf("the server speaks %q, and this program G.711", m.Codec)
	}
	return m.Codec, nil
}

// socket opens a WebSocket to the server.
func (c *client) socket(ctx context.Context, path string) (*websocket.Conn, error) {
	if err := c.settle(); err != nil {
		return nil, err
	}
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: talkPatience}
	if tr, ok := c.http.Transport.(*http.Transport); ok && tr.TLSClientConfig != nil {
		d.TLSClientConfig = tr.TLSClientConfig.Clone()
		d.TLSClientConfig.NextProtos = nil // a WebSocket needs HTTP/1.1
	}
	h := http.Header{}
	if c.token != "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
	conn, res, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(c.server, "http")+path, h)
	switch {
	case err == nil:
		conn.SetReadLimit(answerLimit)
		return conn, conn.SetReadDeadline(time.Time{})
	case res != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		defer res.Body.Close()
		return nil, c.refusal(res, "GET "+path)
	}
	return nil, c.unreached(err)
}
