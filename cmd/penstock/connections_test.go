package main

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"penstock/internal/host/hosttest"
)

// TestConnectionsOfOneAddressAreAsManyAsTheSettingsSay connects thrice to each door that has
// room for two.
func TestConnectionsOfOneAddressAreAsManyAsTheSettingsSay(t *testing.T) {
	d, _ := served(t, func(c *config) {
		c.RTSP, c.RTSPUDP, c.MQTT = "127.0.0.1:0", "off", "127.0.0.1:0"
		c.Connections.HTTPPerAddress, c.Connections.RTSPPerAddress, c.Connections.MQTTPerAddress = 2, 2, 2
	})
	pulse := hosttest.Feel(t)
	for door, address := range map[string]string{"http": d.listener.Addr().String(), "rtsp": d.rtspAddr, "mqtt": strings.TrimPrefix(d.mqttAddrs[0], "mqtt://")} {
		var last net.Conn
		for range 3 {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(door, err)
			}
			defer c.Close()
			last = c
		}
		// Closed before anything is said; the two before it would wait ten seconds for words.
		began := time.Now()
		if err := last.SetReadDeadline(began.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := last.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: a third connection is let in: %v", door, err)
		}
		if took := pulse.Took(began); took > 5*time.Second {
			t.Errorf("%s: a third connection is let in, and closed after %v", door, took)
		}
	}
}
