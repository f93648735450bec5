package export

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"penstock/playback/internal/playtest"
)

func TestAFragmentHasG711AsFLACInMP4AndAsItIsInMatroska(t *testing.T) {
	src := playtest.Make(t, playtest.Silent, 4*time.Second).WithG711(true)
	rig := playtest.Open(t)
	rig.Record(src.Shifted(100 * time.Hour))
	h := serve(t, rig)
	for _, head := range rig.Heads() {
		n := head.Number.String()
		_, file := playtest.Get(t, h, "/fragments/"+n+".mp4")
		_, init := playtest.Get(t, h, "/fragments/init-"+n+".mp4")
		_, part := playtest.Get(t, h, "/fragments/"+n+".m4s")
		if !bytes.Equal(file, slices.Concat(init, part)) {
			t.Error(".mp4 is not the initialization section and the media part")
		}
		f, err := rig.Hub.Log(rig.Stream).Read(t.Context(), head.Number)
		if err != nil {
			t.Fatal(err)
		}
		want := playtest.Source{Tracks: f.Tracks, Samples: f.Samples}
		playtest.CompareG711(t, file, want)
		_, mkv := playtest.Get(t, h, "/fragments/"+n+".mkv")
		if got := playtest.PCM(t, mkv, ".mkv"); !bytes.Equal(got, want.PCM()) {
			t.Errorf("Matroska: %d bytes of PCM are not the %d of the source", len(got), len(want.PCM()))
		}
		for _, s := range want.Of(2) {
			if !bytes.Contains(mkv, s.Data) {
				t.Fatal("a packet is not in the Matroska file as it was")
			}
		}
	}
}
