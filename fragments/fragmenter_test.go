package fragments

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock/media"
)

var update = flag.Bool("update", false, "rewrite the transcripts")

// script plays a camera to a Fragmenter, line by line, and writes what comes out.
type script struct {
	t       *testing.T
	f       *Fragmenter
	out     bytes.Buffer
	server  time.Time // the server's clock
	media   float64   // the camera's media clock, s
	rate    float64   // media seconds per real second
	fps     float64
	gop     int
	audio   bool
	frame   int
	held    []arrival // stalled on the way
	holding bool
	in, got int
}

type arrival struct{ s media.Sample }

var scriptStart = time.Date(2026, 3, 29, 0, 59, 50, 0, time.UTC)

func (p *script) line(line string) {
	word := strings.Fields(line)
	dur := func(i int) time.Duration {
		d, err := time.ParseDuration(word[i])
		if err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
		return d
	}
	num := func(i int) float64 {
		v, err := strconv.ParseFloat(word[i], 64)
		if err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
		return v
	}
	switch word[0] {
	case "play": // play 10s: frames come in real time
		p.play(dur(1))
	case "fps":
		p.fps = num(1)
	case "gop":
		p.gop = int(num(1))
	case "rate":
		p.rate = num(1)
	case "audio":
		p.audio = true
	case "silence": // the camera and its clock go on, nothing is sent
		p.server = p.server.Add(dur(1))
		p.media += dur(1).Seconds() * p.rate
	case "frozen": // the camera and its clock stand still
		p.server = p.server.Add(dur(1))
	case "hold": // what is sent now arrives only at release
		p.holding = true
	case "release":
		p.holding = false
		for _, a := range p.held {
			p.give(a.s)
		}
		p.held = nil
	case "jump": // the camera's clock jumps
		p.media += dur(1).Seconds()
	case "clock": // the server's clock is set
		p.server = p.server.Add(dur(1))
	case "tracks":
		p.show(p.f.SetTracks(testTracks()))
	case "cut":
		p.show(p.f.Cut())
	case "flush":
		p.show(p.f.Flush(CauseConnectionLost, strings.Join(word[1:], " ")))
	case "reconnect":
		p.show(p.f.Flush(CauseConnectionLost, ""))
		p.f = NewFragmenter(FragmenterConfig{After: p.f.prev, Gap: CauseConnectionLost}, testTracks())
		p.media, p.frame = 0, 0
	default:
		p.t.Fatalf("unknown line %q", line)
	}
}

func (p *script) play(d time.Duration) {
	for end := p.server.Add(d); p.server.Before(end); {
		p.give(media.Sample{Track: 1, DTS: int64(p.media * 90000), Sync: p.gop > 0 && p.frame%p.gop == 0, Data: []byte{1, 2, 3}})
		if p.audio {
			p.give(media.Sample{Track: 2, DTS: int64(p.media * 8000), Sync: true, Data: []byte{4}})
		}
		p.frame++
		p.server = p.server.Add(time.Duration(float64(time.Second) / p.fps))
		p.media += p.rate / p.fps
	}
}

func (p *script) give(s media.Sample) {
	if p.holding {
		p.held = append(p.held, arrival{s})
		return
	}
	p.in++
	p.show(p.f.Add(s, p.server))
}

func (p *script) show(f *Fragment) {
	if f == nil {
		return
	}
	p.got += len(f.Samples)
	at := func(t time.Time) string { return fmt.Sprintf("%8.3f", t.Sub(scriptStart).Seconds()) }
	fmt.Fprintf(&p.out, "%s .. %s  %3d samples  run %d", at(f.Start), at(f.End), len(f.Samples), f.Run)
	if f.Number != numberOf(f.Start) {
		fmt.Fprintf(&p.out, "  number %d", f.Number)
	}
	if f.Forced {
		fmt.Fprint(&p.out, "  forced")
	}
	if f.Gap != CauseNone || f.GapDetail != "" {
		fmt.Fprintf(&p.out, "  after: %s", strings.Trim(f.Gap.String()+"; "+f.GapDetail, "; "))
	}
	fmt.Fprintln(&p.out)
}

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/fragmenter/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			head, want, _ := strings.Cut(string(raw), "----\n")
			p := &script{t: t, f: NewFragmenter(FragmenterConfig{}, testTracks()), server: scriptStart, rate: 1, fps: 25, gop: 50}
			for line := range strings.Lines(head) {
				if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
					p.line(line)
				}
			}
			p.show(p.f.Flush(CauseProducerEnded, ""))
			if p.in != p.got {
				t.Errorf("%d samples went in, %d came out", p.in, p.got)
			}
			if *update {
				if err := os.WriteFile(name, []byte(head+"----\n"+p.out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if p.out.String() != want {
				t.Errorf("got:\n%s\nwant:\n%s", p.out.String(), want)
			}
		})
	}
}
