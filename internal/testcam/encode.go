package testcam

import "bytes"

const (
	mb = 16 // luma samples along a macroblock's side
	// qp makes the dequantised luma DC step exactly one level: LevelScale(28%6) is 16*16 and
	// (level*256 + 2) >> 2 is 64*level, which the inverse transform divides by 64 (clause 8.5.2).
	qp = 28
	// chromaOffset brings chroma to QP 22, where its DC step is one level too (clause 8.5.3).
	chromaOffset = -6
)

// plane is one component of a picture whose sides are whole macroblocks.
type plane struct {
	w   int
	pix []byte
}

// frame is a 4:2:0 picture.
type frame struct {
	w, h int // luma size, multiples of mb
	p    [3]plane
}

func newFrame(w, h int) *frame {
	f := &frame{w: w, h: h}
	f.p[0] = plane{w, make([]byte, w*h)}
	f.p[1] = plane{w / 2, make([]byte, w*h/4)}
	f.p[2] = plane{w / 2, make([]byte, w*h/4)}
	return f
}

func (f *frame) copyFrom(g *frame) {
	for i := range f.p {
		copy(f.p[i].pix, g.p[i].pix)
	}
}

// same reports whether the macroblock at column x, row y looks alike in both.
func (f *frame) same(g *frame, x, y int) bool {
	for i := range f.p {
		n, w := size(i), f.p[i].w
		for r := range n {
			o := (y*n+r)*w + x*n
			if !bytes.Equal(f.p[i].pix[o:o+n], g.p[i].pix[o:o+n]) {
				return false
			}
		}
	}
	return true
}

// size is a macroblock's side in component i.
func size(i int) int {
	if i == 0 {
		return mb
	}
	return mb / 2
}

// encoder writes slices without loss: a macroblock is skipped when it has not
// changed, predicted from its neighbours with one flat residual when that gives it
// exactly, and sent as raw samples (I_PCM) otherwise. It is not for sharing.
type encoder struct {
	cur, prev *frame
	pcm       []bool // which macroblocks of this picture were sent raw: they count 16 coefficients
	bw        bitWriter
	frameNum  uint32
	idr       uint32
}

func newEncoder(w, h int) *encoder {
	return &encoder{cur: newFrame(w, h), prev: newFrame(w, h), pcm: make([]bool, w/mb*h/mb)}
}

func (e *encoder) sps(fps uint32, cropBottom uint32) []byte {
	w := bitWriter{}
	w.u(8, 66)   // profile_idc: baseline
	w.u(8, 0xC0) // constraint sets 0 and 1: constrained baseline
	w.u(8, 30)   // level 3
	w.ue(0)
	w.ue(4) // log2_max_frame_num_minus4: 8 bits
	w.ue(2) // pic_order_cnt_type 2: output order is decoding order
	w.ue(1) // max_num_ref_frames
	w.u(1, 0)
	w.ue(uint32(e.cur.w/mb - 1))
	w.ue(uint32(e.cur.h/mb - 1))
	w.u(1, 1) // frame_mbs_only_flag
	w.u(1, 1) // direct_8x8_inference_flag
	w.u(1, 1) // frame_cropping_flag
	w.ue(0)
	w.ue(0)
	w.ue(0)
	w.ue(cropBottom / 2)
	w.u(1, 1) // vui_parameters_present_flag
	w.u(1, 0) // aspect_ratio_info_present_flag
	w.u(1, 0) // overscan_info_present_flag
	w.u(1, 1) // video_signal_type_present_flag
	w.u(3, 5)
	w.u(1, 0) // limited range
	w.u(1, 1)
	w.u(8, 1) // BT.709
	w.u(8, 1)
	w.u(8, 1)
	w.u(1, 0) // chroma_loc_info_present_flag
	w.u(1, 1) // timing_info_present_flag
	w.u(32, 1)
	w.u(32, 2*fps)
	w.u(1, 1) // fixed_frame_rate_flag
	w.u(1, 0) // nal_hrd
	w.u(1, 0) // vcl_hrd
	w.u(1, 0) // pic_struct_present_flag
	w.u(1, 1) // bitstream_restriction_flag
	w.u(1, 1)
	w.ue(0)
	w.ue(0)
	w.ue(10)
	w.ue(10)
	w.ue(0) // max_num_reorder_frames
	w.ue(1) // max_dec_frame_buffering
	w.trailing()
	return appendNAL(nil, 0x67, w.buf)[4:]
}

func (e *encoder) pps() []byte {
	w := bitWriter{}
	w.ue(0)
	w.ue(0)
	w.u(1, 0) // CAVLC
	w.u(1, 0)
	w.ue(0)
	w.ue(0)
	w.ue(0)
	w.u(1, 0)
	w.u(2, 0)
	w.se(qp - 26)
	w.se(0)
	w.se(chromaOffset)
	w.u(1, 1) // deblocking_filter_control_present_flag
	w.u(1, 0) // constrained_intra_pred_flag
	w.u(1, 0)
	w.trailing()
	return appendNAL(nil, 0x68, w.buf)[4:]
}

// slice appends the current picture as one slice and makes it the reference.
func (e *encoder) slice(dst []byte, idr bool) []byte {
	w := &e.bw
	w.buf, w.cur, w.have = w.buf[:0], 0, 0
	header := byte(0x41)
	w.ue(0)
	if idr {
		header, e.frameNum = 0x65, 0
		w.ue(7)
	} else {
		w.ue(5)
	}
	w.ue(0)
	w.u(8, e.frameNum)
	if idr {
		w.ue(e.idr & 1)
		e.idr++
		w.u(2, 0) // no_output_of_prior_pics_flag, long_term_reference_flag
	} else {
		w.u(1, 0) // num_ref_idx_active_override_flag
		w.u(1, 0) // ref_pic_list_modification_flag_l0
		w.u(1, 0) // adaptive_ref_pic_marking_mode_flag
	}
	w.se(0)
	w.ue(1) // disable_deblocking_filter_idc
	e.macroblocks(idr)
	w.trailing()
	e.frameNum = (e.frameNum + 1) & 0xff
	e.prev.copyFrom(e.cur)
	return appendNAL(dst, header, w.buf)
}

func (e *encoder) macroblocks(idr bool) {
	cols, rows := e.cur.w/mb, e.cur.h/mb
	skipped := uint32(0)
	for y := range rows {
		for x := range cols {
			e.pcm[y*cols+x] = false
			if !idr && e.cur.same(e.prev, x, y) {
				skipped++
				continue
			}
			base := uint32(0)
			if !idr {
				e.bw.ue(skipped)
				skipped, base = 0, 5
			}
			if !e.predicted(base, x, y) {
				e.raw(base, x, y)
			}
		}
	}
	if skipped > 0 {
		e.bw.ue(skipped)
	}
}

// raw sends the macroblock's samples as they are (mb_type I_PCM).
func (e *encoder) raw(base uint32, x, y int) {
	e.pcm[y*(e.cur.w/mb)+x] = true
	w := &e.bw
	w.ue(base + 25)
	w.align()
	for i := range e.cur.p {
		n, p := size(i), &e.cur.p[i]
		for r := range n {
			o := (y*n+r)*p.w + x*n
			w.buf = append(w.buf, p.pix[o:o+n]...)
		}
	}
}

// Prediction modes, in an order of our own; each component's table gives the code.
const (
	vertical = iota
	horizontal
	dc
)

// predicted sends the macroblock as Intra_16x16 when some prediction plus a
// constant is exactly what is wanted, and reports whether it did.
func (e *encoder) predicted(base uint32, x, y int) bool {
	lm, ld, ok := e.luma(x, y)
	if !ok {
		return false
	}
	cm, cd, ok := e.chroma(x, y)
	if !ok {
		return false
	}
	w := &e.bw
	mode := [...]uint32{vertical: 0, horizontal: 1, dc: 2}[lm]
	cbp := uint32(0)
	if cd != [2]int32{} {
		cbp = 1
	}
	w.ue(base + 1 + mode + 4*cbp)
	w.ue([...]uint32{dc: 0, horizontal: 1, vertical: 2}[cm])
	w.se(0) // mb_qp_delta
	e.level(ld, e.coefficients(x, y))
	if cbp == 1 {
		e.level(cd[0], -1)
		e.level(cd[1], -1)
	}
	return true
}

// coefficients is nC of clause 9.2.1: raw neighbours count 16, all others 0 here.
func (e *encoder) coefficients(x, y int) int {
	cols := e.cur.w / mb
	n, have := 0, 0
	if x > 0 {
		have++
		if e.pcm[y*cols+x-1] {
			n += 16
		}
	}
	if y > 0 {
		have++
		if e.pcm[(y-1)*cols+x] {
			n += 16
		}
	}
	if have == 2 {
		return (n + 1) >> 1
	}
	return n
}

// level sends a block whose only coefficient is its first (clause 9.2); nC is -1 for chroma DC.
func (e *encoder) level(v int32, nC int) {
	w := &e.bw
	abs := max(v, -v)
	switch { // coeff_token, Table 9-5
	case v == 0 && nC == -1:
		w.u(2, 1)
	case v == 0 && nC < 2:
		w.u(1, 1)
	case v == 0:
		w.u(6, 3)
	case abs == 1 && nC == -1:
		w.u(1, 1)
	case abs == 1 && nC < 2:
		w.u(2, 1)
	case abs == 1:
		w.u(6, 1)
	case nC == -1:
		w.u(6, 7)
	case nC < 2:
		w.u(6, 5)
	default:
		w.u(6, 0)
	}
	if v == 0 {
		return
	}
	if abs == 1 {
		w.u(1, uint32(v>>31)&1)
	} else {
		code := uint32(2*abs - 4)
		if v < 0 {
			code++
		}
		switch {
		case code < 14:
			w.u(uint(code)+1, 1)
		case code < 30:
			w.u(15, 1)
			w.u(4, code-14)
		default:
			w.u(16, 1)
			w.u(12, code-30)
		}
	}
	w.u(1, 1) // total_zeros: none
}

func (e *encoder) luma(x, y int) (mode int, diff int32, ok bool) {
	for mode := vertical; mode <= dc; mode++ {
		if d, ok := e.try(0, mode, x, y); ok {
			return mode, d, true
		}
	}
	return 0, 0, false
}

func (e *encoder) chroma(x, y int) (mode int, diff [2]int32, ok bool) {
	for mode := vertical; mode <= dc; mode++ {
		b, ok1 := e.try(1, mode, x, y)
		r, ok2 := e.try(2, mode, x, y)
		if ok1 && ok2 {
			return mode, [2]int32{b, r}, true
		}
	}
	return 0, diff, false
}

// try reports whether prediction mode plus a constant gives component i of the
// macroblock exactly. Chroma DC is used only where it is flat: without neighbours.
func (e *encoder) try(i, mode, x, y int) (int32, bool) {
	p, n := &e.cur.p[i], size(i)
	o := y*n*p.w + x*n
	flat := int32(128)
	switch {
	case mode == vertical && y == 0, mode == horizontal && x == 0:
		return 0, false
	case mode == dc && i > 0 && (x > 0 || y > 0):
		return 0, false
	case mode == dc:
		flat = e.mean(p, n, o, x > 0, y > 0)
	}
	var diff int32
	for r := range n {
		row := p.pix[o+r*p.w:][:n]
		for c, v := range row {
			want := flat
			switch mode {
			case vertical:
				want = int32(p.pix[o-p.w+c])
			case horizontal:
				want = int32(p.pix[o+r*p.w-1])
			}
			d := int32(v) - want
			if r == 0 && c == 0 {
				diff = d
			} else if d != diff {
				return 0, false
			}
		}
	}
	return diff, true
}

// mean is Intra_16x16_DC of clause 8.3.3.3.
func (e *encoder) mean(p *plane, n, o int, left, top bool) int32 {
	sum, count := int32(0), int32(0)
	if top {
		for _, v := range p.pix[o-p.w:][:n] {
			sum += int32(v)
		}
		count += int32(n)
	}
	if left {
		for r := range n {
			sum += int32(p.pix[o+r*p.w-1])
		}
		count += int32(n)
	}
	if count == 0 {
		return 128
	}
	return (sum + count/2) / count
}
