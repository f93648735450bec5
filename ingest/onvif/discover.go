package onvif

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"sort"
	"strings"
	"sync"
	"time"

	wsdiscovery "github.com/IOTechSystems/onvif/ws-discovery"
	"github.com/google/uuid"
	"golang.org/x/net/ipv4"

	"penstock/internal/fault"
	"penstock/internal/host"
)

// Limits on what a network full of devices, or one hostile one, can make us hold.
const (
	answersMax   = 1024     // datagrams read per probe
	answerMax    = 16 << 10 // bytes of one: real ones have 1-3 kB
	camerasMax   = 512
	interfaceMax = 16
	// again is when the probe is repeated, for datagrams do get lost (SOAP-over-UDP §4).
	again = 500 * time.Millisecond
)

// New returns a Client; nothing is opened before it is asked.
func New(c Config) *Client {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Wait = cmp.Or(c.Wait, 3*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 4*time.Second)
	return &Client{conf: c}
}

// Discover sends a WS-Discovery probe for video transmitters and collects answers for
// Config.Wait, or until ctx ends. No answer is no error; a machine that cannot send
// one is (Unavailable). URLs are left empty.
func (c *Client) Discover(ctx context.Context) ([]Camera, error) {
	found := &findings{seen: map[string]Camera{}}
	if err := c.discover(ctx, found); err != nil {
		return nil, err
	}
	return found.list(), nil
}

// discover adds to found until ctx ends, or Config.Wait is over.
func (c *Client) discover(ctx context.Context, found *findings) error {
	socks, err := c.sockets()
	if err != nil {
		return fault.New(fault.Unavailable, "look for cameras", "", "no network to look in: "+err.Error()).
			WithHint("enter the camera's address by hand; containers see no multicast unless they use the host's network")
	}
	ctx, cancel := context.WithTimeout(ctx, c.conf.Wait)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range socks {
		wg.Go(func() { s.ask(ctx, found) })
	}
	wg.Wait()
	return nil
}

// socket is one place to probe from.
type socket struct {
	pc    net.PacketConn
	group *net.UDPAddr
}

func (c *Client) sockets() ([]socket, error) {
	if c.conf.Group != nil && c.conf.Interfaces == nil {
		pc, err := net.ListenPacket("udp4", ":0")
		if err != nil {
			return nil, err
		}
		return []socket{{pc, c.conf.Group}}, nil
	}
	group := c.conf.Group
	if group == nil {
		group = &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 3702}
	}
	list := c.conf.Interfaces
	if list == nil {
		var err error
		if list, err = net.Interfaces(); err != nil {
			return nil, err
		}
	}
	var out []socket
	var errs []error
	for _, i := range list {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagMulticast == 0 || i.Flags&net.FlagLoopback != 0 || len(out) == interfaceMax {
			continue
		}
		pc, err := net.ListenPacket("udp4", ":0")
		if err == nil {
			if err = ipv4.NewPacketConn(pc).SetMulticastInterface(&i); err == nil {
				out = append(out, socket{pc, group})
				continue
			}
			pc.Close()
		}
		errs = append(errs, err)
	}
	if len(out) == 0 {
		return nil, errors.Join(append(errs, errors.New("no interface that is up can do multicast"))...)
	}
	return out, nil
}

// ask probes twice and reads answers until ctx ends.
func (s socket) ask(ctx context.Context, found *findings) {
	stop := context.AfterFunc(ctx, func() { s.pc.Close() })
	defer func() {
		stop()
		s.pc.Close()
	}()
	probe := []byte(wsdiscovery.BuildProbeMessage(uuid.NewString(), nil, []string{"dn:NetworkVideoTransmitter"}, nil).String())
	if _, err := s.pc.WriteTo(probe, s.group); err != nil {
		return
	}
	repeat := time.AfterFunc(again, func() { _, _ = s.pc.WriteTo(probe, s.group) })
	defer repeat.Stop()
	buf := make([]byte, answerMax)
	for range answersMax {
		n, from, err := s.pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if ua, ok := from.(*net.UDPAddr); ok {
			found.add(buf[:n], ua.IP)
		}
	}
}

// findings gathers cameras from several sockets.
type findings struct {
	mu   sync.Mutex
	seen map[string]Camera
}

func (f *findings) add(b []byte, from net.IP) {
	cams, err := parseMatches(b, from)
	if err != nil {
		return // whoever sends nonsense is not a camera
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range cams {
		if len(f.seen) < camerasMax {
			f.seen[c.XAddr] = c
		}
	}
}

func (f *findings) list() []Camera {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Camera, 0, len(f.seen))
	for _, c := range f.seen {
		out = append(out, c)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].XAddr < out[j].XAddr })
	return out
}

// matches is a ProbeMatches message (WS-Discovery §5.3).
type matches struct {
	Body struct {
		ProbeMatches struct {
			ProbeMatch []struct {
				Scopes string
				XAddrs string
			}
		}
	}
}

// parseMatches reads the answer that came from an address. The camera's own idea of
// its address is replaced by that: it is the one that is known to work, and nobody can
// send us elsewhere by answering.
func parseMatches(b []byte, from net.IP) ([]Camera, error) {
	var m matches
	if err := unmarshal(b, &m); err != nil {
		return nil, err
	}
	var out []Camera
	for _, pm := range m.Body.ProbeMatches.ProbeMatch {
		for _, x := range strings.Fields(pm.XAddrs) {
			u, err := url.Parse(x)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				continue
			}
			u.User = nil
			setHost(u, from.String())
			out = append(out, Camera{Name: scope(pm.Scopes, "name"), Hardware: scope(pm.Scopes, "hardware"),
				Address: from.String(), XAddr: u.String(), URLs: []URL{}})
			break
		}
		if len(out) == camerasMax {
			break
		}
	}
	return out, nil
}

// setHost replaces u's host and keeps its port.
func setHost(u *url.URL, name string) {
	if port := u.Port(); port != "" {
		u.Host = net.JoinHostPort(name, port)
		return
	}
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	u.Host = name
}

// scope returns the first scope of a category: onvif://www.onvif.org/name/Front%20Door
// (ONVIF Core §7.3.2.2).
func scope(scopes, category string) string {
	for _, s := range strings.Fields(scopes) {
		_, value, ok := strings.Cut(strings.ToLower(s), "onvif://www.onvif.org/"+category+"/")
		if !ok || value == "" {
			continue
		}
		value = s[len(s)-len(value):]
		if plain, err := url.PathUnescape(value); err == nil {
			value = plain
		}
		return shorten(value)
	}
	return ""
}
