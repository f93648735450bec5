package rtsp

import (
	"context"

	"penstock/internal/fault"
)

// CheckUDP takes a pair of free ports of host as a Server would, lets go of them, and
// returns what an operator should know of their buffers: "" when they are large enough.
func CheckUDP(ctx context.Context, host string) (notice string, err error) {
	u := &udp{}
	for range pairTries {
		port, err := freePort(ctx, host)
		if err != nil {
			return "", fault.Wrap(fault.Unavailable, "listen for RTP on", host, err)
		}
		if u.bind(ctx, host, port) == nil {
			u.release()
			return u.notice, nil
		}
	}
	return "", fault.New(fault.Unavailable, "listen for RTP on", host, "no pair of ports is free")
}
