package fragments

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestAFragmentTakesFewBytesOfIndex(t *testing.T) {
	rows := synthesise(rand.New(rand.NewPCG(1, 1)), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), 1800, 30, 2*time.Second, 0)
	per := float64(len(packSection(rows))) / 1800
	t.Logf("%.2f bytes of index per fragment", per)
	if per > 12 {
		t.Errorf("%.2f bytes of index per fragment", per)
	}
}
