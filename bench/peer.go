package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"penstock/internal/loadgen"
)

// peerConfig is MediaMTX with its defaults, on loopback: only what takes and serves the
// load is on, and everybody may.
const peerConfig = `logLevel: warn
rtspAddress: %s
rtspTransports: [tcp]
hlsAddress: %s
hlsVariant: lowLatency
hlsAlwaysRemux: %s
authInternalUsers:
  - user: any
    ips: ["127.0.0.1"]
    permissions:
      - action: publish
      - action: read
pathDefaults:
  record: %s
  recordPath: %s
  recordFormat: fmp4
paths:
  all_others:
`

// startPeer starts the peer in a directory of its own. Remuxing HLS without a viewer is
// off unless asked for, as is its default.
func (b *bench) startPeer(ctx context.Context, record, remux bool) (*server, error) {
	s := &server{dir: filepath.Join(b.dir, "peer")}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if s.http, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.rtsp, err = freeAddress(); err != nil {
		return nil, err
	}
	yesNo := map[bool]string{true: "yes", false: "no"}
	conf := filepath.Join(s.dir, "peer.yml")
	text := fmt.Sprintf(peerConfig, s.rtsp, s.http, yesNo[remux], yesNo[record], filepath.Join(s.dir, "%path", "%Y-%m-%d_%H-%M-%S-%f"))
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(b.dir, "peer.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command(b.peer, conf)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.dir, log, log
	// Listeners that not every version has: an unknown variable is ignored where an
	// unknown key of the file is not.
	s.cmd.Env = append(os.Environ(), "MTX_RTMP=no", "MTX_WEBRTC=no", "MTX_SRT=no", "MTX_MOQ=no", "MTX_API=no", "MTX_METRICS=no")
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if listens(ctx, s.rtsp) {
		return s, nil
	}
	s.end()
	said, _ := os.ReadFile(log.Name())
	return nil, errors.New("the peer did not listen: " + strings.TrimSpace(string(said)))
}

// beside measures the peer under the same load, recording and not; without a peer the
// windows are empty.
func (b *bench) beside(ctx context.Context, n int, l loadgen.Load) (recording, idle window, err error) {
	if b.peer == "" {
		return recording, idle, nil
	}
	for _, run := range []struct {
		record bool
		to     *window
	}{{true, &recording}, {false, &idle}} {
		s, err := b.startPeer(ctx, run.record, false)
		if err != nil {
			return recording, idle, err
		}
		*run.to, err = b.watch(ctx, s, n, l, "")
		s.end()
		if err != nil {
			return recording, idle, err
		}
		if err := os.RemoveAll(s.dir); err != nil {
			return recording, idle, err
		}
	}
	return recording, idle, nil
}
