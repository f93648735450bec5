package hls

import (
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/quantity"
	"penstock/playback"
	"penstock/streams"
)

const (
	// keysUsual is how many key frames a list names that does not say how many: enough for
	// one every few pixels of a timeline.
	keysUsual = 1000
	// keysMost bounds what one list names, about a megabyte.
	keysMost = 10_000
	// keysWalk is from which distance on the log is asked for one key frame after another
	// instead of read from end to end: no list reads more than a week of heads.
	keysWalk = time.Minute
)

// keyFrame is a line of an I-frame playlist: the key frame that a fragment begins with.
type keyFrame struct {
	number fragments.Number
	start  time.Time
	shown  time.Duration // up to the next one, or to where media ends
	run    uint32
	breaks bool
}

// keyPicker chooses the key frames of a list from heads in their order. It is a state
// machine without I/O.
type keyPicker struct {
	every time.Duration
	list  []keyFrame
	prev  fragments.Head
	end   time.Time // of the media that the last one stands for
	broke bool      // a break came since the last one
}

// add takes the next head; false: there are more than may be listed.
func (k *keyPicker) add(h fragments.Head) bool {
	if k.prev.Number != 0 && playback.Breaks(k.prev, h) {
		k.close(k.end)
		k.broke = true
	}
	k.prev, k.end = h, h.End
	n := len(k.list)
	due := n == 0 || k.broke || h.Start.Sub(k.list[n-1].start) >= k.every
	if h.Forced || !due {
		return true
	}
	if !k.broke {
		k.close(h.Start)
	}
	if n == keysMost {
		return false
	}
	k.list = append(k.list, keyFrame{number: h.Number, start: h.Start, run: h.Run, breaks: k.broke && n > 0})
	k.broke = false
	return true
}

// close says until when the last key frame is shown, unless that was said.
func (k *keyPicker) close(end time.Time) {
	if n := len(k.list); n > 0 && k.list[n-1].shown == 0 {
		k.list[n-1].shown = max(end.Sub(k.list[n-1].start), time.Millisecond)
	}
}

// done returns the list.
func (k *keyPicker) done() []keyFrame {
	k.close(k.end)
	return k.list
}

// pickKeys lists the key frames of [start, end) at least every apart, and one behind each
// break. fault.Invalid: they are too many.
func pickKeys(ctx context.Context, log *fragments.Log, start, end time.Time, every time.Duration) ([]keyFrame, error) {
	many := fault.New(fault.Invalid, "list key frames", "", "there are more than "+strconv.Itoa(keysMost)).
		WithHint("ask for a shorter window, or fewer of them: every=1m")
	if every > 0 && end.Sub(start)/every > keysMost {
		return nil, many
	}
	k := keyPicker{every: every}
	if every < keysWalk {
		read := 0
		for h, err := range log.Select(ctx, fragments.Range{Start: start, End: end}) {
			if err != nil {
				return nil, err
			}
			if read++; !k.add(h) || every == 0 && read > 2*keysMost {
				return nil, many
			}
		}
		return k.done(), nil
	}
	for at, after := start, fragments.Number(0); at.Before(end); {
		found := false
		for h, err := range log.Select(ctx, fragments.Range{Start: at, End: end, After: after, Limit: 1}) {
			if err != nil {
				return nil, err
			}
			found, after = true, h.Number
			k.skip(h)
			if !k.add(h) {
				return nil, many
			}
			at = h.Start.Add(every)
			if h.Forced {
				at = h.End
			}
		}
		if !found {
			break
		}
	}
	return k.done(), nil
}

// skip says that what lies between the last one and h was not looked at.
func (k *keyPicker) skip(h fragments.Head) {
	if n := len(k.list); n > 0 {
		k.end = k.list[n-1].start.Add(min(k.every, h.Start.Sub(k.list[n-1].start)))
	}
}

// ServeKeys answers GET iframes.m3u8: a playlist of key frames alone (RFC 8216
// §4.3.3.6), for scrubbing. With start and end it lists those of the window, at least
// every apart; without every a thousand or fewer. Else it lists those of the live
// playlist's segments, with its numbers and as far back as dvr says.
func (s *Server) ServeKeys(w http.ResponseWriter, r *http.Request, st streams.Stream) error {
	q := r.URL.Query()
	if err := onlyServer(w, r); err != nil {
		return err
	}
	if !q.Has("start") && !q.Has("end") {
		return s.serveLiveKeys(w, r, st)
	}
	start, end, err := playback.Window(r, s.c.Clock.Now(), vodSpan, s.c.Window)
	if err != nil {
		return err
	}
	every := end.Sub(start) / keysUsual
	if text := q.Get("every"); text != "" {
		if every, err = quantity.Duration(text); err != nil || every < 0 {
			return fault.New(fault.Invalid, "read", "every", "not a duration such as 10s")
		}
	}
	log := s.c.Hub.Log(st)
	list, err := pickKeys(r.Context(), log, start, end, every)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return nothingThere(st)
	}
	if err := picturesIn(r.Context(), log, list[0].number); err != nil {
		return err
	}
	s.c.Metrics.Requests.WithLabelValues("keys").Inc()
	return send(w, r, typePlaylist, "private, no-cache", renderKeys(list, playback.Token(r)))
}

// onlyServer refuses times that are meant by another clock.
func onlyServer(w http.ResponseWriter, r *http.Request) error {
	clock, err := playback.Clock(w, r)
	if err == nil && clock != fragments.ServerClock {
		err = fault.New(fault.Invalid, "read clock", "", "this list is by the server's clock only").
			WithHint("vod.m3u8 takes clock=producer")
	}
	return err
}

func nothingThere(st streams.Stream) error {
	return fault.New(fault.NotFound, "play", st.Name, "nothing is recorded in that window").
		WithHint("the timeline shows what there is")
}

// picturesIn refuses a fragment without pictures that browsers play.
func picturesIn(ctx context.Context, log *fragments.Log, n fragments.Number) error {
	f, err := log.ReadIndex(ctx, n)
	if err != nil {
		return err
	}
	_, err = playback.KeyTrack(f.Tracks)
	return err
}

// renderKeys writes the playlist of a window.
func renderKeys(list []keyFrame, token string) []byte {
	longest := time.Duration(0)
	for _, k := range list {
		longest = max(longest, k.shown)
	}
	b := append(make([]byte, 0, 256+len(list)*128), "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n#EXT-X-TARGETDURATION:"...)
	b = strconv.AppendInt(b, max(1, int64(math.Round(longest.Seconds()))), 10)
	b = append(b, "\n#EXT-X-MEDIA-SEQUENCE:0\n"...)
	for i, k := range list {
		if k.breaks {
			b = append(b, "#EXT-X-DISCONTINUITY\n"...)
		}
		if i == 0 || k.run != list[i-1].run {
			b = appendKeyInit(b, k.number, token)
		}
		b = appendKey(b, k.number, k.start, k.shown, token)
	}
	return append(b, "#EXT-X-ENDLIST\n"...)
}

func appendKeyInit(b []byte, n fragments.Number, token string) []byte {
	b = append(b, `#EXT-X-MAP:URI="keys/init-`...)
	b = strconv.AppendUint(b, uint64(n), 10)
	return append(append(append(b, ".mp4"...), token...), "\"\n"...)
}

func appendKey(b []byte, n fragments.Number, start time.Time, shown time.Duration, token string) []byte {
	b = append(b, "#EXT-X-PROGRAM-DATE-TIME:"...)
	b = append(start.UTC().AppendFormat(b, timestampStyle), '\n')
	if n == 0 { // a piece that no fragment of the log is the whole of
		b = append(b, "#EXT-X-GAP\n"...)
	}
	b = append(b, "#EXTINF:"...)
	b = append(appendSeconds(b, shown), ",\nkeys/"...)
	b = append(strconv.AppendUint(b, uint64(n), 10), '-')
	b = strconv.AppendInt(b, max(1, shown.Milliseconds()), 10)
	return append(append(append(b, ".m4s"...), token...), '\n')
}

func (s *Server) serveLiveKeys(w http.ResponseWriter, r *http.Request, st streams.Stream) error {
	if r.URL.Query().Has("every") {
		return fault.New(fault.Invalid, "read", "every", "a live list has the key frame of each segment").
			WithHint("give start or end with every")
	}
	p, back, err := s.opened(r, st)
	if err != nil {
		return err
	}
	p.mu.Lock()
	text := p.win.renderKeys(back, playback.Token(r))
	p.mu.Unlock()
	s.c.Metrics.Requests.WithLabelValues("keys").Inc()
	return send(w, r, typePlaylist, "no-store", text)
}

// renderKeys writes the key frames of the complete segments, and of the past as far back
// as d before the end. Numbers are those of the other playlist, so that players can go
// from one to the other.
func (w *window) renderKeys(d time.Duration, token string) []byte {
	list, breaks := w.pastOf(d)
	b := append(make([]byte, 0, 256+(len(list)+len(w.segments))*128), "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-I-FRAMES-ONLY\n#EXT-X-TARGETDURATION:"...)
	b = strconv.AppendInt(b, int64(w.target/time.Second), 10)
	b = append(b, "\n#EXT-X-MEDIA-SEQUENCE:"...)
	b = strconv.AppendUint(b, w.firstNumber()-uint64(len(list)), 10)
	b = append(b, "\n#EXT-X-DISCONTINUITY-SEQUENCE:"...)
	b = append(strconv.AppendUint(b, breaks, 10), '\n')
	all := slices.Clone(list)
	for _, s := range w.segments {
		number := s.number
		if s.gap {
			number = 0
		}
		all = append(all, pastSegment{number: number, start: s.start, duration: s.duration, init: "live/init-" + s.init, breaks: s.breaks})
	}
	init := ""
	for _, s := range all {
		if s.breaks {
			b = append(b, "#EXT-X-DISCONTINUITY\n"...)
		}
		if s.init != init && s.number != 0 {
			init = s.init
			b = appendKeyInit(b, s.number, token)
		}
		b = appendKey(b, s.number, s.start, s.duration, token)
	}
	return b
}
