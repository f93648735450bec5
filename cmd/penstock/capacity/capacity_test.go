package capacity

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/fault"
	"penstock/internal/host"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestADiskIsMeasuredAndNothingIsLeftOnIt(t *testing.T) {
	dir := t.TempDir()
	var told []string
	r, err := Disk(t.Context(), DiskConfig{Dir: dir, Duration: time.Second, Bitrate: 3_000_000, Tell: func(what string) { told = append(told, what) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Steps) != 4 || len(told) != 4 || r.Records <= 0 || r.Alone <= 0 || r.Verdict.Words == "" {
		t.Errorf("%d steps, told %q: %+v", len(r.Steps), told, r)
	}
	for i, s := range r.Steps {
		if s.MB <= 0 || s.P50 <= 0 || s.P99 < s.P50 || i > 0 && s.Floor <= 0 {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
	empty(t, dir)
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left in %s: %v %v", dir, left, err)
	}
}

// tick ends a context at what is told.
func TestAnInterruptedMeasurementLeavesNothing(t *testing.T) {
	for _, at := range []int{1, 2, 3, 4} {
		dir := t.TempDir()
		ctx, stop := context.WithCancel(t.Context())
		n := 0
		_, err := Disk(ctx, DiskConfig{Dir: dir, Duration: 500 * time.Millisecond, Bitrate: 1_000_000, Tell: func(string) {
			if n++; n == at {
				stop()
			}
		}})
		stop()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("stopped at step %d: %v", at, err)
		}
		empty(t, dir)
	}
}

// full has no room.
type full struct{ host.OS }

func (full) Space(string) (total, free int64, err error) { return 1 << 40, 100 << 20, nil }

// broken cannot sync.
type broken struct{ host.OS }

var errBroken = errors.New("the disk is broken")

type brokenFile struct{ host.File }

func (brokenFile) Sync() error { return errBroken }

func (b broken) OpenFile(name string, flag int, perm fs.FileMode) (host.File, error) {
	f, err := b.OS.OpenFile(name, flag, perm)
	return brokenFile{f}, err
}

func TestADiskThatWillNotDo(t *testing.T) {
	dir := t.TempDir()
	if _, err := Disk(t.Context(), DiskConfig{Dir: dir, Duration: time.Second, FS: full{}}); !fault.Is(err, fault.Unavailable) || fault.HintOf(err) == "" {
		t.Errorf("nearly full: %v", err)
	}
	if _, err := Disk(t.Context(), DiskConfig{Dir: dir, Duration: time.Second, FS: broken{}}); !errors.Is(err, errBroken) {
		t.Errorf("broken: %v", err)
	}
	empty(t, dir)
}

func TestTheMetricsOfAServer(t *testing.T) {
	a := ParseMetrics("", time.Unix(100, 0))
	b := ParseMetrics(`# HELP x y
process_cpu_seconds_total 15
process_resident_memory_bytes 1e+08
go_sched_gomaxprocs_threads 2
penstock_lane_commit_seconds_sum{lane="0"} 5
penstock_lane_commit_seconds_sum{lane="1"} 9
penstock_fragments_sync_seconds_sum 4
penstock_fragments_persist_seconds_bucket{le="0.1"} 0
penstock_fragments_persist_seconds_bucket{le="0.3"} 50
penstock_fragments_persist_seconds_bucket{le="0.5"} 100
penstock_fragments_persist_seconds_bucket{le="+Inf"} 100
what_others_ask_for{x="a b"} 1
`, time.Unix(110, 0))
	u := b.Since(a)
	for what, pair := range map[string][2]float64{
		"cores": {u.Cores, 1.5}, "of": {u.Of, 2}, "memory": {u.RSS, 1e8}, "lanes": {u.LaneSync, 0.7}, "sync": {u.Sync, 0.1},
		"p50": {u.PersistP50, 300}, "p95": {u.PersistP95, 480}, "no sync": {u.SyncP99, 0},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-6 {
			t.Errorf("%s: %v, want %v", what, pair[0], pair[1])
		}
	}
	if u := a.Since(b); u.Cores != 0 || u.Seconds != 0 {
		t.Errorf("backwards: %+v", u)
	}
}

func TestWhatEndsFirst(t *testing.T) {
	shares := []Share{{CPU, 0.5, "cpu"}, {Sync, 0.9, "disk"}, {Generator, 0.85, "generator"}}
	if v := Judge(shares, Share{Waiting, 0, "waiting"}); v.Bound != Sync || v.Words != "disk" {
		t.Errorf("%+v", v)
	}
	if v := Judge(shares[:1], Share{Waiting, 0, "waiting"}); v.Bound != Waiting || v.Used != 0.5 {
		t.Errorf("%+v", v)
	}
	for v, want := range map[float64]int{0.5: 0, 7.9: 7, 99: 99, 1234: 1200, 82_310: 82_000} {
		if got := Round(v); got != want {
			t.Errorf("Round(%v) = %d, want %d", v, got, want)
		}
	}
	if Most(10, 0.04) != 250 || Most(10, 0) != 0 {
		t.Error(Most(10, 0.04), Most(10, 0))
	}
	for v, want := range map[float64]string{0: "0", 7.25: "7.25", 999: "999", 82310.4: "82,310", 1234567: "1,234,567"} {
		if got := Count(v); got != want {
			t.Errorf("Count(%v) = %q, want %q", v, got, want)
		}
	}
}
