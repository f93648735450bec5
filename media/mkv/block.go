package mkv

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/at-wat/ebml-go"

	"penstock/media"
)

// inTrack is a track that is being read.
type inTrack struct {
	id         media.TrackID
	name       string // of the codec when it can be found in band
	codec      media.Codec
	scale      uint32
	lengthSize int // of NAL units in blocks, when they have lengths
	order      order
	seen       bool // a block of it has come
}

// video reports whether decode times of t must rise strictly.
func (t *inTrack) video() bool {
	return t.lengthSize > 0 || t.codec != nil && t.codec.Kind() == media.Video
}

// tracksElement reads Tracks; it is only kept when every track of it makes sense.
func (r *Reader) tracksElement(size uint64) error {
	b, err := r.body(size, headMax, "Tracks")
	if err != nil {
		return err
	}
	b = bytes.Clone(b)
	var tracks []*inTrack
	ok := children(b, func(id uint32, v []byte) {
		if id != idTrackEntry || err != nil || len(tracks) >= media.TracksMax {
			return
		}
		e, ok := parseEntry(v)
		if !ok {
			err = r.bad("track entry is damaged")
			return
		}
		var t *inTrack
		if t, err = e.track(); err != nil || t == nil {
			return
		}
		if slices.ContainsFunc(tracks, func(o *inTrack) bool { return o.id == t.id }) {
			err = r.bad("two tracks have one number")
			return
		}
		tracks = append(tracks, t)
	})
	switch {
	case err != nil:
		return err
	case !ok:
		return r.bad("Tracks is damaged")
	case len(tracks) == 0:
		return r.bad("no track of a known codec")
	}
	r.adopt(tracks)
	return nil
}

// adopt makes tracks those of the stream from here on.
func (r *Reader) adopt(tracks []*inTrack) {
	r.settle() // a new header before the old one's first pictures
	r.tracks = tracks
	r.waiting, r.held, r.clusters, r.tracksAt = true, 0, 0, len(r.queue)
	r.queue = append(r.queue, Event{Kind: EventTracks})
	r.settleWhenKnown()
}

// settleWhenKnown announces the tracks when each has its configuration, or has shown a
// first picture without it.
func (r *Reader) settleWhenKnown() {
	for _, t := range r.tracks {
		if t.codec == nil && !t.seen {
			return
		}
	}
	r.settle()
}

// settle announces the tracks, known or not, and lets go of what waited for them.
func (r *Reader) settle() {
	if !r.waiting {
		return
	}
	r.waiting = false
	for _, t := range r.tracks {
		if t.codec == nil {
			t.codec, _ = media.ParseCodec(t.name, nil)
		}
	}
	r.queue[r.tracksAt].Tracks = r.announced()
}

// announced returns the tracks as they are now.
func (r *Reader) announced() []media.Track {
	var out []media.Track
	for _, t := range r.tracks {
		out = append(out, media.Track{ID: t.id, Timescale: t.scale, Codec: t.codec})
	}
	return out
}

func (r *Reader) track(n uint64) *inTrack {
	for _, t := range r.tracks {
		if uint64(t.id) == n {
			return t
		}
	}
	return nil
}

// block reads a SimpleBlock or Block (RFC 9559 §10). Data of one frame goes straight
// into the memory that its sample keeps.
func (r *Reader) block(size uint64) error {
	if size > UnitMax {
		return r.bad("block is larger than any real one")
	}
	start := r.offset
	n, err := r.vint(false, 8)
	var head [3]byte
	if err == nil {
		err = r.take(head[:])
	}
	if err != nil {
		return unexpected(err)
	}
	used := uint64(r.offset - start)
	if used > size {
		return r.bad("block is shorter than its header")
	}
	t := r.track(n)
	if t == nil {
		return r.skip(size - used)
	}
	at := time.Duration((r.cluster + int64(int16(binary.BigEndian.Uint16(head[:])))) * r.scale)
	if head[2]&0x06 != 0 {
		return r.laced(t, at, n, head, int(size-used))
	}
	return r.unit(t, at, int(size-used))
}

// laced takes a block with several frames apart.
func (r *Reader) laced(t *inTrack, at time.Duration, n uint64, head [3]byte, size int) error {
	if size > lacedMax {
		return r.bad("laced block is larger than any real one")
	}
	b, err := r.body(uint64(size), lacedMax, "laced block")
	if err != nil {
		return err
	}
	whole := append([]byte{0x40 | byte(n>>8), byte(n), head[0], head[1], head[2]}, b...)
	blk, err := ebml.UnmarshalBlock(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		r.damaged++
		return nil
	}
	track := media.Track{ID: t.id, Timescale: t.scale, Codec: t.codec}
	ticks := int64(0)
	for _, f := range blk.Data {
		if len(f) == 0 {
			continue
		}
		r.slab.Begin(len(f))
		r.slab.Append(f)
		if err := r.finish(t, at+track.Duration(ticks)); err != nil {
			return err
		}
		if t.codec != nil {
			ticks += media.Nominal(track, f)
		}
	}
	return nil
}

// unit reads the frame of a block that holds one.
func (r *Reader) unit(t *inTrack, at time.Duration, size int) error {
	r.slab.Begin(min(size, readAhead))
	for r.slab.Len() < size {
		part := r.slab.Grow(min(size-r.slab.Len(), max(readAhead, r.slab.Len())))
		if err := r.take(part); err != nil {
			r.slab.Rollback()
			return err
		}
	}
	if size == 0 {
		return nil
	}
	return r.finish(t, at)
}

// finish makes a sample of the open piece of the slab.
func (r *Reader) finish(t *inTrack, at time.Duration) error {
	if t.lengthSize > 0 && t.name != "av1" && !r.lengths(t) {
		r.slab.Rollback()
		r.damaged++
		return nil
	}
	changed := t.update(r.slab.Bytes())
	data := r.slab.Commit()
	s := media.Sample{Track: t.id, Data: data, Sync: t.sync(data)}
	pts := media.Track{Timescale: t.scale}.Ticks(at)
	s.DTS = t.order.dts(t, s, pts)
	s.CTO = int32(max(min(pts-s.DTS, 1<<31-1), -1<<31))
	t.seen = true
	if r.waiting {
		r.settleWhenKnown()
	} else if changed {
		r.queue = append(r.queue, Event{Kind: EventTracks, Tracks: r.announced()})
	}
	return r.emit(Event{Kind: EventSample, Sample: s}, len(data))
}

// lengths gives the open piece NAL units with 4-byte lengths, whatever it has now.
// Producers that announce one form send the other, so what it is decides.
func (r *Reader) lengths(t *inTrack) bool {
	b := r.slab.Bytes()
	if t.lengthSize == 4 && media.ValidNALs(b) {
		return true
	}
	r.scratch = append(r.scratch[:0], b...)
	b = r.scratch
	if t.lengthSize < 4 && validShort(b, t.lengthSize) {
		r.slab.Truncate(0)
		for len(b) > 0 {
			n := int(number(b[:t.lengthSize]))
			media.AppendNAL(r.slab.Grow(4 + n)[:0], b[t.lengthSize:][:n])
			b = b[t.lengthSize+n:]
		}
		return true
	}
	if !media.IsAnnexB(b) {
		return false
	}
	r.slab.Truncate(0)
	for n := range media.AnnexBNALs(b) {
		media.AppendNAL(r.slab.Grow(4 + len(n))[:0], n)
	}
	return r.slab.Len() > 0
}

// validShort is media.ValidNALs for lengths of size bytes.
func validShort(b []byte, size int) bool {
	for len(b) > 0 {
		if len(b) <= size {
			return false
		}
		n := number(b[:size])
		if n == 0 || n > uint64(len(b)-size) {
			return false
		}
		b = b[size+int(n):]
	}
	return true
}

// update looks for a configuration in band and reports whether it is a new one.
func (t *inTrack) update(au []byte) (changed bool) {
	switch t.name {
	case "h264":
		cur, _ := t.codec.(*media.H264)
		if next, ok := media.H264Update(cur, au); ok {
			t.codec, changed = next, true
		}
	case "h265":
		cur, _ := t.codec.(*media.H265)
		if next, ok := media.H265Update(cur, au); ok {
			t.codec, changed = next, true
		}
	case "av1":
		cur, _ := t.codec.(*media.AV1)
		if next, ok := media.AV1Update(cur, au); ok {
			t.codec, changed = next, true
		}
	}
	return changed
}

func (t *inTrack) sync(au []byte) bool {
	switch t.name {
	case "h264":
		return media.H264IsSync(au)
	case "h265":
		return media.H265IsSync(au)
	case "av1":
		return media.AV1IsSync(au)
	}
	return true
}
