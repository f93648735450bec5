package rtpin

import (
	"bytes"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"

	"penstock/media"
)

// libraryPackets is a payload format that gortsplib takes apart. Its decoders keep
// views of what they are given, so each packet is copied for them.
type libraryPackets struct {
	t *track
	// decode takes one packet; done says that a unit is complete.
	decode func(*rtp.Packet) (done bool, err error)
	// emit hands the complete unit over.
	emit   func(ts uint32)
	broken bool
}

// packet implements depacketizer.
func (d *libraryPackets) packet(h header, p []byte, gap bool) {
	if gap {
		d.broken = true
	}
	done, err := d.decode(&rtp.Packet{
		Header: rtp.Header{Version: 2, Marker: h.marker, PayloadType: h.pt, SequenceNumber: h.seq,
			Timestamp: h.ts, SSRC: h.ssrc},
		Payload: bytes.Clone(p),
	})
	if err != nil {
		d.t.r.stats.Malformed++
		return
	}
	if done {
		if d.broken {
			d.t.r.stats.Damaged++
		} else {
			d.emit(h.ts)
		}
	}
	if done || h.marker {
		d.broken = false
	}
}

// end implements depacketizer.
func (d *libraryPackets) end() {}

// more reports whether err of a gortsplib decoder only says that a unit goes on.
func more(err error) bool {
	return err != nil && (err.Error() == "need more packets" ||
		err.Error() == "received a non-starting fragment without any previous starting fragment")
}

// newAV1 takes temporal units; the sequence header is found in band.
func newAV1(t *track, f *format.AV1) (depacketizer, error) {
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	var unit [][]byte
	d := &libraryPackets{t: t}
	d.decode = func(p *rtp.Packet) (bool, error) {
		var err error
		unit, err = dec.Decode(p)
		if more(err) {
			return false, nil
		}
		return err == nil, err
	}
	d.emit = func(ts uint32) { t.temporalUnit(unit, ts) }
	return d, nil
}

// temporalUnit hands over one AV1 temporal unit in the low-overhead format.
func (t *track) temporalUnit(unit [][]byte, ts uint32) {
	keep := unit[:0]
	var config []byte
	for _, obu := range unit {
		var h av1.OBUHeader
		if len(obu) == 0 || h.Unmarshal(obu) != nil || h.Type == av1.OBUTypeTemporalDelimiter {
			continue
		}
		if h.Type == av1.OBUTypeSequenceHeader {
			config = obu
		}
		keep = append(keep, obu)
	}
	if len(keep) == 0 {
		return
	}
	if config != nil {
		cur, _ := t.codec.(*media.AV1)
		if cur == nil || !bytes.Equal(cur.SequenceHeader, config) {
			var s av1.SequenceHeader
			if s.Unmarshal(config) != nil {
				t.r.stats.Malformed++
				return
			}
			t.r.setCodec(t, &media.AV1{SequenceHeader: bytes.Clone(config)})
		}
	}
	data, err := av1.Bitstream(keep).Marshal()
	if err != nil || len(data) > UnitMax {
		t.r.stats.Malformed++
		return
	}
	t.picture(ts, data, config != nil && av1.IsRandomAccess2(keep))
}

// picture hands over a whole picture of a codec that does not reorder.
func (t *track) picture(ts uint32, data []byte, sync bool) {
	pts, wall := t.time.at(ts, t.now, t.r)
	t.r.write(t, media.Sample{Track: t.id, DTS: pts, Sync: sync, Wall: wall, Data: data})
}

// newMJPEG takes JPEG pictures (RFC 2435); its size is found in the first one.
func newMJPEG(t *track, f *format.MJPEG) (depacketizer, error) {
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	var picture []byte
	d := &libraryPackets{t: t}
	d.decode = func(p *rtp.Packet) (bool, error) {
		var err error
		picture, err = dec.Decode(p)
		if more(err) {
			return false, nil
		}
		return err == nil, err
	}
	d.emit = func(ts uint32) {
		w, h := jpegSize(picture)
		if w == 0 || h == 0 {
			t.r.stats.Malformed++
			return
		}
		if cur, _ := t.codec.(*media.MJPEG); cur == nil || cur.W != w || cur.H != h {
			t.r.setCodec(t, &media.MJPEG{W: w, H: h})
		}
		t.picture(ts, picture, true)
	}
	return d, nil
}

// jpegSize finds the size in the frame header (ITU-T T.81 §B.2.2), 0 when there is none.
func jpegSize(b []byte) (width, height int) {
	for i := 2; i+9 < len(b) && b[i] == 0xff; {
		if m := b[i+1]; m >= 0xc0 && m <= 0xc2 {
			return int(b[i+7])<<8 | int(b[i+8]), int(b[i+5])<<8 | int(b[i+6])
		}
		i += 2 + (int(b[i+2])<<8 | int(b[i+3]))
	}
	return 0, 0
}

// newLATM takes MPEG-4 audio in LATM (RFC 6416) with its configuration in the SDP.
func newLATM(t *track, f *format.MPEG4AudioLATM) (depacketizer, error) {
	dec, err := f.CreateDecoder()
	if err != nil {
		return nil, err
	}
	var element []byte
	unitTime := aacFrame * int64(t.clock) / int64(max(f.StreamMuxConfig.Programs[0].Layers[0].AudioSpecificConfig.SampleRate, 1))
	d := &libraryPackets{t: t}
	d.decode = func(p *rtp.Packet) (bool, error) {
		var err error
		element, err = dec.Decode(p)
		if more(err) {
			return false, nil
		}
		return err == nil, err
	}
	d.emit = func(ts uint32) {
		e := mpeg4audio.AudioMuxElement{StreamMuxConfig: f.StreamMuxConfig}
		if e.Unmarshal(element) != nil {
			// GStreamer's payloader moves the configuration by a few bits when it carries an
			// extension; then the library reads the framing wrong. Frames are told by length.
			if au, ok := plainElement(element); ok {
				t.emitAudio(ts, 0, t.small(au))
			} else {
				t.r.stats.Malformed++
			}
			return
		}
		n := int64(0)
		for _, sub := range e.Payloads {
			if len(sub) > 0 && len(sub[0]) > 0 && len(sub[0][0]) > 0 {
				t.emitAudio(ts, n*unitTime, t.small(sub[0][0]))
				n++
			}
		}
	}
	return d, nil
}

// plainElement takes apart an AudioMuxElement of one frame: its length, in bytes that
// are 255 until the last, and the frame (ISO/IEC 14496-3 table 1.44, frameLengthType 0).
func plainElement(b []byte) (au []byte, ok bool) {
	for i, size := 0, 0; i < len(b); i++ {
		size += int(b[i])
		if b[i] != 255 {
			return b[i+1:], size > 0 && i+1+size == len(b)
		}
	}
	return nil, false
}
