package acceptance

import (
	"context"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"

	"penstock/internal/testcam"
)

const tcp = gortsplib.TransportTCP

// push sends the synthetic camera to address until ctx ends, and connects again
// whenever the server is gone.
func push(ctx context.Context, address string, transport gortsplib.Transport) {
	for ctx.Err() == nil {
		_ = pushOnce(ctx, address, transport) // the server was killed: that is the test
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func pushOnce(ctx context.Context, address string, transport gortsplib.Transport) error {
	cam := testcam.New()
	forma := &format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: cam.SPS(), PPS: cam.PPS()}
	media := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{forma}}
	c := &gortsplib.Client{Transport: &transport}
	if err := c.StartRecording(address, &description.Session{Medias: []*description.Media{media}}); err != nil {
		return err
	}
	defer c.Close()
	enc, err := forma.CreateEncoder()
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Second / testcam.FPS)
	defer tick.Stop()
	for n := uint32(0); ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		data, _ := cam.Frame(time.Now())
		packets, err := enc.Encode(nalUnits(data))
		if err != nil {
			return err
		}
		for _, p := range packets {
			p.Timestamp = n * 90000 / testcam.FPS
			if err := c.WritePacketRTP(media, p); err != nil {
				return err
			}
		}
	}
}

// nalUnits splits length-prefixed NAL units.
func nalUnits(au []byte) [][]byte {
	var out [][]byte
	for len(au) >= 4 {
		n := int(au[0])<<24 | int(au[1])<<16 | int(au[2])<<8 | int(au[3])
		out = append(out, au[4:4+n])
		au = au[4+n:]
	}
	return out
}

// producers starts n pushed cameras that stop with the test.
func producers(t *testing.T, s *server, names []string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{}, len(names))
	for _, name := range names {
		go func() {
			push(ctx, s.pushURL(name), tcp)
			done <- struct{}{}
		}()
	}
	t.Cleanup(func() {
		stop()
		for range names {
			<-done
		}
	})
}
