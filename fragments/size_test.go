package fragments

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"penstock/media"
)

// hourOf is the first hour that a camera records whose frames arrive up to jitter late,
// through the real fragmenter and the real record format, in chunks of per fragments.
func hourOf(t testing.TB, rng *rand.Rand, jitter time.Duration, audio bool, per int) []chunkRow {
	t.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	tracks := testTracks()
	if !audio {
		tracks = tracks[:1]
	}
	fr := NewFragmenter(FragmenterConfig{}, tracks)
	var rows []chunkRow
	var entries []entry
	off := int64(0)
	take := func(f *Fragment) {
		if f == nil {
			return
		}
		if len(entries) == 0 {
			off = int64(len((&fileHeader{stream: "0123456789ab"}).marshal()))
		}
		f.Number, f.Persisted = numberOf(f.Start), true
		f.Head.Samples, f.Size = len(f.Samples), 0
		for i := range f.Samples {
			f.Size += int64(len(f.Samples[i].Data))
		}
		e := entry{Head: f.Head, off: off, metaLen: uint32(len(appendMeta(nil, f, media.MarshalTracks(f.Tracks), off)))}
		off += e.recordSize()
		if entries = append(entries, e); len(entries) == per {
			id := chunkID{int64(entries[0].Number) / 1000, rng.Uint32()}
			rows, entries = append(rows, row(id, off+300, entries)), nil
		}
	}
	drift := 1 + 40e-6 // the camera's clock is 40 ppm fast
	data := make([]byte, 1<<20)
	sound := time.Duration(0)
	last := start
	arrive := func(at time.Duration) time.Time {
		t := start.Add(at + time.Duration(rng.ExpFloat64()*float64(jitter)/4))
		if t.Before(last) {
			t = last
		}
		last = t
		return t
	}
	for i := range 25*3600 + 50 {
		at := time.Duration(i) * 40 * time.Millisecond
		for audio && sound < at {
			take(fr.Add(media.Sample{Track: 2, DTS: int64(sound.Seconds() * drift * 8000), Sync: true, Data: data[:160]}, arrive(sound)))
			sound += 20 * time.Millisecond
		}
		size := 9000 + int(1500*rng.NormFloat64())
		if i%50 == 0 {
			size = 110_000 + int(8000*rng.NormFloat64())
		}
		s := media.Sample{Track: 1, DTS: int64(at.Seconds() * drift * 90000), Sync: i%50 == 0, Data: data[:max(size, 500)]}
		s.Wall = start.Add(time.Duration(float64(at)*drift) - time.Second).Truncate(time.Microsecond)
		take(fr.Add(s, arrive(at)))
	}
	return rows
}

func TestAFragmentTakesFewBytesOfIndex(t *testing.T) {
	type hour struct {
		name string
		rows []chunkRow
		most float64
	}
	rng := rand.New(rand.NewPCG(1, 1))
	hours := []hour{{"synthetic, all columns random", synthesise(rng, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 1800, 30, 2*time.Second, 0), 6.5}}
	for _, jitter := range []time.Duration{0, 5 * time.Millisecond, 60 * time.Millisecond} {
		for _, audio := range []bool{false, true} {
			hours = append(hours, hour{fmt.Sprintf("camera, jitter %v, sound %t", jitter, audio), hourOf(t, rng, jitter, audio, 25), 7})
		}
	}
	for _, h := range hours {
		n, alone := 0, 0
		for _, r := range h.rows {
			n, alone = n+r.fragments, alone+len(r.entries)
		}
		b, err := packSection(h.rows)
		if err != nil {
			t.Fatal(err)
		}
		per := float64(len(b)) / float64(n)
		t.Logf("%s: %.2f bytes of index per fragment, %.2f in a chunk's footer", h.name, per, float64(alone)/float64(n))
		if per > h.most {
			t.Errorf("%s: %.2f bytes of index per fragment", h.name, per)
		}
		again, err := unpackSection(b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range again {
			want, err1 := h.rows[i].unpack(nil)
			got, err2 := again[i].unpack(nil)
			if err1 != nil || err2 != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: chunk %d is not what was packed: %v %v", h.name, i, err1, err2)
			}
		}
	}
}

// BenchmarkUnpackDay reads the index of a day of fragments of 2 s.
func BenchmarkUnpackDay(b *testing.B) {
	section, err := packSection(hourOf(b, rand.New(rand.NewPCG(1, 1)), 60*time.Millisecond, true, 25))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	began := cpuTime()
	var buf []entry
	for b.Loop() {
		for range 24 {
			rows, err := unpackSection(section)
			if err != nil {
				b.Fatal(err)
			}
			for i := range rows {
				if buf, err = rows[i].unpack(buf); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.ReportMetric((cpuTime()-began).Seconds()*1000/float64(b.N), "cpu-ms/day")
}
