package fragments

import (
	"time"

	"penstock/media"
)

// FragmenterConfig says where to cut. The zero value is for a stream's first session.
type FragmenterConfig struct {
	// Target is the length at which the next sync sample begins a new fragment. 0: 2 s.
	Target time.Duration
	// Max is the length at which a fragment is cut without a sync sample. 0: 10 s.
	Max time.Duration
	// After is the stream's newest fragment: nothing overlaps it, and numbers and runs go
	// on from it.
	After Head
	// Gap and GapDetail say why media is missing before the first fragment.
	Gap       Cause
	GapDetail string
}

// Fragmenter cuts one session's samples into fragments. It does no I/O, knows no clock
// and is not for sharing.
type Fragmenter struct {
	cfg FragmenterConfig
}

// NewFragmenter returns a Fragmenter for a session with the given tracks.
func NewFragmenter(cfg FragmenterConfig, tracks []media.Track) *Fragmenter {
	return &Fragmenter{cfg: cfg}
}

// Add takes a sample that arrived at the given server time and returns the fragment that
// it completes, or nil. The sample may belong to the next one. A sample of an unknown
// track is ignored.
func (f *Fragmenter) Add(s media.Sample, arrival time.Time) *Fragment { return nil }

// SetTracks begins a new run with other tracks and returns what was open, or nil.
func (f *Fragmenter) SetTracks(tracks []media.Track) *Fragment { return nil }

// Jump says that the next sample's times do not follow from the last one's: it begins a
// new run. It returns what was open, or nil. The Fragmenter finds jumps of more than 2 s
// against the arrival by itself.
func (f *Fragmenter) Jump() *Fragment { return nil }

// Cut ends the fragment here and returns it, or nil when nothing is open.
func (f *Fragmenter) Cut() *Fragment { return nil }

// Flush ends the fragment here, as Cut, and notes why media will be missing before the
// next one.
func (f *Fragmenter) Flush(cause Cause, detail string) *Fragment { return nil }

// Open returns the samples of the open fragment; their order and number only grow until
// the fragment is returned. The caller must not change them.
func (f *Fragmenter) Open() []media.Sample { return nil }

// Run returns the run of the open fragment, or of the next one when none is open.
func (f *Fragmenter) Run() uint32 { return 0 }

// ServerTime estimates the instant on the server's clock of a sample that was just
// added; the fragment's own ServerTime is exact later.
func (f *Fragmenter) ServerTime(s media.Sample) time.Time { return time.Time{} }
