package demo

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"time"

	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/records"
	"penstock/streams/datastream"
)

// Of the built-in sensor.
const (
	sensorEvery = 500 * time.Millisecond
	sensorKey   = "greenhouse"
	sensorSwing = 5 * time.Minute // of the temperature, warm to warm
)

// Sensor puts a temperature that swings, with some noise, into a data stream twice a
// second. Stream is required; Run owns it.
type Sensor struct {
	Stream func() (*datastream.Stream, error) // looked up anew each time: NotFound ends Run
	Clock  host.Clock                         // host.System
	Noise  func() float64                     // normally distributed around 0; math/rand's
	Logger *slog.Logger                       // discards
}

// Run puts until ctx ends or the stream is deleted.
func (s *Sensor) Run(ctx context.Context) error {
	s.Clock = cmp.Or[host.Clock](s.Clock, host.System{})
	if s.Noise == nil {
		s.Noise = rand.NormFloat64
	}
	s.Logger = cmp.Or(s.Logger, slog.New(slog.DiscardHandler))
	in := []records.Input{{Key: sensorKey, Hash: records.HashOf(sensorKey)}}
	out := make([]records.Placed, 1)
	for {
		st, err := s.Stream()
		if fault.Is(err, fault.NotFound) {
			return nil
		}
		if err == nil {
			in[0].Data = s.reading(s.Clock.Now())
			err = st.Put(ctx, in, out)
		}
		if err != nil && ctx.Err() == nil && !fault.Is(err, fault.NotFound) { // that is one being made, or deleted
			s.Logger.Warn("demo sensor", "err", err)
		}
		t := s.Clock.NewTimer(sensorEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// reading is what the sensor says at an instant.
func (s *Sensor) reading(now time.Time) []byte {
	phase := 2 * math.Pi * float64(now.UnixMilli()%sensorSwing.Milliseconds()) / float64(sensorSwing.Milliseconds())
	temperature := 21 + 4*math.Sin(phase) + 0.15*s.Noise()
	humidity := 55 - 10*math.Sin(phase) + 0.5*s.Noise()
	return fmt.Appendf(nil, `{"time":%q,"sensor":%q,"temperature":%.2f,"humidity":%.1f}`, now.UTC().Format("2006-01-02T15:04:05.000Z"), sensorKey, temperature, humidity)
}
