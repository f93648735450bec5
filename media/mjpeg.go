package media

import "encoding/binary"

// MJPEG is a run of JPEG pictures (ITU-T T.81). Its samples are whole JPEG files.
type MJPEG struct {
	W, H int // pixels
}

// Name implements Codec.
func (*MJPEG) Name() string { return nameMJPEG }

// Kind implements Codec.
func (*MJPEG) Kind() Kind { return Video }

// MIME implements Codec: the media type of one picture, since no container of ours
// carries Motion JPEG.
func (*MJPEG) MIME() string { return "image/jpeg" }

// Width implements Picture.
func (c *MJPEG) Width() int { return c.W }

// Height implements Picture.
func (c *MJPEG) Height() int { return c.H }

// FrameRate implements Picture: Motion JPEG claims none.
func (*MJPEG) FrameRate() float64 { return 0 }

// Private implements Codec. Motion JPEG has no record of its own; ours is 8 bytes: width
// and height as big-endian uint32.
func (c *MJPEG) Private() []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(c.W))
	return binary.BigEndian.AppendUint32(b, uint32(c.H))
}

func parseMJPEG(b []byte) (Codec, error) {
	if len(b) != 8 {
		return nil, badCodec(nameMJPEG, "not a Motion JPEG record")
	}
	w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if w > 0xffff || h > 0xffff {
		return nil, badCodec(nameMJPEG, "picture is larger than JPEG allows")
	}
	return &MJPEG{W: int(w), H: int(h)}, nil
}
