package rtsp

import (
	"context"

	"penstock/media"
	"penstock/streams"
)

// OnHub makes a Hub of h.
func OnHub(h *streams.Hub) Hub { return hub{h} }

type hub struct{ h *streams.Hub }

func (a hub) Publish(ctx context.Context, st streams.Stream, p streams.Producer, tracks []media.Track) (Session, error) {
	s, err := a.h.Publish(ctx, st, p, tracks, nil)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (a hub) Prepare(ctx context.Context, st streams.Stream) { a.h.Prepare(ctx, st) }

func (a hub) Listen(id string) Listener {
	return a.h.Listen(id, streams.ListenOptions{From: streams.LiveGOP})
}

func (a hub) State(id string) streams.State { return a.h.State(id) }

// Tell leaves alone what a producer, or the puller of a camera, has to say.
func (a hub) Tell(st streams.Stream, status streams.Status, why string) {
	now := a.h.State(st.ID)
	if st.Source == nil && now.Producer.Protocol == "" {
		a.h.SetState(st.ID, status, why)
	}
}
