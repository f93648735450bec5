package testcam

import (
	"math"
	"time"
)

// The picture's size in luma samples, and where its parts are, in macroblocks.
const (
	Width  = 640
	Height = 360

	coded    = 368 // Height rounded up to macroblocks; the rest is cropped
	cols     = Width / mb
	skyTop   = 3
	seaTop   = 13
	barTop   = 19 // the barcode's first of two rows
	barLeft  = 1
	barCells = 24 // cells in a row; BarcodeBits / 2
	textTop  = 1
	textLeft = 1
)

// BarcodeBits is how many bits of the wall clock, in milliseconds since 1970, each frame carries.
const BarcodeBits = 2 * barCells

type colour [3]byte // Y, Cb, Cr

var (
	black = colour{16, 128, 128}
	white = colour{235, 128, 128}
	panel = colour{40, 134, 124}
	sun   = colour{178, 72, 172}
)

func (f *frame) fill(x, y, w, h int, c colour) {
	for i := range f.p {
		p := &f.p[i]
		d := mb / size(i)
		for r := y / d; r < (y+h)/d; r++ {
			row := p.pix[r*p.w+x/d : r*p.w+(x+w)/d]
			for k := range row {
				row[k] = c[i]
			}
		}
	}
}

func (f *frame) cell(x, y int, c colour) { f.fill(x*mb, y*mb, mb, mb, c) }

func blend(a, b colour, t float64) colour {
	t = min(max(t, 0), 1)
	var c colour
	for i := range c {
		c[i] = byte(math.Round(float64(a[i]) + (float64(b[i])-float64(a[i]))*t))
	}
	return c
}

func sky(x int) colour {
	return blend(colour{52, 130, 118}, colour{96, 186, 112}, float64(x)/(cols-1))
}

// background draws what never changes.
func (f *frame) background() {
	f.fill(0, 0, Width, coded, panel)
	for x := range cols {
		f.fill(x*mb, skyTop*mb, mb, (barTop-skyTop)*mb, sky(x))
	}
}

// draw paints the picture of instant t.
func (f *frame) draw(t time.Time) {
	sec := float64(t.UnixMilli()%3_600_000) / 1000
	f.sweep(sec)
	f.disc(29*mb, 6*mb, 38, sun)
	f.sea(sec)
	f.text(textLeft, textTop, t.UTC().Format("2006-01-02 15:04:05.0")+" UTC")
	f.digits(t.UTC().Format("0405"))
	f.barcode(t)
}

// sweep moves a bar of light over the sky, a few samples a frame: its columns are
// constant, so only its top row is ever sent raw.
func (f *frame) sweep(sec float64) {
	const width, bottom = 40, seaTop + 6
	at := int(sec*64)%(Width+width) - width
	for x := range cols {
		f.fill(x*mb, skyTop*mb, mb, (bottom-skyTop)*mb, sky(x))
	}
	for x := max(at, 0) &^ 1; x < min(at+width, Width); x += 2 {
		f.fill(x, skyTop*mb, 2, (seaTop-skyTop)*mb, blend(sky(x/mb), white, 0.35))
	}
}

func (f *frame) disc(cx, cy, r int, c colour) {
	for y := cy - r; y < cy+r; y += 2 {
		half := int(math.Sqrt(float64(r*r-(y-cy)*(y-cy)))) &^ 1
		f.fill(cx-half, y&^1, 2*half, 2, c)
	}
}

// sea draws two rows of swell in flat cells whose shade, not shape, follows the wave.
func (f *frame) sea(sec float64) {
	deep, light := colour{84, 146, 92}, colour{132, 148, 88}
	for x := range cols {
		crest := 2 + 1.6*math.Sin(float64(x)/4+sec*1.3) + 0.4*math.Sin(float64(x)/1.7-sec*2.1)
		for y := range barTop - seaTop {
			depth := float64(y) - crest
			c := blend(light, deep, depth/3)
			f.cell(x, seaTop+y, blend(sky(x), c, quantise(depth+1)))
		}
	}
}

// quantise keeps slow water from changing every cell in every frame.
func quantise(v float64) float64 { return math.Round(min(max(v, 0), 1)*24) / 24 }

func (f *frame) barcode(t time.Time) {
	v := uint64(t.UnixMilli()) & (1<<BarcodeBits - 1)
	for i := range BarcodeBits {
		c := black
		if v>>(BarcodeBits-1-i)&1 == 1 {
			c = white
		}
		f.cell(barLeft+i%barCells, barTop+i/barCells, c)
	}
}

// BarcodeCell returns the centre, in samples, of barcode bit i, the most significant first.
func BarcodeCell(i int) (x, y int) {
	return (barLeft+i%barCells)*mb + mb/2, (barTop+i/barCells)*mb + mb/2
}

// ReadBarcode returns the wall clock that a decoded frame carries. luma gives the
// brightness, 0 to 255, at a point of the Width x Height picture.
func ReadBarcode(luma func(x, y int) byte) time.Time {
	var v int64
	for i := range BarcodeBits {
		v <<= 1
		if luma(BarcodeCell(i)) > 127 {
			v |= 1
		}
	}
	return time.UnixMilli(v)
}
