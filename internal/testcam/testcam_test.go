package testcam

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"penstock/internal/repotest"
)

// annexB turns length-prefixed NAL units into a byte stream.
func annexB(dst, au []byte) []byte {
	for len(au) >= 4 {
		n := int(au[0])<<24 | int(au[1])<<16 | int(au[2])<<8 | int(au[3])
		dst = append(append(dst, 0, 0, 0, 1), au[4:4+n]...)
		au = au[4+n:]
	}
	return dst
}

func TestDecodersSeeExactlyWhatWasDrawn(t *testing.T) {
	ffmpeg := repotest.Need(t, "ffmpeg")
	const frames = 3*GOP + 7
	cam := New()
	at := time.Date(2026, 11, 20, 23, 59, 58, 0, time.UTC)
	var stream, want []byte
	for i := range frames {
		au, sync := cam.Frame(at.Add(time.Duration(i) * time.Second / FPS))
		if sync != (i%GOP == 0) {
			t.Fatalf("frame %d: sync is %v", i, sync)
		}
		stream = annexB(stream, au)
		for k := range cam.enc.cur.p {
			p := cam.enc.cur.p[k]
			want = append(want, p.pix[:p.w*Height*p.w/Width]...)
		}
	}
	t.Logf("%d kbit/s", len(stream)*8*FPS/frames/1000)
	file := filepath.Join(t.TempDir(), "demo.h264")
	if err := os.WriteFile(file, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd := repotest.Command(t, ffmpeg, "-v", "warning", "-xerror", "-r", strconv.Itoa(FPS), "-i", file, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
	cmd.Stderr = &errs
	got, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Fatalf("ffmpeg: %v\n%s", err, errs.String())
	}
	if !bytes.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Fatalf("%d bytes, want %d; first difference at byte %d of frame %d", len(got), len(want), i%(Width*Height*3/2), i/(Width*Height*3/2))
			}
		}
		t.Fatalf("%d bytes, want %d", len(got), len(want))
	}
	for i := range frames {
		pic := got[i*Width*Height*3/2:]
		seen := ReadBarcode(func(x, y int) byte { return pic[y*Width+x] })
		if want := at.Add(time.Duration(i) * time.Second / FPS).Truncate(time.Millisecond); !seen.Equal(want) {
			t.Fatalf("frame %d: barcode says %v, want %v", i, seen, want)
		}
	}
}

func TestBitrateStaysSmallEnoughToKeepForADay(t *testing.T) {
	cam := New()
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	total := 0
	const seconds = 20
	for i := range seconds * FPS {
		au, _ := cam.Frame(at.Add(time.Duration(i) * time.Second / FPS))
		total += len(au)
	}
	if kbps := total * 8 / seconds / 1000; kbps > 1000 {
		t.Errorf("the demo camera sends %d kbit/s, want at most 1000", kbps)
	}
}

func BenchmarkFrame(b *testing.B) {
	cam := New()
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		au, _ := cam.Frame(at)
		n += len(au)
		at = at.Add(time.Second / FPS)
	}
	b.SetBytes(int64(n / b.N))
}
