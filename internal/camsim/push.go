package camsim

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/aler9/gortsplib"
	liburl "github.com/aler9/gortsplib/pkg/url"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// PushConfig says what to push and where. Zero fields mean the defaults named beside them.
type PushConfig struct {
	URL      string // rtsp://host:port/name, without user and password
	Username string
	Password string
	UDP      bool        // TCP
	TLS      *tls.Config // for rtsps
	Material Material    // NewDemo()
	Second   Material    // for Faults.ChangeAfter
	Faults   Faults      // those of the media; the others are a server's
}

// Push announces material to an RTSP server and records it there until ctx ends
// (nil) or something breaks.
func Push(ctx context.Context, c PushConfig) error {
	if c.Material == nil {
		c.Material = NewDemo()
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("push to %q: %w", c.URL, err)
	}
	if c.Username != "" || c.Password != "" {
		u.User = url.UserPassword(c.Username, c.Password)
	}
	transport := gortsplib.TransportTCP
	if c.UDP {
		transport = gortsplib.TransportUDP
	}
	client := &gortsplib.Client{Transport: &transport, TLSConfig: c.TLS, DisableRTCPSenderReports: true, WriteBufferCount: 2048, ReadBufferCount: 8, UserAgent: "camsim"}
	if err := client.Start(u.Scheme, u.Host); err != nil {
		return fmt.Errorf("push to %s: %w", c.URL, err)
	}
	done := make(chan struct{})
	end := sync.OnceFunc(func() { close(done) })
	defer client.Close()
	stop := context.AfterFunc(ctx, func() {
		end()
		client.Close()
	})
	defer stop()
	if err := announce(client, (*liburl.URL)(u), c); err != nil {
		return fmt.Errorf("push to %s: %w", c.URL, err)
	}
	ended := make(chan error, 1)
	go func() {
		err := client.Wait()
		end()
		ended <- err
	}()
	f := film{material: c.Material, second: c.Second, faults: c.Faults, epoch: time.Now(), done: done, out: clientSink{client}}
	err = f.run()
	client.Close()
	werr := <-ended
	switch {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("push to %s: %w", c.URL, err)
	}
	return fmt.Errorf("push to %s: %w", c.URL, werr)
}

func announce(client *gortsplib.Client, u *liburl.URL, c PushConfig) error {
	tracks := sdpTracks(c.Material.Tracks(), c.Faults.InBandOnly)
	if _, err := client.Announce(u, tracks); err != nil {
		return err
	}
	if err := client.SetupAll(tracks, u); err != nil {
		return err
	}
	_, err := client.Record()
	return err
}

type clientSink struct {
	c *gortsplib.Client
}

func (s clientSink) rtp(track int, p *rtp.Packet) error  { return s.c.WritePacketRTP(track, p) }
func (s clientSink) rtcp(track int, p rtcp.Packet) error { return s.c.WritePacketRTCP(track, p) }
func (s clientSink) drop()                               { go s.c.Close() }
