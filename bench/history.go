package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// history asks logs of a thousand, a hundred thousand and ten million fragments the
// questions of a console, through the benchmarks beside the code.
func (b *bench) history(ctx context.Context) error {
	clips := "^BenchmarkFirstByte$/^(1000|100000)$"
	if b.long {
		clips = "^BenchmarkFirstByte$"
	}
	targets := map[string]float64{"list-10-minutes": 5, "FirstByte": 50} // ms
	for _, run := range []struct{ room, name, times string }{
		{"./fragments", "^BenchmarkQueries$", "40x"},
		{"./playback/clip", clips, "60x"},
	} {
		lines, err := benchmarks(ctx, run.room, run.name, run.times)
		if err != nil {
			return err
		}
		for _, l := range lines {
			b.add(figure{Name: strings.TrimPrefix(run.room, "./") + ": " + l.name, Value: l.metrics["ns/op"] / 1e6, Unit: "ms", Target: targetOf(targets, l.name), Note: "mean; the number is how many fragments are stored"})
		}
	}
	return nil
}

// targetOf is the target of the question that a benchmark asks, whatever is stored.
func targetOf(targets map[string]float64, name string) float64 {
	for part := range strings.SplitSeq(name, "/") {
		if t, ok := targets[part]; ok {
			return t
		}
	}
	return 0
}

// glassLine is what the browser test says of the delay that the barcode shows.
var glassLine = regexp.MustCompile(`glass to glass: median (\S+), worst`)

// glass lets the real browser read the wall clock out of the picture it shows.
func (b *bench) glass(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "./acceptance", "-count=1", "-run", "^TestBrowserPlaysTheDemoLiveAndRecorded$", "-v")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("browser test: %w\n%s", err, out)
	}
	m := glassLine.FindSubmatch(out)
	if m == nil {
		return errors.New("the browser test did not run: is chromium installed? try `make setup`")
	}
	d, err := time.ParseDuration(string(m[1]))
	if err != nil {
		return err
	}
	b.add(figure{Name: "glass to glass, console, median", Value: float64(d.Milliseconds()), Unit: "ms", Target: 1000, Note: "barcode in the picture against the clock, headless Chromium"})
	return nil
}
