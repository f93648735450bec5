package mkv

import (
	"encoding/binary"
	"math"
	"time"

	"penstock/internal/fault"
	"penstock/media"
)

// app is what we call ourselves in files.
const app = "penstock"

// clusterSpan bounds a cluster: block times count in milliseconds and 16 bits.
const clusterSpan = 30 * time.Second

// opusPreRoll is how much sound an Opus decoder needs before it is right (RFC 7845 §4.6).
const opusPreRoll = 80 * time.Millisecond

// Tag is a name with a value, as Matroska's SimpleTag holds it.
type Tag struct{ Name, Value string }

// AppendHeader appends the EBML header, the start of a segment of unknown size and its
// tracks; clusters and tags follow. fault.Invalid: a codec without its configuration, or
// no tracks.
func AppendHeader(dst []byte, tracks []media.Track) ([]byte, error) {
	if len(tracks) == 0 {
		return dst, fault.New(fault.Invalid, "write Matroska", "", "no tracks")
	}
	var entries []byte
	for _, t := range tracks {
		e, err := trackEntry(t)
		if err != nil {
			return dst, err
		}
		entries = appendBytes(entries, idTrackEntry, e)
	}
	var head []byte
	for _, v := range []struct {
		id uint32
		v  uint64
	}{{0x4286, 1}, {0x42f7, 1}, {0x42f2, 4}, {0x42f3, 8}} { // versions and widths
		head = appendUint(head, v.id, v.v)
	}
	head = appendString(head, idDocType, "matroska")
	head = appendUint(appendUint(head, 0x4287, 4), 0x4285, 2)
	dst = appendBytes(dst, idEBML, head)
	dst = appendSize(appendID(dst, idSegment), unknownSize)
	info := appendUint(nil, idTimecodeScale, uint64(time.Millisecond))
	info = appendString(appendString(info, idMuxingApp, app), idWritingApp, app)
	return appendBytes(appendBytes(dst, idInfo, info), idTracks, entries), nil
}

// trackEntry is the body of a TrackEntry.
func trackEntry(t media.Track) ([]byte, error) {
	id, private, err := codecOf(t.Codec)
	if err != nil {
		return nil, err
	}
	b := appendUint(nil, idTrackNumber, uint64(t.ID))
	b = appendUint(b, idTrackUID, uint64(t.ID))
	kind := uint64(1)
	if t.Codec.Kind() == media.Audio {
		kind = 2
	}
	b = appendUint(b, idTrackType, kind)
	b = appendUint(b, idFlagLacing, 0)
	b = appendString(b, idCodecID, id)
	if len(private) > 0 {
		b = appendBytes(b, idCodecPrivate, private)
	}
	if o, ok := t.Codec.(*media.Opus); ok {
		b = appendUint(b, idCodecDelay, uint64(o.PreSkip)*uint64(time.Second)/48000)
		b = appendUint(b, idSeekPreRoll, uint64(opusPreRoll))
	}
	if p, ok := t.Codec.(media.Picture); ok {
		v := appendUint(nil, idPixelWidth, uint64(p.Width()))
		return appendBytes(b, idVideo, appendUint(v, idPixelHeight, uint64(p.Height()))), nil
	}
	rate, channels := media.AudioFormat(t.Codec)
	a := binary.BigEndian.AppendUint64(appendSize(appendID(nil, idSamplingFrequency), 8), math.Float64bits(float64(rate)))
	a = appendUint(a, idChannels, uint64(max(channels, 1)))
	if _, ok := t.Codec.(*media.G711); ok {
		a = appendUint(a, idBitDepth, 8)
	}
	return appendBytes(b, idAudio, a), nil
}

// AppendTags appends tags, which may stand before, between and behind clusters.
func AppendTags(dst []byte, tags []Tag) []byte {
	var tag []byte
	for _, t := range tags {
		s := appendString(appendString(nil, idTagName, t.Name), idTagString, t.Value)
		tag = appendBytes(tag, idSimpleTag, s)
	}
	return appendBytes(dst, idTags, appendBytes(nil, idTag, tag))
}

// AppendCluster appends samples, in the order given, as one cluster whose size is
// known, or as several when they span more than 30 s. offset is added to all times: with
// the wall-clock time at which media time is 0, timecodes are absolute. Times are those of
// presentation in whole milliseconds. Samples of other tracks are left out; it appends
// nothing when none is left. fault.Invalid: a time before 0.
func AppendCluster(dst []byte, tracks []media.Track, samples []media.Sample, offset time.Duration) ([]byte, error) {
	times := timer{tracks: tracks, offset: offset}
	for len(samples) > 0 {
		base, end, n, size, err := times.measure(samples)
		if err != nil {
			return dst, err
		}
		if n == 0 {
			return dst, nil
		}
		var head [12]byte
		timecode := appendUint(head[:0], idTimecode, uint64(base))
		dst = appendSize(appendID(dst, idCluster), uint64(len(timecode)+size))
		dst = append(dst, timecode...)
		for i := range samples[:end] {
			s := &samples[i]
			at, ok := times.at(s)
			if !ok {
				continue
			}
			dst = appendSize(append(dst, idSimpleBlock), uint64(blockHead+len(s.Data)))
			flags := byte(0)
			if s.Sync {
				flags = 0x80
			}
			dst = append(dst, 0x40, byte(s.Track), byte((at-base)>>8), byte(at-base), flags)
			dst = append(dst, s.Data...)
		}
		samples = samples[end:]
	}
	return dst, nil
}

// blockHead is the size of a block's header: the track in two bytes, so that all fit,
// 16 bits of time, flags.
const blockHead = 5

// timer tells the times of samples.
type timer struct {
	tracks []media.Track
	offset time.Duration
}

// at is when s is presented, in milliseconds; ok is false for other tracks.
func (t *timer) at(s *media.Sample) (ms int64, ok bool) {
	for i := range t.tracks {
		if t.tracks[i].ID == s.Track {
			d := t.tracks[i].Duration(s.DTS+int64(s.CTO)) + t.offset
			return int64(d.Round(time.Millisecond) / time.Millisecond), true
		}
	}
	return 0, false
}

// measure finds how many samples go into the next cluster (all before end), its time, and
// the size of the blocks.
func (t *timer) measure(samples []media.Sample) (base int64, end, n, size int, err error) {
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range samples {
		s := &samples[i]
		at, ok := t.at(s)
		if !ok {
			continue
		}
		if at < 0 {
			return 0, 0, 0, 0, fault.New(fault.Invalid, "write Matroska", "", "a sample is presented before time 0")
		}
		if l, h := min(low, at), max(high, at); h-l <= int64(clusterSpan/time.Millisecond) || n == 0 {
			low, high = l, h
		} else {
			return low, i, n, size, nil
		}
		n++
		body := blockHead + len(s.Data)
		size += 1 + sizeLen(uint64(body)) + body
	}
	return low, len(samples), n, size, nil
}
