package fragments

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"testing"
	"time"

	"penstock/media"
)

// world is a camera, its network and the truth about both.
type world struct {
	rng    *rand.Rand
	now    time.Time // true time
	zone   *time.Location
	frag   *Fragmenter
	frags  []*Fragment
	taken  []int64 // µs: when each frame that was recorded was taken
	rate   float64 // media seconds per second
	media  float64
	frame  time.Duration
	jitter time.Duration
	last   time.Time // arrival
	n      int
	held   time.Time // nothing arrives before it
}

func (w *world) keep(f *Fragment) {
	if f != nil {
		w.frags = append(w.frags, f)
	}
}

// session connects a camera that has just booted.
func (w *world) session() {
	after := Head{}
	if n := len(w.frags); n > 0 {
		after = w.frags[n-1].Head
	}
	w.frag = NewFragmenter(FragmenterConfig{After: after, Gap: CauseConnectionLost}, testTracks()[:1])
	rates := []float64{1, 1, 1.0005, 0.9995, 25.0 / 30, 30.0 / 25, 2, 0.5}
	w.rate = rates[w.rng.IntN(len(rates))]
	w.media = float64(w.rng.IntN(40000))
	w.jitter = time.Duration(w.rng.IntN(60)) * time.Millisecond
	w.n, w.held = 0, time.Time{}
}

func (w *world) play(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); w.now = w.now.Add(w.frame) {
		at := w.now.Add(time.Duration(w.rng.Int64N(int64(w.jitter) + 1)))
		if at.Before(w.held) {
			at = w.held
		}
		if at.Before(w.last) {
			at = w.last // TCP keeps the order
		}
		w.last = at
		s := media.Sample{Track: 1, DTS: int64(w.media * 90000), Sync: w.n%50 == 0, Data: binary.LittleEndian.AppendUint64(nil, uint64(w.now.UnixMicro()))}
		w.taken = append(w.taken, w.now.UnixMicro())
		w.keep(w.frag.Add(s, at.In(w.zone)))
		w.media += w.frame.Seconds() * w.rate
		w.n++
	}
}

// away passes time without frames.
func (w *world) away(d time.Duration, clockRuns bool) {
	w.now = w.now.Add(d)
	if clockRuns {
		w.media += d.Seconds() * w.rate
	}
}

// threeDays lives through reboots, jumps, stalls, missing frames and a DST change.
func threeDays(t *testing.T, seed uint64) *world {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		zone = time.FixedZone("CET", 3600)
	}
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 1)), zone: zone, frame: 40 * time.Millisecond,
		now: time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC), // DST begins on the 29th
	}
	end := w.now.Add(72 * time.Hour)
	w.session()
	for w.now.Before(end) {
		w.play(time.Duration(20+w.rng.IntN(1800)) * time.Second)
		long := time.Duration(3+w.rng.IntN(60)) * time.Second
		switch w.rng.IntN(6) {
		case 0: // reboot
			w.keep(w.frag.Flush(CauseConnectionLost, ""))
			w.away(long, false)
			w.session()
		case 1: // the camera's clock jumps
			w.media = float64(w.rng.IntN(40000))
		case 2: // the network stalls and delivers
			w.held = w.now.Add(time.Duration(500+w.rng.IntN(4000)) * time.Millisecond)
		case 3: // frames are missing
			w.away(long, true)
		case 4: // the camera stands still
			w.away(long, false)
		case 5:
			w.jitter = time.Duration(w.rng.IntN(60)) * time.Millisecond
		}
	}
	w.keep(w.frag.Flush(CauseProducerEnded, ""))
	return w
}

func TestTheTimelineNeverLies(t *testing.T) {
	seeds := []uint64{1}
	if os.Getenv("PENSTOCK_CI") == "1" {
		seeds = []uint64{1, 2, 3}
	}
	for _, seed := range seeds {
		w := threeDays(t, seed)
		total := 0
		for i, f := range w.frags {
			total += len(f.Samples)
			if i == 0 {
				continue
			}
			before := w.frags[i-1]
			if f.Start.Before(before.End) || f.Number <= before.Number {
				t.Fatalf("fragment %d overlaps the one before: %v < %v", i, f.Start, before.End)
			}
			if f.Start.After(before.End) && f.Gap == CauseNone {
				t.Fatalf("a gap before fragment %d has no cause", i)
			}
		}
		if total != len(w.taken) {
			t.Fatalf("%d samples in, %d out", len(w.taken), total)
		}
		lies, worst, gaps := w.ask(10000)
		t.Logf("seed %d: %d fragments, %d frames, %d instants in gaps, %d lies, worst %v", seed, len(w.frags), total, gaps, lies, worst)
		if lies > 0 {
			t.Errorf("seed %d: %d of 10000 instants lied, worst %v", seed, lies, worst)
		}
	}
}

// ask looks up random instants and counts the answers that are off by more than a frame.
func (w *world) ask(n int) (lies int, worst time.Duration, gaps int) {
	first, last := w.taken[0], w.taken[len(w.taken)-1]
	frame := w.frame.Microseconds()
	for range n {
		at := first + w.rng.Int64N(last-first)
		i, exact := slices.BinarySearch(w.taken, at)
		if !exact {
			i--
		}
		was := at - w.taken[i] // since the newest frame
		recorded := was < 2*frame
		got, ok := w.lookup(micro(at))
		off := int64(0)
		switch {
		case ok && !recorded:
			off = was - frame // shown as recorded, and nothing was
		case !ok && recorded:
			off = min(at-w.taken[w.edge(i, -1)], w.taken[w.edge(i, 1)]+frame-at)
			gaps++
		case ok:
			off = max(at-got-frame, got-at)
		default:
			gaps++
		}
		if off > frame {
			lies++
		}
		worst = max(worst, time.Duration(off)*time.Microsecond)
	}
	return lies, worst, gaps
}

// edge returns the index of the first (step -1) or last (step 1) frame of the unbroken
// stretch that frame i is in.
func (w *world) edge(i, step int) int {
	for k := i + step; k >= 0 && k < len(w.taken); k += step {
		if d := w.taken[k] - w.taken[i]; max(d, -d) >= 2*w.frame.Microseconds() {
			break
		}
		i = k
	}
	return i
}

// lookup returns when the frame was taken that is shown for an instant.
func (w *world) lookup(t time.Time) (int64, bool) {
	i := sort.Search(len(w.frags), func(i int) bool { return w.frags[i].End.After(t) })
	if i == len(w.frags) {
		return 0, false
	}
	k, ok := w.frags[i].At(t)
	if !ok {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(w.frags[i].Samples[k].Data)), true
}
