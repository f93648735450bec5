package main

import (
	"context"

	"penstock/ingest/mqtt"
)

// off is the address of a door that stays closed.
const off = "off"

// mqttTopic says what an MQTT topic means.
type mqttTopic struct {
	Topic  string `yaml:"topic"`
	Stream string `yaml:"stream"`
	Key    string `yaml:"key"`
}

// openMQTT takes the ports of MQTT, where it is switched on.
func (d *daemon) openMQTT(ctx context.Context) (err error) {
	c := mqtt.Config{Auth: d.auth, Catalogue: d.data, Region: d.c.Region, Logger: d.log.With("component", "mqtt"), Registerer: d.registry,
		MaxConns: d.c.Connections.MQTT, MaxConnsPerAddress: d.c.Connections.MQTTPerAddress}
	if d.c.MQTT != off {
		c.Address = d.c.MQTT
	}
	if d.c.MQTTS != off {
		c.TLSAddress, c.TLS = d.c.MQTTS, d.tls.rtsps()
	}
	if c.Address == "" && c.TLSAddress == "" {
		return nil
	}
	for _, t := range d.c.MQTTTopics {
		c.Topics = append(c.Topics, mqtt.Rule{Topic: t.Topic, Stream: t.Stream, Key: t.Key})
	}
	if d.mqtt, err = mqtt.New(c); err != nil {
		return err
	}
	if err := d.mqtt.Open(ctx); err != nil {
		return err
	}
	for i, a := range d.mqtt.Addrs() {
		scheme := "mqtt://"
		if c.Address == "" || i > 0 {
			scheme = "mqtts://"
		}
		d.mqttAddrs = append(d.mqttAddrs, scheme+friendly(a.String()))
	}
	return nil
}
