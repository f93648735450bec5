// Package guard decides which addresses the program may call: cameras, webhooks,
// object stores that somebody typed in.
//
// It looks at the address that is dialled, after names were resolved, so that no
// spelling (decimal, octal, mapped IPv6) and no name server that answers differently
// the second time gets around it (CWE-918).
package guard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
)

// Resolver turns names into addresses; *net.Resolver satisfies it.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config says what may be called. The zero value is the documented default: any
// address but loopback, link-local (169.254.0.0/16 with the clouds' metadata
// services, fe80::/10), unspecified, multicast, broadcast and special-use ones.
// Addresses of private networks are allowed: cameras live there.
type Config struct {
	Allow    []netip.Prefix // allowed although refused by default: 127.0.0.0/8
	Deny     []netip.Prefix // refused although allowed by default; wins over Allow
	Resolver Resolver       // net.DefaultResolver
	Dial     host.Dial      // a net.Dialer with a time limit of 10 s
}

// resolvedMax is how many addresses of a name are tried.
const resolvedMax = 8

// Guard checks outgoing addresses. It may be used at once.
type Guard struct {
	allow, deny, refused []netip.Prefix
	resolver             Resolver
	dial                 host.Dial
}

// New checks c and returns the Guard.
func New(c Config) (*Guard, error) {
	g := &Guard{resolver: c.Resolver, dial: c.Dial}
	for _, p := range c.Allow {
		if !p.IsValid() {
			return nil, fault.New(fault.Invalid, "read allowed addresses", "", "one is no CIDR; write 10.0.0.0/8")
		}
		g.allow = append(g.allow, p.Masked())
	}
	for _, p := range c.Deny {
		if !p.IsValid() {
			return nil, fault.New(fault.Invalid, "read denied addresses", "", "one is no CIDR; write 10.0.0.0/8")
		}
		g.deny = append(g.deny, p.Masked())
	}
	for _, r := range refusedByDefault() {
		g.refused = append(g.refused, netip.MustParsePrefix(r))
	}
	if g.resolver == nil {
		g.resolver = net.DefaultResolver
	}
	if g.dial == nil {
		g.dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	return g, nil
}

// refusedByDefault lists prefixes of the IANA special-purpose registries (RFC 6890)
// that no camera or webhook has. IPv4 addresses inside IPv6 ones are taken out and
// checked as IPv4, except where a translator would hide them.
func refusedByDefault() []string {
	return []string{
		"0.0.0.0/8",                                         // "this" network; 0.0.0.0 reaches loopback on Linux
		"127.0.0.0/8",                                       // loopback
		"169.254.0.0/16",                                    // link-local; metadata services at 169.254.169.254
		"100.100.100.200/32",                                // metadata service of Alibaba Cloud
		"168.63.129.16/32",                                  // Azure's host
		"192.0.0.0/24",                                      // IETF protocol assignments; Oracle's metadata service
		"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // documentation
		"198.18.0.0/15", // benchmarks
		"224.0.0.0/4",   // multicast
		"240.0.0.0/4",   // reserved, broadcast
		"::/128", "::1/128",
		"::/96",                          // IPv4-compatible
		"64:ff9b::/96", "64:ff9b:1::/48", // NAT64: an IPv4 address behind a translator
		"::ffff:0:0:0/96",   // SIIT, the same (RFC 7915)
		"100::/64",          // discard
		"2001::/32",         // Teredo
		"2002::/16",         // 6to4
		"2001:db8::/32",     // documentation
		"fd00:ec2::254/128", // metadata service of AWS over IPv6
		"fd20:ce::254/128",  // that of Google Cloud
		"fe80::/10",         // link-local
		"fec0::/10",         // site-local, deprecated
		"ff00::/8",          // multicast
	}
}

// Check reports whether a may be called: nil, or fault.Denied with the reason.
func (g *Guard) Check(a netip.Addr) error {
	// A mapped address reaches the IPv4 host that it names.
	a = a.Unmap().WithZone("")
	if !a.IsValid() {
		return fault.New(fault.Denied, "call address", "", "it is no address")
	}
	if within(g.deny, a) {
		return fault.New(fault.Denied, "call address", a.String(), "the configuration denies it")
	}
	if within(g.allow, a) || !within(g.refused, a) {
		return nil
	}
	return fault.New(fault.Denied, "call address", a.String(), "it is "+kind(a)).
		WithHint(fmt.Sprintf("if it is meant, start the server with --allow-address %s/%d, PENSTOCK_ALLOW_ADDRESSES, or allow_addresses in its settings", a, a.BitLen()))
}

func within(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func kind(a netip.Addr) string {
	switch {
	case a.IsLoopback():
		return "this machine itself"
	case a.IsUnspecified():
		return "the unspecified address"
	case a.IsLinkLocalUnicast():
		return "link-local, where clouds keep their metadata services"
	case a.IsMulticast():
		return "multicast"
	}
	return "reserved for special use"
}

// Dial resolves the host of address once, checks what came out and dials exactly that.
// It is a host.Dial. fault.Denied: every address of the host is refused.
func (g *Guard) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return nil, fault.New(fault.Denied, "call", address, "network "+network+" is not allowed")
	}
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "call", address, err)
	}
	addrs, err := g.Resolve(ctx, network, name)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, a := range addrs {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		conn, err := g.dial(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Resolve returns the addresses of name that may be called, at least one.
func (g *Guard) Resolve(ctx context.Context, network, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, g.Check(a)
	}
	found, err := g.resolver.LookupNetIP(ctx, "ip"+network[3:], name)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "look up", name, err)
	}
	var ok []netip.Addr
	var refusal error
	for _, a := range found {
		if err := g.Check(a); err != nil {
			refusal = err
			continue
		}
		if ok = append(ok, a.Unmap()); len(ok) == resolvedMax {
			break
		}
	}
	if len(ok) == 0 {
		if refusal == nil {
			refusal = fault.New(fault.Unavailable, "look up", name, "it has no address")
		}
		return nil, refusal
	}
	return ok, nil
}
