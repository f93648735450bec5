package capacity

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Server is what a server's /metrics says at one instant.
type Server struct {
	At       time.Time
	CPU      float64 // s, of its process
	RSS      float64 // bytes
	Cores    float64 // that it may use
	LaneBusy float64 // s that all lanes were writing and syncing
	Lanes    int
	SyncBusy float64 // s that syncs of video took

	persisted map[float64]float64 // fragments that were durable within so many seconds
	syncs     map[float64]float64 // syncs that took at most so many seconds
}

// ParseMetrics reads what is asked here out of the text format of Prometheus; other lines
// are for others.
func ParseMetrics(text string, at time.Time) Server {
	s := Server{At: at, persisted: map[float64]float64{}, syncs: map[float64]float64{}}
	for line := range strings.Lines(text) {
		if line[0] == '#' {
			continue
		}
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, labels, _ := strings.Cut(name, "{")
		v, err := strconv.ParseFloat(rest, 64)
		if err != nil {
			continue
		}
		switch name {
		case "process_cpu_seconds_total":
			s.CPU = v
		case "process_resident_memory_bytes":
			s.RSS = v
		case "go_sched_gomaxprocs_threads":
			s.Cores = v
		case "penstock_lane_commit_seconds_sum":
			s.LaneBusy += v
			s.Lanes++
		case "penstock_fragments_sync_seconds_sum":
			s.SyncBusy = v
		case "penstock_fragments_persist_seconds_bucket":
			bucket(s.persisted, labels, v)
		case "penstock_fragments_sync_seconds_bucket":
			bucket(s.syncs, labels, v)
		}
	}
	return s
}

func bucket(to map[float64]float64, labels string, v float64) {
	_, rest, _ := strings.Cut(labels, `le="`)
	text, _, _ := strings.Cut(rest, `"`)
	if le, err := strconv.ParseFloat(text, 64); err == nil {
		to[le] += v
	}
}

// parallelSyncs is how many files of video are synced at once (fragments.Config.Parallel).
const parallelSyncs = 4

// Usage is what a server used between two instants.
type Usage struct {
	Seconds  float64
	Cores    float64 // that its process took, on average
	Of       float64 // that it may use; 0: it does not say
	RSS      float64 // bytes, at the end
	LaneSync float64 // share of the time that a lane was writing and syncing
	Sync     float64 // share of the time that all writers of video were syncing
	// Persist and Disk are from the arrival of a fragment until it was durable, and of a
	// sync, in ms; 0: there was none.
	PersistP50, PersistP95 float64
	SyncP50, SyncP99       float64
}

// Since is what was used from a to s.
func (s Server) Since(a Server) Usage {
	u := Usage{Seconds: s.At.Sub(a.At).Seconds(), Of: s.Cores, RSS: s.RSS}
	if u.Seconds <= 0 {
		return Usage{RSS: s.RSS, Of: s.Cores}
	}
	u.Cores = (s.CPU - a.CPU) / u.Seconds
	if s.Lanes > 0 {
		u.LaneSync = (s.LaneBusy - a.LaneBusy) / u.Seconds / float64(s.Lanes)
	}
	u.Sync = (s.SyncBusy - a.SyncBusy) / u.Seconds / parallelSyncs
	u.PersistP50, u.PersistP95 = quantile(s.persisted, a.persisted, 0.5), quantile(s.persisted, a.persisted, 0.95)
	u.SyncP50, u.SyncP99 = quantile(s.syncs, a.syncs, 0.5), quantile(s.syncs, a.syncs, 0.99)
	return u
}

// quantile of what came between two states of a histogram, in ms: a straight line within
// the bucket that it falls into.
func quantile(to, from map[float64]float64, q float64) float64 {
	bounds := make([]float64, 0, len(to))
	for le := range to {
		bounds = append(bounds, le)
	}
	slices.Sort(bounds)
	if len(bounds) == 0 {
		return 0
	}
	last := bounds[len(bounds)-1]
	all := to[last] - from[last]
	if all <= 0 {
		return 0
	}
	below, under := 0.0, 0.0
	for _, le := range bounds {
		n := to[le] - from[le]
		if n >= q*all {
			if math.IsInf(le, 1) {
				return below * 1000
			}
			if n == under {
				return le * 1000
			}
			return (below + (le-below)*(q*all-under)/(n-under)) * 1000
		}
		below, under = le, n
	}
	return below * 1000
}
