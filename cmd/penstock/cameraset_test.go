package main

import (
	"net/http/httptest"
	"strings"
	"testing"

	"penstock/internal/camsim"
)

func TestCameraSetKeyInterval(t *testing.T) {
	d := &camsim.Device{}
	device := httptest.NewServer(d)
	defer device.Close()
	server, _ := servedDemo(t, false, func(c *config) { c.Allow = []string{"127.0.0.0/8"} })
	run := asKey(t, server, "--role=operator")
	if code, _, errs := run("", "camera", "add", "front", "rtsp://127.0.0.1:1/cam0"); code != 0 {
		t.Fatal(errs)
	}
	for _, s := range []struct {
		args string
		code int
		errs string
		gov  int
	}{
		{"camera set front --key-interval 2s --device " + device.URL + "/onvif/device_service", 0, "front makes a key frame every 2 s now (50 frames at 25 frames/s, profile \"main\"); it was every 10 s", 50},
		{"camera set front", exitUsage, "try: --key-interval 2s", 50},
		{"camera set front --key-interval 1h --device " + device.URL, exitFailed, "not between", 50},
		{"camera set nowhere --key-interval 2s", exitNotFound, "no such stream", 50},
		{"camera set front --key-interval 1s --device http://192.0.2.1/", exitFailed, "own host", 50},
	} {
		code, out, errs := run("", strings.Fields(s.args)...)
		if code != s.code || out != "" || !strings.Contains(errs, s.errs) || d.GOV() != s.gov {
			t.Errorf("%s: exit %d, printed %q and %q, %d frames; want %d, %q and %d", s.args, code, out, errs, d.GOV(), s.code, s.errs, s.gov)
		}
	}
}
