package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// benchResult is one line of `go test -bench`, with all that it reports.
type benchResult struct {
	name    string // without Benchmark in front and the cores behind
	metrics map[string]float64
}

// benchName is the name of a benchmark, apart from the number of cores.
var benchName = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?$`)

func benchResults(out string) (all []benchResult) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		m := benchName.FindStringSubmatch(f[0])
		if m == nil {
			continue
		}
		r := benchResult{m[1], map[string]float64{}}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				r.metrics[f[i+1]] = v
			}
		}
		all = append(all, r)
	}
	return all
}

func pick(from map[string]float64, names ...string) map[string]float64 {
	to := map[string]float64{}
	for _, n := range names {
		to[n] = from[n]
	}
	return to
}

// benchmarks runs benchmarks of a package and returns their metrics.
func benchmarks(ctx context.Context, room, name, times string) ([]benchResult, error) {
	cmd := exec.CommandContext(ctx, "go", "test", room, "-run", "^$", "-bench", name, "-benchtime", times, "-timeout", "60m")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("benchmarks of %s: %w\n%s", room, err, out)
	}
	found := benchResults(string(out))
	if len(found) == 0 {
		return nil, fmt.Errorf("benchmarks of %s printed no result:\n%s", room, out)
	}
	return found, nil
}
