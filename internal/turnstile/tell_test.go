package turnstile

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"penstock/internal/host"
)

type setClock struct {
	host.System
	now time.Time
}

func (c *setClock) Now() time.Time { return c.now }

func TestARefusalIsNamedInTheLogAndTheMetrics(t *testing.T) {
	var log bytes.Buffer
	clock := &setClock{now: time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)}
	reg := prometheus.NewRegistry()
	ts := New(Config{Total: 3, PerAddress: 2, Door: "rtsp", Logger: slog.New(slog.NewTextHandler(&log, nil)), Clock: clock, Registerer: reg})
	for range 7 { // two are let in
		ts.Enter(at("192.0.2.1"))
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("%d lines for a flood, want one:\n%s", lines, &log)
	}
	for _, want := range []string{"door=rtsp", "bound=address", "limit=2", "remote=192.0.2.1", "try="} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, &log)
		}
	}
	log.Reset()
	clock.now = clock.now.Add(tellEvery)
	ts.Enter(at("192.0.2.2"))
	ts.Enter(at("192.0.2.3"))
	if got := log.String(); !strings.Contains(got, "bound=total") || !strings.Contains(got, "refused=5") {
		t.Errorf("a minute later the log says %q", got)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP penstock_connections_refused_total Connections closed for want of room, by door and by the bound that they ran into.
# TYPE penstock_connections_refused_total counter
penstock_connections_refused_total{bound="address",door="rtsp"} 5
penstock_connections_refused_total{bound="total",door="rtsp"} 1
`)); err != nil {
		t.Error(err)
	}
}
