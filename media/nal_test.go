package media_test

import (
	"bytes"
	"testing"

	"penstock/media"
	"penstock/media/internal/mediatest"
)

// au makes an access unit of NAL units.
func au(nals ...[]byte) (b []byte) {
	for _, n := range nals {
		b = media.AppendNAL(b, n)
	}
	return b
}

func collect(seq func(func([]byte) bool)) (out [][]byte) {
	for n := range seq {
		out = append(out, n)
	}
	return out
}

var sei = []byte{6, 5, 4, 'w', 'h', 'e', 'n', 0x80}

func TestNALUnitsSurviveBothForms(t *testing.T) {
	units := [][]byte{{9, 0xf0}, sei, {0x65, 0, 0, 3, 1, 0xff}, {0x65, 1}}
	b := au(units...)
	for name, stream := range map[string][]byte{
		"four-byte start codes":  media.AppendAnnexB(nil, b),
		"three-byte start codes": join([]byte{0, 0, 1}, units),
		"stuffing between units": join([]byte{0, 0, 0, 0, 0, 0, 1}, units),
		"zeros behind the last":  append(join([]byte{0, 0, 0, 1}, units), 0, 0, 0),
		"garbage before":         append([]byte{7, 0, 7}, join([]byte{0, 0, 1}, units)...),
	} {
		if got := media.AppendFromAnnexB(nil, stream); !bytes.Equal(got, b) {
			t.Errorf("%s: got %x, want %x", name, got, b)
		}
	}
	if got := media.AppendFromAnnexB(nil, []byte{0, 0, 1, 0, 0, 1}); len(got) != 0 {
		t.Errorf("empty units make %x", got)
	}
}

func join(code []byte, units [][]byte) (b []byte) {
	for _, u := range units {
		b = append(append(b, code...), u...)
	}
	return b
}

func TestLyingLengthsEndIteration(t *testing.T) {
	for name, c := range map[string]struct {
		au   []byte
		want int
	}{
		"beyond the end":   {append(au(sei), 0, 0, 0, 9, 1), 1},
		"four gigabytes":   {append(au(sei), 0xff, 0xff, 0xff, 0xff, 1), 1},
		"cut off":          {append(au(sei), 0, 0), 1},
		"an empty unit":    {append([]byte{0, 0, 0, 0}, au(sei)...), 1},
		"nothing":          {nil, 0},
		"only a length":    {[]byte{0, 0, 0, 1}, 0},
		"two whole, valid": {au(sei, sei), 2},
	} {
		if got := len(collect(media.NALs(c.au))); got != c.want {
			t.Errorf("%s: %d units, want %d", name, got, c.want)
		}
		if ok := media.ValidNALs(c.au); ok != (name == "two whole, valid") {
			t.Errorf("%s: valid is %v", name, ok)
		}
	}
}

func TestSyncIsFoundBehindOtherUnits(t *testing.T) {
	for _, c := range []struct {
		au         []byte
		h264, h265 bool
	}{
		{au([]byte{9, 0xf0}, sei, []byte{0x65, 1}), true, false},
		{au(sei, []byte{0x41, 1}), false, false},
		{au([]byte{0x46, 1, 0x50}, []byte{0x4e, 1, 5}, []byte{0x26, 1, 9}), false, true}, // AUD, SEI, IDR_W_RADL
		{au([]byte{0x2a, 1, 9}), false, true},                                            // CRA
		{au([]byte{0x20, 1, 9}), false, true},                                            // BLA
		{au([]byte{0x02, 1, 9}), false, false},                                           // TRAIL_R
		{nil, false, false},
	} {
		if got := media.H264IsSync(c.au); got != c.h264 {
			t.Errorf("%x: H.264 sync is %v", c.au, got)
		}
		if got := media.H265IsSync(c.au); got != c.h265 {
			t.Errorf("%x: H.265 sync is %v", c.au, got)
		}
	}
}

func TestRepeatedParameterSetsChangeNothingAndCostNothing(t *testing.T) {
	h := h264Of(t)
	key := au([]byte{9, 0xf0}, h.SPS, h.PPS, sei, []byte{0x65, 1, 2})
	h5 := h265Of(t)
	key5 := au(h5.VPS, h5.SPS, h5.PPS, []byte{0x26, 1, 2})
	if n := testing.AllocsPerRun(100, func() {
		if got, changed := media.H264Update(h, key); changed || got != h {
			t.Fatal("H.264 changed")
		}
		if got, changed := media.H265Update(h5, key5); changed || got != h5 {
			t.Fatal("H.265 changed")
		}
		if !media.H264IsSync(key) || !media.H265IsSync(key5) {
			t.Fatal("no sync")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNewParameterSetsReplaceOldOnes(t *testing.T) {
	h := h264Of(t)
	fresh := unhex(t, otherSPS)
	got, changed := media.H264Update(h, au(fresh, []byte{0x68, 0xce, 0x3c, 0x80}, []byte{0x65, 1}))
	if !changed || got.Width() != 1920 || !bytes.Equal(got.PPS, []byte{0x68, 0xce, 0x3c, 0x80}) || got.Extra != nil {
		t.Errorf("got %+v, %v", got, changed)
	}
	if h.Width() != 1280 {
		t.Error("the old configuration was changed in place")
	}
	// A PPS of another id joins, one of the same id replaces.
	second := []byte{0x68, 0x53, 0x8f}
	got, changed = media.H264Update(h, au(second, []byte{0x65, 1}))
	if !changed || len(got.Extra) != 1 || !bytes.Equal(got.PPS, h.PPS) {
		t.Errorf("a second PPS: %+v, %v", got, changed)
	}
	if again, changed := media.H264Update(got, au(h.SPS, h.PPS, second, []byte{0x65, 1})); changed || again != got {
		t.Error("repeating both PPS is taken for a change")
	}
	third := []byte{0x68, 0x53, 0x8e}
	if got, changed = media.H264Update(got, au(third, []byte{0x65, 1})); !changed || len(got.Extra) != 1 || !bytes.Equal(got.Extra[0], third) {
		t.Errorf("a new second PPS: %+v, %v", got, changed)
	}
	h5 := h265Of(t)
	pps := []byte{0x44, 1, 0xc0, 0x71}
	if got, changed := media.H265Update(h5, au(pps, []byte{0x26, 1})); !changed || !bytes.Equal(got.PPS, pps) {
		t.Errorf("H.265: %+v, %v", got, changed)
	}
}

func TestDamagedParameterSetsChangeNothing(t *testing.T) {
	h, h5 := h264Of(t), h265Of(t)
	if got, changed := media.H264Update(h, au(h.SPS[:6], []byte{0x65, 1})); changed || got != h {
		t.Errorf("H.264: %+v", got)
	}
	if got, changed := media.H265Update(h5, au(h5.SPS[:18], []byte{0x26, 1})); changed || got != h5 {
		t.Errorf("H.265: %+v", got)
	}
}

func TestConfigurationIsFoundInBand(t *testing.T) {
	h := h264Of(t)
	if got, changed := media.H264Update(nil, au(h.SPS)); got != nil || changed {
		t.Errorf("without a PPS: %v", got)
	}
	if got, changed := media.H264Update(nil, au(sei, h.SPS, h.PPS, []byte{0x65, 1})); !changed || !media.EqualCodecs(got, h) {
		t.Errorf("got %v, %v", got, changed)
	}
	h5 := h265Of(t)
	if got, changed := media.H265Update(nil, au(h5.VPS, h5.SPS, h5.PPS, []byte{0x26, 1})); !changed || !media.EqualCodecs(got, h5) {
		t.Errorf("got %v, %v", got, changed)
	}
	seq := media.AppendOBU(nil, unhex(t, av1Seq))
	a, changed := media.AV1Update(nil, append(bytes.Clone(seq), 0x32, 1, 0))
	if !changed || a.Width() != 1920 {
		t.Errorf("AV1: %v, %v", a, changed)
	}
	if again, changed := media.AV1Update(&media.AV1{SequenceHeader: unhex(t, av1Seq)}, seq); changed || again == nil {
		t.Error("a sequence header with a size is taken for another one")
	}
}

// Encoders that write their SEI into every picture: none is lost on any way.
func TestEncodedUnitsComeThroughAnnexB(t *testing.T) {
	c := mediatest.Encode(t, mediatest.H264)
	for i, s := range c.Samples {
		if got := media.AppendFromAnnexB(nil, media.AppendAnnexB(nil, s.Data)); !bytes.Equal(got, s.Data) {
			t.Fatalf("sample %d changed", i)
		}
		if media.H264IsSync(s.Data) != s.Sync {
			t.Errorf("sample %d: sync is %v", i, !s.Sync)
		}
	}
	for i, s := range mediatest.Encode(t, mediatest.H265).Samples {
		if media.H265IsSync(s.Data) != s.Sync {
			t.Errorf("H.265 sample %d: sync is %v", i, !s.Sync)
		}
	}
	for i, s := range mediatest.Encode(t, mediatest.AV1).Samples {
		if media.AV1IsSync(s.Data) != s.Sync {
			t.Errorf("AV1 sample %d: sync is %v", i, !s.Sync)
		}
		var again []byte
		for obu := range media.OBUs(s.Data) {
			again = media.AppendOBU(again, obu)
		}
		if !bytes.Equal(again, s.Data) {
			t.Errorf("AV1 sample %d changed", i)
		}
	}
}

func FuzzAccessUnits(f *testing.F) {
	h, h5 := h264Of(f), h265Of(f)
	f.Add(au(h.SPS, h.PPS, sei, []byte{0x65, 1}))
	f.Add(au(h5.VPS, h5.SPS, h5.PPS, []byte{0x26, 1}))
	f.Add(media.AppendAnnexB(nil, au(h.SPS, h.PPS)))
	f.Add(media.AppendOBU(nil, unhex(f, av1Seq)))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, _ := media.H264Update(nil, b)
		if one != nil {
			got, err := media.ParseCodec("h264", one.Private())
			if err != nil || !bytes.Equal(got.(*media.H264).SPS, one.SPS) {
				t.Fatalf("%x: %v", one.Private(), err)
			}
		}
		if two, _ := media.H265Update(nil, b); two != nil {
			if _, err := media.ParseCodec("h265", two.Private()); err != nil {
				t.Fatalf("%x: %v", two.Private(), err)
			}
			_, _ = media.H265Update(two, b)
		}
		_, _ = media.AV1Update(nil, b)
		_ = media.AV1IsSync(b)
		units := media.AppendFromAnnexB(nil, b)
		if len(units) > 0 && !media.ValidNALs(units) {
			t.Fatalf("%x makes %x", b, units)
		}
		if again := media.AppendFromAnnexB(nil, media.AppendAnnexB(nil, units)); !bytes.Equal(again, units) {
			t.Fatalf("%x comes back as %x", units, again)
		}
	})
}
