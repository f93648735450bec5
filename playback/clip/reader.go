package clip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sort"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/fragments"
	"penstock/playback"
)

// reader is a movie as bytes. It reads a fragment's media when its range is reached.
type reader struct {
	ctx     context.Context
	movie   *movie
	log     *fragments.Log
	sound   *playback.Sound          // plain; nil: media is sent as it is stored
	control *http.ResponseController // nil: no deadlines
	sent    prometheus.Counter

	pos  int64
	open io.ReaderAt // media that holds pieces[at]; nil: none
	at   int
	err  error // of the first read that failed
}

// Seek moves to an offset, as io.Seeker.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.movie.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start")
	}
	r.pos = offset
	return offset, nil
}

// Read reads on from the offset, as io.Reader. A client that takes nothing for a minute
// is hung up on: the deadline moves with each piece that was taken.
func (r *reader) Read(p []byte) (int, error) {
	if r.pos >= r.movie.size {
		return 0, io.EOF
	}
	if r.control != nil {
		// A connection without deadlines (a test's recorder) is read without.
		_ = r.control.SetWriteDeadline(time.Now().Add(stallTimeout))
	}
	n, err := r.read(p)
	r.pos += int64(n)
	r.sent.Add(float64(n))
	if err != nil {
		r.err = err
	}
	return n, err
}

func (r *reader) read(p []byte) (int, error) {
	if head := r.movie.header; r.pos < int64(len(head)) {
		return copy(p, head[r.pos:]), nil
	}
	pieces := r.movie.pieces
	i := sort.Search(len(pieces), func(i int) bool { return pieces[i].at+pieces[i].size > r.pos })
	if r.open == nil || r.at != i {
		data, err := r.media(pieces[i])
		if err != nil {
			return 0, err
		}
		r.open, r.at = data, i
	}
	into, from := r.pos-pieces[i].at, pieces[i].from
	if r.sound != nil {
		from = 0
	}
	n, err := r.open.ReadAt(p[:min(int64(len(p)), pieces[i].size-into)], from+into)
	if n > 0 {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// media returns the fragment of a piece as it is stored, or the piece itself where sound
// is not written as it is stored.
func (r *reader) media(p piece) (io.ReaderAt, error) {
	if r.sound == nil {
		data, _, err := r.log.OpenData(r.ctx, p.number)
		return data, err
	}
	f, err := r.log.Read(r.ctx, p.number)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, p.size)
	for _, s := range r.sound.Restart().Samples(f.Samples[p.first:p.end]) {
		data = append(data, s.Data...)
	}
	return bytes.NewReader(data), nil
}
