package camera

import (
	"strings"
	"testing"

	"penstock/internal/guard"
)

func TestARefusedAddressNamesTheSettingThatAllowsIt(t *testing.T) {
	g, err := guard.New(guard.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for address, words := range map[string]string{
		"rtsp://127.0.0.1:554/x":    "this machine itself",
		"rtsp://localhost/x":        "this machine itself",
		"rtsp://169.254.169.254/x":  "link-local",
		"rtsps://[::1]:322/stream1": "this machine itself",
	} {
		_, err := Open(t.Context(), Config{Dial: g.Dial}, target(t, address, "admin", "hush"), nil)
		tr := TroubleOf(err)
		if tr == nil || tr.Cause != Unreachable || !strings.Contains(tr.Detail, words) {
			t.Errorf("%s: %+v", address, tr)
			continue
		}
		for _, want := range []string{"--allow-address ", "PENSTOCK_ALLOW_ADDRESSES"} {
			if !strings.Contains(tr.Try, want) {
				t.Errorf("%s: %q does not name %s", address, tr.Try, want)
			}
		}
	}
}
