package doctor

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"penstock/internal/quantity"
)

func (e *examination) machine(context.Context) {
	e.ok("machine", fmt.Sprintf("%s, %s, %d CPUs; penstock %s, %s", e.Machine.Kernel(), runtime.GOARCH, runtime.NumCPU(), e.Version, runtime.Version()))
}

func (e *examination) settings(context.Context) {
	if e.Settings != nil {
		e.fail("settings", e.Settings.Error(), "mend it; `penstock config print` shows every setting, docs/penstock.yaml explains them")
		return
	}
	e.ok("settings", "without a mistake")
}

// Files that a server has open: some of its own, and for each camera a connection or two
// pairs of UDP sockets, a chunk or two, and as many people who watch.
const (
	filesOwn       = 256
	filesPerCamera = 8
)

func (e *examination) files(context.Context) {
	const check = "open files"
	limit, err := e.Machine.OpenFiles()
	need := uint64(filesOwn + filesPerCamera*max(e.Cameras, 0))
	switch {
	case err != nil:
		e.ok(check, "not known here: "+err.Error())
	case limit < need:
		e.warn(check, fmt.Sprintf("this process may have %d open, and %d cameras need about %d", limit, e.Cameras, need),
			"`ulimit -n 65536` before it starts, or LimitNOFILE=65536 in its systemd unit")
	default:
		e.ok(check, fmt.Sprintf("%d may be open; %d cameras need about %d", limit, e.Cameras, need))
	}
}

// Memory of a server: its own, and of each stream, measured (docs/design/performance.md).
const (
	memoryOwn       = 128 << 20
	memoryPerCamera = 2 << 20
)

func (e *examination) memory(context.Context) {
	const check = "memory"
	total, limit, err := e.Machine.Memory()
	if err != nil {
		e.ok(check, "not known here: "+err.Error())
		return
	}
	words, have := quantity.Bytes(total)+" in this machine", total
	if limit > 0 && limit < total {
		words, have = quantity.Bytes(limit)+" for this process's group, of "+words, limit
	}
	base := int64(memoryOwn + memoryPerCamera*max(e.Cameras, 0))
	switch {
	case have < base:
		e.warn(check, fmt.Sprintf("%s; %d cameras need about %s", words, e.Cameras, quantity.Bytes(base)), "give it more memory, or fewer cameras")
	case have < base+e.Budget:
		e.warn(check, fmt.Sprintf("%s; while the disk stalls, storage.stall_budget lets %s of media wait on top of about %s", words, quantity.Bytes(e.Budget), quantity.Bytes(base)),
			"lower storage.stall_budget, or give it more memory: a process that is killed loses what waits")
	default:
		e.ok(check, fmt.Sprintf("%s; about %s are needed, and up to %s more while the disk stalls", words, quantity.Bytes(base), quantity.Bytes(e.Budget)))
	}
}

func (e *examination) buffers(ctx context.Context) {
	const check = "UDP buffers"
	if e.UDP == nil {
		e.ok(check, "RTP over UDP is off")
		return
	}
	notice, err := e.UDP(ctx)
	switch {
	case err != nil:
		e.warn(check, err.Error(), "let cameras use TCP, or set rtsp to an address of this machine")
	case notice != "":
		what, try := notice, "sysctl -w net.core.rmem_max=8388608"
		if before, after, ok := strings.Cut(notice, ": "); ok {
			what, try = before, after
		}
		e.warn(check, what, try)
	default:
		e.ok(check, "large enough for a burst of many cameras")
	}
}

// How far the clock may be off: recordings are found by it, and requests signed elsewhere
// are refused beyond five minutes.
const (
	clockGood = time.Second
	clockDrop = 5 * time.Millisecond // by which the clock may be moved while it is watched
)

// earliest is before any clock that is right: this program was made after it.
const earliest = 2026

func (e *examination) clock(ctx context.Context) {
	e.wallClock(ctx)
	const check = "clock kept right"
	synced, off, err := e.Machine.Synced()
	switch {
	case err != nil:
		e.ok(check, "not known here: "+err.Error())
	case !synced:
		e.warn(check, "nothing keeps the clock right: recordings would carry wrong times", "timedatectl set-ntp true, or install chrony")
	case off > clockGood:
		e.warn(check, fmt.Sprintf("it is kept, and may be %v off", off.Round(time.Millisecond)), "see `timedatectl timesync-status` or `chronyc tracking`")
	default:
		e.ok(check, fmt.Sprintf("to within %v", off.Round(time.Microsecond)))
	}
}

// wallClock watches whether the clock moves against the time that passes.
func (e *examination) wallClock(ctx context.Context) {
	const check = "clock"
	begin := e.Clock.Now()
	timer := e.Clock.NewTimer(e.Measure / 4)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	now := e.Clock.Now()
	moved := now.Round(0).Sub(begin.Round(0)) - now.Sub(begin) // without and with the monotonic clock
	zone, _ := now.Zone()
	words := now.UTC().Format(time.RFC3339) + ", local zone " + zone
	if _, err := time.LoadLocation("Europe/London"); err != nil {
		words += "; no zone data here, which only words for people would use"
	}
	switch {
	case now.Year() < earliest:
		e.fail(check, words+": this is in the past", "set the clock, or start what sets it before Penstock starts")
	case moved.Abs() > clockDrop:
		e.warn(check, fmt.Sprintf("%s; it was moved by %v while it was watched", words, moved.Round(time.Millisecond)), "have NTP slew the clock, not step it")
	default:
		e.ok(check, words)
	}
}

// ffmpegPatience is how long ffmpeg may take to say its version.
const ffmpegPatience = 5 * time.Second

func (e *examination) ffmpeg(ctx context.Context) {
	const check = "ffmpeg"
	const without = "no stills of H.264 and H.265 (`penstock snapshot`, pictures in the console); all else works without"
	path, err := e.LookPath("ffmpeg")
	if err != nil {
		e.warn(check, "it is not on PATH: "+without, "install ffmpeg, if you want stills")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ffmpegPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-hide_banner", "-version").Output()
	if err != nil {
		e.warn(check, path+" does not run ("+err.Error()+"): "+without, "install it anew")
		return
	}
	first, _, _ := strings.Cut(string(out), "\n")
	first, _, _ = strings.Cut(first, " Copyright")
	e.ok(check, path+", "+first)
}
