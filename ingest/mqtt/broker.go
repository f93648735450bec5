package mqtt

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"penstock/internal/fault"
)

// broker speaks the protocol. It is all that is known of the library underneath.
type broker interface {
	start() error
	serve(c net.Conn) error // one connection, until it ends
	stop()
}

// sessionKept is how long, in seconds, what is known of a client that left is kept: which
// messages of QoS 2 it has not released.
const sessionKept = 3600

// noDelivery is what a client that subscribes is told.
const noDelivery = "this server takes messages and delivers none: follow a data stream with GET /v1/data/NAME/tail"

// mochiBroker is mochi-mqtt, with a hook that takes all messages out of it.
type mochiBroker struct {
	mochi.HookBase
	server   *mochi.Server
	door     *Server
	sessions sync.Map // net.Conn: *session
}

func newBroker(c Config, door *Server) (broker, error) {
	limits := mochi.NewDefaultServerCapabilities()
	limits.MaximumClients = int64(c.MaxConns)
	limits.MaximumPacketSize = uint32(c.MaxPacket)
	limits.MaximumSessionExpiryInterval = sessionKept
	limits.ReceiveMaximum, limits.MaximumInflight = uint16(c.InFlight), uint16(c.InFlight)
	limits.MinimumProtocolVersion = 4
	limits.SharedSubAvailable, limits.WildcardSubAvailable, limits.SubIDAvailable = 0, 0, 0
	b := &mochiBroker{door: door, server: mochi.New(&mochi.Options{Capabilities: limits, Logger: slog.New(slog.DiscardHandler), SysTopicResendInterval: 1 << 30})}
	return b, b.server.AddHook(b, nil)
}

func (b *mochiBroker) start() error { return b.server.Serve() }
func (b *mochiBroker) stop()        { _ = b.server.Close() } // always nil

func (b *mochiBroker) serve(c net.Conn) (err error) {
	defer func() {
		if r := recover(); r != nil { // a packet that the library does not expect ends its connection, not the server
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			b.door.log.Error("mqtt packet", "remote", c.RemoteAddr(), "err", err)
		}
		if v, ok := b.sessions.LoadAndDelete(c); ok {
			v.(*session).close()
		}
	}()
	return b.server.EstablishConnection("mqtt", c)
}

// ID names the hook.
func (b *mochiBroker) ID() string { return "penstock" }

// Provides lists what the hook hears of.
func (b *mochiBroker) Provides(event byte) bool {
	return bytes.IndexByte([]byte{mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnPublish, mochi.OnPacketEncode, mochi.OnWill, mochi.OnPacketRead}, event) >= 0
}

// OnConnectAuthenticate signs a client in.
func (b *mochiBroker) OnConnectAuthenticate(cl *mochi.Client, pk packets.Packet) bool {
	remote, _, err := net.SplitHostPort(cl.Net.Conn.RemoteAddr().String())
	if err != nil {
		remote = cl.Net.Conn.RemoteAddr().String()
	}
	c, err := b.door.signIn(string(pk.Connect.Username), string(pk.Connect.Password), cl.ID, remote, secure(cl.Net.Conn), func(reason error) { b.end(cl, reason) })
	if err != nil {
		b.door.log.Info("sign-in refused", "remote", remote, "err", err)
		return false
	}
	// Two keys may use one identifier: neither takes the other's connection over.
	cl.ID = c.principal.Account + "/" + c.principal.ID + "/" + cl.ID
	b.sessions.Store(cl.Net.Conn, c)
	return true
}

// OnACLCheck lets all messages in, which are judged when they are stored, and no
// subscriptions.
func (b *mochiBroker) OnACLCheck(_ *mochi.Client, _ string, write bool) bool { return write }

// OnPacketEncode tells a client of version 5 why a subscription is refused (section
// 3.9.2.1.2), and, when it signs in, what the library leaves out: how large a packet may
// be (3.2.2.3.6).
func (b *mochiBroker) OnPacketEncode(cl *mochi.Client, pk packets.Packet) packets.Packet {
	if cl.Properties.ProtocolVersion != 5 {
		return pk
	}
	switch pk.FixedHeader.Type {
	case packets.Suback:
		pk.Properties.ReasonString = noDelivery
	case packets.Connack:
		pk.Properties.MaximumPacketSize = uint32(b.door.c.MaxPacket)
	}
	return pk
}

// OnPacketRead closes the connection of who publishes to a topic that is none: the
// library would let it wait for ever.
func (b *mochiBroker) OnPacketRead(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type == packets.Publish && !mochi.IsValidFilter(pk.TopicName, true) && pk.Properties.TopicAlias == 0 {
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

// OnPublish takes a message. Its acknowledgement is withheld until it is stored: for QoS 1
// by sending it from the session, so that a client may have many under way; for QoS 2 by
// not returning.
func (b *mochiBroker) OnPublish(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	c, ok := b.session(cl)
	if !ok {
		return pk, packets.ErrRejectPacket
	}
	pk.FixedHeader.Retain = false
	switch pk.FixedHeader.Qos {
	case 0:
		_ = c.publish(pk.TopicName, pk.Payload, func(err error) { b.dropped(c, err) }) // the connection has ended
	case 1:
		_ = c.publish(pk.TopicName, pk.Payload, func(err error) { b.acknowledge(cl, c, pk.PacketID, err) })
	default:
		stored := make(chan error, 1)
		err := c.publish(pk.TopicName, pk.Payload, func(err error) { stored <- err })
		if err == nil {
			err = <-stored
		}
		if err == nil {
			return pk, nil
		}
		if c.ctx.Err() == nil {
			c.kick(err)
		}
	}
	return pk, packets.ErrRejectPacket
}

func (b *mochiBroker) session(cl *mochi.Client) (*session, bool) {
	v, ok := b.sessions.Load(cl.Net.Conn)
	if !ok {
		return nil, false
	}
	c, ok := v.(*session)
	return c, ok
}

// dropped is for a message of QoS 0 that was not stored.
func (b *mochiBroker) dropped(c *session, err error) {
	if err != nil && c.ctx.Err() == nil {
		b.door.log.Debug("message dropped", "remote", c.remote, "err", err)
	}
}

// acknowledge sends PUBACK. A refusal has a code in MQTT 5; in 3.1.1 the connection ends,
// as [MQTT-3.3.5-2] has it, and so it does when the fault is ours: the client sends again.
func (b *mochiBroker) acknowledge(cl *mochi.Client, c *session, id uint16, err error) {
	if c.ctx.Err() != nil {
		return
	}
	ack := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}, PacketID: id, Created: time.Now().Unix()}
	if err != nil {
		code := codeOf(err)
		if cl.Properties.ProtocolVersion < 5 || code.Code == packets.ErrUnspecifiedError.Code {
			c.kick(err)
			return
		}
		ack.ReasonCode, ack.Properties.ReasonString = code.Code, err.Error()
	}
	if err := cl.WritePacket(ack); err != nil {
		cl.Stop(err)
	}
}

// codeOf is the reason code (MQTT 5 section 3.4.2.1) of a refusal.
func codeOf(err error) packets.Code {
	switch fault.KindOf(err) {
	case fault.Denied, fault.NotFound, fault.Unauthentic:
		return packets.ErrNotAuthorized
	case fault.Throttled:
		return packets.ErrQuotaExceeded
	case fault.Invalid:
		return packets.ErrTopicNameInvalid
	}
	return packets.ErrUnspecifiedError
}

// end disconnects a client, with the reason where its version has one.
func (b *mochiBroker) end(cl *mochi.Client, reason error) {
	code := codeOf(reason)
	if cl.Properties.ProtocolVersion == 5 {
		_ = cl.Net.Conn.SetWriteDeadline(time.Now().Add(time.Second)) // it may not read
		_ = b.server.DisconnectClient(cl, code)                       // returns the code
	}
	cl.Stop(errors.Join(reason))
}

// OnWill stores the last message of a client whose connection broke.
func (b *mochiBroker) OnWill(cl *mochi.Client, will mochi.Will) (mochi.Will, error) {
	if c, ok := b.session(cl); ok && will.Flag > 0 && mochi.IsValidFilter(will.TopicName, true) {
		stored := make(chan error, 1)
		if c.publish(will.TopicName, will.Payload, func(err error) { stored <- err }) == nil {
			b.dropped(c, <-stored)
		}
	}
	will.Retain = false
	return will, nil
}
