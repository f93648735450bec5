package hls

import (
	"context"
	"strconv"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/playback"
)

// stored makes a segment from its fragment in the log, once for all who ask at once.
func (p *packager) stored(ctx context.Context, number uint64) ([]byte, error) {
	v, err, _ := p.reads.Do(strconv.FormatUint(number, 10), func() (any, error) {
		// Others wait for this read: it goes on when the one who began it leaves.
		f, err := p.log.Read(context.WithoutCancel(ctx), fragments.Number(number))
		if err != nil {
			return nil, err
		}
		return playback.Segment(f, playback.Playable(f.Tracks))
	})
	if err != nil {
		return nil, err
	}
	return v.([]byte), nil
}

// lost marks a segment whose fragment is gone as a gap, so that players stop asking.
func (p *packager) lost(s *segment, err error) {
	if !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Expired) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.gap = true
	p.wake()
}
