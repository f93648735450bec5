// Package capacity finds out what a disk carries the way Penstock writes (Disk), reads what
// a server says of itself while it is loaded (Server), and names what ends first (Verdict).
//
// It is the measuring half of `penstock bench`; the load itself is internal/loadgen's.
package capacity

import (
	"fmt"
	"math"
)

// The bounds: what ends first. They are what scripts compare with.
const (
	CPU       = "cpu"       // the processors of the server's machine
	Sync      = "disk"      // syncs of the server's disk
	Generator = "generator" // the machine that made the load
	Others    = "others"    // other programs on the server's machine
	Limits    = "limits"    // what the server refused by its settings, or the stream's shards
	Waiting   = "waiting"   // nothing is used up: each connection waits for its answer
	None      = "none"      // the load asks for less than there is
)

// Share is how much of something was used.
type Share struct {
	Bound string
	Used  float64 // 0..1; more is 1
	Words string  // for a person: "CPU: of 2 cores the server takes 1.2"
}

// Full is from when on something counts as used up.
const Full = 0.8

// Verdict is what ends first.
type Verdict struct {
	Bound string  // one of the constants
	Used  float64 // of it
	Words string  // one line
}

// Judge picks the largest of shares. When it is not used up, otherwise says what the load
// waited for.
func Judge(shares []Share, otherwise Share) Verdict {
	var most Share
	for _, s := range shares {
		if s.Used > most.Used {
			most = s
		}
	}
	if most.Used < Full {
		return Verdict{otherwise.Bound, most.Used, otherwise.Words}
	}
	return Verdict{most.Bound, min(1, most.Used), most.Words}
}

// Most is about how many of a thing would use up a share that n of them use a part of: two
// digits, as more would be a promise; 0: it cannot be told.
func Most(n int, used float64) int {
	if n <= 0 || used <= 0 || math.IsNaN(used) || math.IsInf(used, 0) {
		return 0
	}
	return Round(float64(n) / used)
}

// Round keeps two digits of a number, downward.
func Round(v float64) int {
	if v < 1 || v > 1e12 {
		return 0
	}
	unit := math.Pow(10, math.Max(0, math.Floor(math.Log10(v))-1))
	return int(math.Floor(v/unit) * unit)
}

// Count writes a number with commas: 82,310.
func Count(v float64) string {
	if v < 0 || v > 1e15 {
		return fmt.Sprintf("%.3g", v)
	}
	if v < 100 && v != math.Trunc(v) {
		return fmt.Sprintf("%.3g", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
