package pull

import (
	"testing"

	"penstock/internal/camsim"
	"penstock/streams"
)

// TestALogThatIsSlowToOpenHoldsNoOtherCameraUp has a camera whose parameter sets come in
// band, so that its stream is claimed where the packets of all cameras come in.
func TestALogThatIsSlowToOpenHoldsNoOtherCameraUp(t *testing.T) {
	t.Parallel()
	s := cameras(t, camsim.ServerConfig{Material: shortClip(), Faults: camsim.Faults{InBandOnly: true}})
	r := start(t, Config{})
	stall := make(chan struct{})
	r.hub.mu.Lock()
	r.hub.stalled = map[string]chan struct{}{"slow": stall, "never": make(chan struct{})}
	r.hub.mu.Unlock()
	r.add("well", s.URL(0), "", "", streams.Auto)
	r.hub.wait(t, "the first camera", func() bool { return len(r.hub.sessions) == 1 && r.hub.sessions[0].count > 0 })
	r.add("slow", s.URL(0), "", "", streams.Auto)
	r.add("never", s.URL(0), "", "", streams.Auto)
	before := 0
	r.hub.wait(t, "both wait for their logs", func() bool {
		before = r.hub.sessions[0].count
		return r.hub.states["slow"] == "preparing" && r.hub.states["never"] == "preparing"
	})
	r.hub.wait(t, "the first camera goes on", func() bool { return r.hub.sessions[0].count > before+25 && len(r.hub.sessions) == 1 })
	close(stall)
	r.hub.wait(t, "the second camera", func() bool { return len(r.hub.sessions) == 2 && r.hub.sessions[1].count > 0 })
	// "never" still waits; the supervisor ends all the same.
}
