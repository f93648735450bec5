// Package pull fetches cameras: one RTSP session for each stream of the catalogue
// that has a source, for ever, with a reason in words for every second without media.
//
// How one conversation goes is package camera's; when to call again is decided by
// Machine, which does no I/O; what becomes of the media is package streams'.
package pull

import (
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/host"
	"penstock/streams"
)

// Config holds what a Supervisor needs. Zero fields mean the defaults named beside them.
type Config struct {
	Catalogue  *streams.Catalogue    // watched; must be set
	Hub        *streams.Hub          // takes the media; must be set
	Dial       host.Dial             // the machine's own dialler
	Clock      host.Clock            // host.System
	Rand       io.Reader             // crypto/rand.Reader; spreads retries
	Handshakes int                   // conversations being opened at once: 64
	Silence    time.Duration         // media may pause this long before the camera is called again: 8 s
	Logger     *slog.Logger          // slog.Default()
	Registerer prometheus.Registerer // nil: no metrics
}
