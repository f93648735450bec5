package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"penstock/internal/repotest"
	"penstock/internal/secret"
)

func noEnv(string) (string, bool) { return "", false }

func TestTheSampleFileIsTheDefaults(t *testing.T) {
	file := filepath.Join(repotest.Root(t), "docs", "penstock.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var c config
	if err := parseConfig(&c, bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	want := defaults()
	if c.Allow == nil || len(c.Allow) > 0 {
		t.Errorf("allow_addresses is %v", c.Allow)
	}
	if c.TLS.ACME.Hosts == nil || len(c.TLS.ACME.Hosts) > 0 {
		t.Errorf("tls.acme.hosts is %v", c.TLS.ACME.Hosts)
	}
	if c.Agent.Flows == nil || len(c.Agent.Flows) > 0 {
		t.Errorf("agent.flows is %v", c.Agent.Flows)
	}
	if c.MQTTTopics == nil || len(c.MQTTTopics) > 0 {
		t.Errorf("mqtt_topics is %v", c.MQTTTopics)
	}
	c.Allow, c.TLS.ACME.Hosts, c.Agent.Flows, c.MQTTTopics = nil, nil, nil, nil
	if !reflect.DeepEqual(c, want) {
		t.Errorf("the sample says\n%+v\nthe defaults are\n%+v", c, want)
	}
	var keys map[string]any
	if err := yaml.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	missing(t, keys, reflect.TypeOf(c), "")
}

// missing finds fields of a struct that the sample file does not name.
func missing(t *testing.T, keys map[string]any, of reflect.Type, path string) {
	t.Helper()
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		v, ok := keys[name]
		if !ok {
			t.Errorf("the sample file lacks %s%s", path, name)
			continue
		}
		if sub, ok := v.(map[string]any); ok && f.Type.Kind() == reflect.Struct {
			missing(t, sub, f.Type, path+name+".")
		}
	}
}

func TestUnknownKeysAreRefusedWithTheirLine(t *testing.T) {
	c := defaults()
	err := parseConfig(&c, strings.NewReader("data: x\nstorage:\n  fragmnet: 2s\n"))
	if err == nil || err.Error() != "line 3: no setting is called fragmnet" {
		t.Errorf("got %v", err)
	}
	if err := parseConfig(&c, strings.NewReader("storage:\n  fragment: soon\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(file, []byte("http: 0.0.0.0:80\nrtsp: 0.0.0.0:554\nstorage: {fragment: 4s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"PENSTOCK_HTTP": "127.0.0.1:9000", "PENSTOCK_S3_SECRET_KEY_FILE": key, "PENSTOCK_ALLOW_ADDRESSES": "127.0.0.0/8, ::1/128"}
	c, err := readConfig(file, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP != "127.0.0.1:9000" || c.RTSP != "0.0.0.0:554" || time.Duration(c.Storage.Fragment) != 4*time.Second ||
		c.S3.SecretKey.Reveal() != "hush" || len(c.Allow) != 2 {
		t.Errorf("got %+v", c)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	for want, change := range map[string]func(*config){
		"http":                 func(c *config) { c.HTTP = "nowhere" },
		"rtsp_udp":             func(c *config) { c.RTSPUDP = "8001" },
		`rtsp_udp "127`:        func(c *config) { c.RTSPUDP = "127.0.0.1" },
		"account":              func(c *config) { c.Account = "12" },
		"allow_addresses":      func(c *config) { c.Allow = []string{"everything"} },
		"tls":                  func(c *config) { c.TLS.Cert = "x" },
		"storage.fragment":     func(c *config) { c.Storage.Fragment = span(time.Minute) },
		"storage.stall_budget": func(c *config) { c.Storage.StallBudget = 1 },
		"s3.bucket":            func(c *config) { c.S3.Endpoint = "http://x" },

		"connections.rtsp 0":              func(c *config) { c.Connections.RTSP = 0 },
		"connections.http_per_address -2": func(c *config) { c.Connections.HTTPPerAddress = -2 },
		"connections.mqtt_per_address":    func(c *config) { c.Connections.MQTTPerAddress = c.Connections.MQTT + 1 },

		"data_streams.shard_limits": func(c *config) { c.DataStreams.ShardLimits = "on" },
		"data_streams.call_limits":  func(c *config) { c.DataStreams.CallLimits = "on" },
		"data_streams.shard_quota":  func(c *config) { c.DataStreams.ShardQuota = 0 },
		"data_streams.state_delay":  func(c *config) { c.DataStreams.StateDelay = span(time.Hour) },
		"data_streams.lanes":        func(c *config) { c.DataStreams.Lanes = 0 },
		"data_streams.tail":         func(c *config) { c.DataStreams.Tail = 1 },

		"log_level": func(c *config) { c.LogLevel = "loud" },
	} {
		c := defaults()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	c, err := readConfig("", noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestASecretDoesNotPrint(t *testing.T) {
	c := defaults()
	c.S3.SecretKey = secretText{secret.New("hush")}
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("hush")) || !bytes.Contains(text, []byte("***")) {
		t.Errorf("config prints as\n%s", text)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("http: 127.0.0.1:1\nstorage: {fragment: 3s, stall_budget: 1GiB}\n")
	f.Add("s3: {secret_key: x}\nallow_addresses: [10.0.0.0/8]\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := defaults()
		if parseConfig(&c, strings.NewReader(text)) == nil {
			_ = c.Validate()
		}
	})
}

func TestRTSPOverUDPTakesAPortAlone(t *testing.T) {
	c := defaults()
	for set, want := range map[string]string{"auto": "", "off": "off", "9000": "127.0.0.1:9000", "0.0.0.0:9000": "0.0.0.0:9000"} {
		c.RTSPUDP = set
		if err := c.Validate(); err != nil || c.udpAddress() != want {
			t.Errorf("%s became %q, %v; want %q", set, c.udpAddress(), err, want)
		}
		if local := c.loopbackOnly(); local != (set != "0.0.0.0:9000") {
			t.Errorf("%s is out of reach: %v", set, local)
		}
	}
}

func TestTheLengthOfFragmentsIsApplied(t *testing.T) {
	c := defaults()
	c.Storage.Fragment = span(5 * time.Second)
	d := &daemon{c: c, log: logger(c, io.Discard)}
	if got := d.hubConfig().Target; got != 5*time.Second {
		t.Errorf("fragments are cut at %v", got)
	}
}
