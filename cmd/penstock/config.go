package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"penstock/ingest/mqtt"
	"penstock/ingest/rtsp"
	"penstock/internal/quantity"
	"penstock/internal/secret"
	"penstock/streams/datastream"
	"penstock/web"
)

// config is the whole of what an operator may set, from the file, the environment
// and flags. The zero value of a field means its documented default.
type config struct {
	Data      string   `yaml:"data"`
	HTTP      string   `yaml:"http"`
	RTSP      string   `yaml:"rtsp"`
	RTSPUDP   string   `yaml:"rtsp_udp"`
	RTSPS     string   `yaml:"rtsps"` // only with TLS
	MQTT      string   `yaml:"mqtt"`
	MQTTS     string   `yaml:"mqtts"` // only with TLS
	PublicURL string   `yaml:"public_url"`
	Account   string   `yaml:"account"`
	Region    string   `yaml:"region"`
	LogLevel  string   `yaml:"log_level"`
	LogFormat string   `yaml:"log_format"`
	Allow     []string `yaml:"allow_addresses"`

	TLS struct {
		Cert string `yaml:"cert"`
		Key  string `yaml:"key"`
		Auto bool   `yaml:"self_signed"`
		ACME struct {
			Hosts     []string `yaml:"hosts"`
			Email     string   `yaml:"email"`
			Directory string   `yaml:"directory"`
		} `yaml:"acme"`
	} `yaml:"tls"`

	Connections struct {
		HTTP           int `yaml:"http"`
		HTTPPerAddress int `yaml:"http_per_address"`
		RTSP           int `yaml:"rtsp"`
		RTSPPerAddress int `yaml:"rtsp_per_address"`
		MQTT           int `yaml:"mqtt"`
		MQTTPerAddress int `yaml:"mqtt_per_address"`
	} `yaml:"connections"`

	Storage struct {
		Fragment    span `yaml:"fragment"`
		ChunkSpan   span `yaml:"chunk"`
		ChunkSize   size `yaml:"chunk_size"`
		StallBudget size `yaml:"stall_budget"`
		SpoolLimit  size `yaml:"spool_limit"`
		KeepAtLeast span `yaml:"keep_at_least"`
	} `yaml:"storage"`

	DataStreams struct {
		ShardLimits string `yaml:"shard_limits"` // aws or off
		CallLimits  string `yaml:"call_limits"`  // aws or off
		ShardQuota  int    `yaml:"shard_quota"`
		StateDelay  span   `yaml:"state_delay"`
		Lanes       int    `yaml:"lanes"`
		Tail        size   `yaml:"tail"`
	} `yaml:"data_streams"`

	MQTTTopics []mqttTopic `yaml:"mqtt_topics"`

	Agent agentConfig `yaml:"agent"` // of `penstock agent`; a server passes it over

	S3 struct {
		Endpoint  string     `yaml:"endpoint"`
		Bucket    string     `yaml:"bucket"`
		Prefix    string     `yaml:"prefix"`
		Region    string     `yaml:"region"`
		AccessKey string     `yaml:"access_key"`
		SecretKey secretText `yaml:"secret_key"`
		CAFile    string     `yaml:"ca_file"`
	} `yaml:"s3"`
}

// defaults are what holds when nobody says otherwise.
func defaults() config {
	c := config{
		Data: "penstock-data", HTTP: "127.0.0.1:8080", RTSP: "127.0.0.1:8554", RTSPUDP: "auto", RTSPS: "127.0.0.1:8322", MQTT: off, MQTTS: off,
		Account: "000000000000", Region: "us-east-1", LogLevel: "info", LogFormat: "text",
	}
	c.Connections.HTTP, c.Connections.RTSP, c.Connections.MQTT = web.DefaultMaxConns, rtsp.DefaultConnections, mqtt.DefaultMaxConns
	c.Storage.Fragment = span(2 * time.Second)
	c.Storage.ChunkSpan = span(time.Minute)
	c.Storage.ChunkSize = 64 << 20
	c.Storage.StallBudget = 512 << 20
	c.Storage.SpoolLimit = 20e9
	c.Storage.KeepAtLeast = span(time.Hour)
	c.DataStreams.ShardLimits, c.DataStreams.CallLimits, c.DataStreams.ShardQuota = limitsAWS, limitsOff, datastream.DefaultShardLimit
	c.DataStreams.Lanes, c.DataStreams.Tail = 1, 64<<20
	c.S3.Region = "us-east-1"
	c.Agent.Endpoint, c.Agent.State, c.Agent.Pending = "http://"+c.HTTP, "penstock-agent", 32<<20
	return c
}

// span is a duration that the file writes as "2s" or "30d".
type span time.Duration

// UnmarshalYAML reads "30d".
func (s *span) UnmarshalYAML(n *yaml.Node) error {
	d, err := quantity.Duration(n.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	*s = span(d)
	return nil
}

// MarshalYAML writes "30d".
func (s span) MarshalYAML() (any, error) { return quantity.Days(time.Duration(s)), nil }

// size is a number of bytes that the file writes as "64MiB".
type size int64

// UnmarshalYAML reads "64MiB".
func (b *size) UnmarshalYAML(n *yaml.Node) error {
	v, err := quantity.Size(n.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	*b = size(v)
	return nil
}

// secretText is a secret in the file; it writes itself as ***.
type secretText struct{ secret.Text }

// UnmarshalYAML reads the secret.
func (s *secretText) UnmarshalYAML(n *yaml.Node) error {
	s.Text = secret.New(n.Value)
	return nil
}

// MarshalYAML hides the secret.
func (s secretText) MarshalYAML() (any, error) { return s.String(), nil }

// configLimit bounds the file: the commented sample is 4 kB.
const configLimit = 1 << 20

// readConfig lays the file and the environment over the defaults. Unknown keys are
// refused with their line.
func readConfig(file string, env func(string) (string, bool)) (config, error) {
	c := defaults()
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return c, fmt.Errorf("read config: %w", err)
		}
		defer f.Close()
		if err := parseConfig(&c, io.LimitReader(f, configLimit)); err != nil {
			return c, fmt.Errorf("read config %s: %w", file, err)
		}
	}
	if err := overlayEnv(&c, env); err != nil {
		return c, err
	}
	return c, nil
}

func parseConfig(c *config, r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	err = d.Decode(c)
	var wrong *yaml.TypeError
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &wrong):
		// The decoder names types of Go, which nobody can look up.
		unknown := regexp.MustCompile(`(?s)field (\S+) not found in type .*`)
		said := make([]string, len(wrong.Errors))
		for i, e := range wrong.Errors {
			said[i] = unknown.ReplaceAllString(e, "no setting is called $1")
		}
		return errors.New(strings.Join(said, "; "))
	}
	return err
}

// overlay takes the secret from the variable name, or from the file that name_FILE names,
// as container platforms hand them over.
func (s *secretText) overlay(name string, env func(string) (string, bool)) error {
	if v, ok := env(name); ok {
		s.Text = secret.New(v)
	}
	file, ok := env(name + "_FILE")
	if !ok {
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read %s_FILE: %w", name, err)
	}
	s.Text = secret.New(strings.TrimSpace(string(text)))
	return nil
}

// overlayEnv lays PENSTOCK_... variables over c.
func overlayEnv(c *config, env func(string) (string, bool)) error {
	texts := map[string]*string{
		"MQTT": &c.MQTT, "MQTTS": &c.MQTTS, "DATA": &c.Data, "HTTP": &c.HTTP, "RTSP": &c.RTSP, "RTSP_UDP": &c.RTSPUDP, "RTSPS": &c.RTSPS, "PUBLIC_URL": &c.PublicURL,
		"ACCOUNT": &c.Account, "REGION": &c.Region, "LOG_LEVEL": &c.LogLevel, "LOG_FORMAT": &c.LogFormat,
		"TLS_CERT": &c.TLS.Cert, "TLS_KEY": &c.TLS.Key, "ACME_EMAIL": &c.TLS.ACME.Email, "ACME_DIRECTORY": &c.TLS.ACME.Directory,
		"S3_ENDPOINT": &c.S3.Endpoint, "S3_BUCKET": &c.S3.Bucket, "S3_PREFIX": &c.S3.Prefix, "S3_REGION": &c.S3.Region,
		"AGENT_ENDPOINT": &c.Agent.Endpoint, "AGENT_ACCESS_KEY": &c.Agent.AccessKey, "AGENT_CA_FILE": &c.Agent.CAFile, "AGENT_STATE": &c.Agent.State,
		"S3_ACCESS_KEY": &c.S3.AccessKey, "S3_CA_FILE": &c.S3.CAFile, "SHARD_LIMITS": &c.DataStreams.ShardLimits, "CALL_LIMITS": &c.DataStreams.CallLimits,
	}
	for name, field := range texts {
		if v, ok := env("PENSTOCK_" + name); ok {
			*field = v
		}
	}
	for name, field := range map[string]*secretText{"S3_SECRET_KEY": &c.S3.SecretKey, "AGENT_SECRET_KEY": &c.Agent.SecretKey} {
		if err := field.overlay("PENSTOCK_"+name, env); err != nil {
			return err
		}
	}
	if v, ok := env("PENSTOCK_ALLOW_ADDRESSES"); ok {
		c.Allow = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
	}
	if v, ok := env("PENSTOCK_ACME_HOSTS"); ok {
		c.TLS.ACME.Hosts = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
	}
	if v, ok := env("PENSTOCK_STALL_BUDGET"); ok {
		n, err := quantity.Size(v)
		if err != nil {
			return fmt.Errorf("PENSTOCK_STALL_BUDGET: %w", err)
		}
		c.Storage.StallBudget = size(n)
	}
	return nil
}

// Validate names the first field that cannot be.
func (c *config) Validate() error {
	for field, addr := range map[string]string{"http": c.HTTP, "rtsp": c.RTSP, "rtsps": c.RTSPS, "mqtt": c.MQTT, "mqtts": c.MQTTS} {
		if addr == "off" && field != "http" {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("%s %q: not HOST:PORT", field, addr)
		}
	}
	if c.RTSP != "off" && c.udpAddress() != "" && c.RTSPUDP != "off" {
		_, port, err := net.SplitHostPort(c.udpAddress())
		if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 2 || n > 65534 || n%2 != 0 {
			return fmt.Errorf("rtsp_udp %q: not auto, off, or an even port (with or without HOST:)", c.RTSPUDP)
		}
	}
	for _, cidr := range c.Allow {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			return fmt.Errorf("allow_addresses %q: not a CIDR such as 127.0.0.0/8", cidr)
		}
	}
	if len(c.Account) != 12 || strings.Trim(c.Account, "0123456789") != "" {
		return fmt.Errorf("account %q: not 12 digits", c.Account)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return errors.New("tls: cert and key come together")
	}
	if len(c.TLS.ACME.Hosts) > 0 && (c.TLS.Auto || c.TLS.Cert != "") {
		return errors.New("tls: acme, self_signed and cert exclude each other")
	}
	if c.TLS.Auto && c.TLS.Cert != "" {
		return errors.New("tls: self_signed and cert exclude each other")
	}
	if err := c.validateConnections(); err != nil {
		return err
	}
	if d := time.Duration(c.Storage.Fragment); d < time.Second || d > 10*time.Second {
		return fmt.Errorf("storage.fragment %v: not between 1s and 10s", d)
	}
	if c.Storage.StallBudget < 16<<20 {
		return fmt.Errorf("storage.stall_budget %d: less than 16MiB", c.Storage.StallBudget)
	}
	if err := c.validateData(); err != nil {
		return err
	}
	if c.MQTTS != off && !c.secure() {
		return errors.New("mqtts: there is no certificate: see tls")
	}
	if _, err := c.Agent.flows(); err != nil {
		return err
	}
	if c.Agent.Pending < 1<<20 {
		return fmt.Errorf("agent.pending %d: less than 1MiB", c.Agent.Pending)
	}
	if c.S3.Endpoint != "" && c.S3.Bucket == "" {
		return errors.New("s3.bucket: an endpoint is set, but no bucket")
	}
	switch c.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		return fmt.Errorf("log_level %q: not debug, info, warn or error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("log_format %q: not text or json", c.LogFormat)
	}
	return nil
}

// connectionsMost is more than one process is given sockets for.
const connectionsMost = 1 << 20

func (c *config) validateConnections() error {
	n := &c.Connections
	for _, d := range []struct {
		field    string
		all, one int
	}{{"http", n.HTTP, n.HTTPPerAddress}, {"rtsp", n.RTSP, n.RTSPPerAddress}, {"mqtt", n.MQTT, n.MQTTPerAddress}} {
		if d.all < 1 || d.all > connectionsMost {
			return fmt.Errorf("connections.%s %d: not between 1 and %d", d.field, d.all, connectionsMost)
		}
		if d.one < -1 || d.one > d.all {
			return fmt.Errorf("connections.%s_per_address %d: not -1, 0, or up to the %d of all", d.field, d.one, d.all)
		}
	}
	return nil
}

// udpAddress is what package rtsp takes for rtsp_udp: a port alone is one of the host
// that rtsp names.
func (c *config) udpAddress() string {
	if c.RTSPUDP == "auto" || c.RTSPUDP == "" {
		return ""
	}
	if host, _, err := net.SplitHostPort(c.RTSP); err == nil && strings.Trim(c.RTSPUDP, "0123456789") == "" {
		return net.JoinHostPort(host, c.RTSPUDP)
	}
	return c.RTSPUDP
}

// secure reports whether the listeners speak TLS.
func (c *config) secure() bool {
	return c.TLS.Auto || c.TLS.Cert != "" || len(c.TLS.ACME.Hosts) > 0
}

// loopbackOnly reports whether every listener is out of reach of other machines.
func (c *config) loopbackOnly() bool {
	if c.MQTT != off && !isLoopback(c.MQTT) || c.MQTTS != off && !isLoopback(c.MQTTS) {
		return false
	}
	if c.RTSP == "off" {
		return isLoopback(c.HTTP)
	}
	udp := c.udpAddress() == "" || c.RTSPUDP == "off" || isLoopback(c.udpAddress())
	return isLoopback(c.HTTP) && isLoopback(c.RTSP) && udp && (!c.rtspsOn() || isLoopback(c.RTSPS))
}

// rtspsOn reports whether RTSP over TLS is served: where RTSP is, and a certificate.
func (c *config) rtspsOn() bool {
	return c.RTSP != "off" && c.RTSPS != "off" && c.secure()
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
