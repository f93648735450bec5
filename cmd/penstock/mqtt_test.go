package main

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"penstock/auth"
)

func TestMQTTIsServedWithTheCertificate(t *testing.T) {
	d, _ := served(t, func(c *config) {
		c.MQTT, c.MQTTS, c.TLS.Auto = "127.0.0.1:0", "127.0.0.1:0", true
		c.MQTTTopics = []mqttTopic{{Topic: "plant/+/#", Stream: "plant", Key: "$1"}}
	})
	var printed bytes.Buffer
	d.greet(t.Context(), &printed)
	if !strings.Contains(printed.String(), "mqtt://localhost:") || !strings.Contains(printed.String(), "mqtts://localhost:") {
		t.Errorf("printed\n%s", printed.String())
	}
	issued, err := d.auth.CreateKey(t.Context(), auth.NewKey{Role: auth.RoleProducer})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", d.mqtt.Addrs()[1].String(), byFingerprint(d.tls.fingerprint()))
	if err != nil {
		t.Fatal(err)
	}
	// The client's first ping would else be written into the middle of its first message.
	c := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn), ClientID: "c"})
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: "c", CleanStart: true, KeepAlive: 30, Username: "u", UsernameFlag: true, Password: []byte(issued.Token.Reveal()), PasswordFlag: true}); err != nil {
		t.Fatal(err)
	}
	if res, err := c.Publish(t.Context(), &paho.Publish{Topic: "plant/7/x", QoS: 1, Payload: []byte("1")}); err != nil || res.ReasonCode != 0 {
		t.Errorf("%+v %v", res, err)
	}
	if _, err := d.data.Get(t.Context(), auth.DefaultAccount, auth.DefaultRegion, "plant"); err != nil {
		t.Error(err)
	}
	if err := c.Disconnect(&paho.Disconnect{}); err != nil {
		t.Error(err)
	}
	<-c.Done()
}

func TestMQTTSettingsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*config){
		"no address":          func(c *config) { c.MQTT = "1883" },
		"TLS without a cert":  func(c *config) { c.MQTTS = "127.0.0.1:8883" },
		"TLS at no address":   func(c *config) { c.MQTTS, c.TLS.Auto = "8883", true },
		"an agent's bad flow": func(c *config) { c.Agent.Flows = []agentFlow{{Key: "?"}} },
	} {
		c := defaults()
		change(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	c := defaults()
	c.MQTT = "0.0.0.0:1883"
	if err := c.Validate(); err != nil || c.loopbackOnly() {
		t.Errorf("MQTT for all: %v, loopback only: %v", err, c.loopbackOnly())
	}
}
