package auth

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// The condition keys that every door fills in. Others are looked up in Context.Values.
const (
	keySourceIP = "aws:sourceip"
	keyTime     = "aws:currenttime"
	keySecure   = "aws:securetransport"
)

type condition struct {
	operator string
	key      string
	values   []string
	prefixes []netip.Prefix
	times    []time.Time
}

func newCondition(op, key string, values []string) (condition, error) {
	c := condition{operator: op, key: strings.ToLower(key), values: values}
	if len(values) == 0 || len(values) > entriesMax {
		return c, fmt.Errorf("condition %s %s has %d values; want 1 to %d", op, key, len(values), entriesMax)
	}
	needKey := func(want string) error {
		if c.key != want {
			return fmt.Errorf("condition %s works on %s, not %q", op, want, key)
		}
		return nil
	}
	switch op {
	case "IpAddress", "NotIpAddress":
		for _, v := range values {
			p, err := parsePrefix(v)
			if err != nil {
				return c, fmt.Errorf("condition %s: %w", op, err)
			}
			c.prefixes = append(c.prefixes, p)
		}
		return c, needKey(keySourceIP)
	case "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals":
		for _, v := range values {
			t, err := parseDate(v)
			if err != nil {
				return c, fmt.Errorf("condition %s: %w", op, err)
			}
			c.times = append(c.times, t)
		}
		return c, needKey(keyTime)
	case "Bool":
		for _, v := range values {
			if v != "true" && v != "false" {
				return c, fmt.Errorf("condition Bool: %q; write true or false", v)
			}
		}
		return c, needKey(keySecure)
	case "StringEquals", "StringNotEquals", "StringLike", "StringNotLike":
		for _, v := range values {
			if strings.Contains(v, "${") {
				return c, fmt.Errorf("condition %s: %q uses a policy variable, which is not supported", op, v)
			}
		}
		return c, nil
	}
	return c, fmt.Errorf("condition operator %q is not supported", op)
}

// parsePrefix reads an address or a CIDR. An IPv4 one that is mapped into IPv6 is that IPv4
// one, as the callers' addresses are that it is compared with.
func parsePrefix(v string) (netip.Prefix, error) {
	var p netip.Prefix
	if strings.Contains(v, "/") {
		var err error
		if p, err = netip.ParsePrefix(v); err != nil {
			return p, err
		}
	} else {
		a, err := netip.ParseAddr(v)
		if err != nil {
			return p, err
		}
		p = netip.PrefixFrom(a.WithZone(""), a.BitLen())
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, fmt.Errorf("%s holds more than the mapped IPv4 addresses; write an IPv4 CIDR", v)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

func parseDate(v string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, v); err == nil {
		return t, nil
	}
	if s, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Unix(s, 0), nil
	}
	return time.Time{}, fmt.Errorf("date %q; write 2006-01-02T15:04:05Z", v)
}

// holds evaluates the condition. What cannot be known (no source address) counts
// against the caller: an Allow does not hold, a Deny does.
func (c *condition) holds(x *Context, effect Effect) bool {
	unknown := effect == Deny
	switch c.operator {
	case "IpAddress", "NotIpAddress":
		addr, ok := sourceAddr(x.SourceIP)
		if !ok {
			return unknown
		}
		in := false
		for _, p := range c.prefixes {
			in = in || p.Contains(addr)
		}
		return in == (c.operator == "IpAddress")
	case "DateLessThan":
		return anyTime(c.times, func(t time.Time) bool { return x.Time.Before(t) })
	case "DateLessThanEquals":
		return anyTime(c.times, func(t time.Time) bool { return !x.Time.After(t) })
	case "DateGreaterThan":
		return anyTime(c.times, func(t time.Time) bool { return x.Time.After(t) })
	case "DateGreaterThanEquals":
		return anyTime(c.times, func(t time.Time) bool { return !x.Time.Before(t) })
	case "Bool":
		return matchAny(c.values, func(v string) bool { return v == strconv.FormatBool(x.Secure) })
	case "StringEquals", "StringLike":
		v, ok := x.value(c.key)
		return ok && c.matchString(v)
	case "StringNotEquals", "StringNotLike":
		v, ok := x.value(c.key)
		if !ok {
			return unknown
		}
		return !c.matchString(v)
	}
	return unknown
}

func (c *condition) matchString(v string) bool {
	like := strings.HasSuffix(c.operator, "Like")
	return matchAny(c.values, func(p string) bool { return p == v || like && glob(p, v) })
}

func (x *Context) value(key string) (string, bool) {
	switch key {
	case keySourceIP:
		a, ok := sourceAddr(x.SourceIP)
		return a.String(), ok
	case keyTime:
		return x.Time.UTC().Format(time.RFC3339), true
	case keySecure:
		return strconv.FormatBool(x.Secure), true
	}
	for k, v := range x.Values {
		if strings.EqualFold(k, key) {
			return v, true
		}
	}
	return "", false
}

func anyTime(list []time.Time, match func(time.Time) bool) bool {
	for _, t := range list {
		if match(t) {
			return true
		}
	}
	return false
}

// sourceAddr reads "ip", "ip:port" and "[ip]:port"; an IPv4 address mapped into IPv6
// is that IPv4 address.
func sourceAddr(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}, false
	}
	return a.Unmap().WithZone(""), true
}
