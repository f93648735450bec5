package export

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/playback/internal/playtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t testing.TB, rig *playtest.Rig) http.Handler {
	t.Helper()
	s, err := New(Config{Hub: rig.Hub, Clock: rig.Clock})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /fragments", playtest.Handler(func(w http.ResponseWriter, r *http.Request) error { return s.ServeList(w, r, rig.Stream) }))
	mux.Handle("GET /fragments/{file}", playtest.Handler(func(w http.ResponseWriter, r *http.Request) error {
		return s.ServeFragment(w, r, rig.Stream, r.PathValue("file"))
	}))
	return mux
}

func TestAFragmentPlaysAloneInEachContainer(t *testing.T) {
	for name, kind := range map[string][]string{"h264": playtest.H264, "b-frames": playtest.H264B, "h265": playtest.H265, "sound": playtest.Sound} {
		t.Run(name, func(t *testing.T) {
			src := playtest.Make(t, kind, 4*time.Second)
			rig := playtest.Open(t)
			rig.Record(src.Shifted(100 * time.Hour))
			h := serve(t, rig)
			heads := rig.Heads()
			if len(heads) < 2 {
				t.Fatalf("%d fragments recorded", len(heads))
			}
			n := heads[len(heads)-2].Number.String()
			_, file := playtest.Get(t, h, "/fragments/"+n+".mp4")
			_, init := playtest.Get(t, h, "/fragments/init-"+n+".mp4")
			_, part := playtest.Get(t, h, "/fragments/"+n+".m4s")
			_, bare := playtest.Get(t, h, "/fragments/"+n+".mp4?init=0")
			if !slices.Equal(file, append(slices.Clone(init), part...)) || !slices.Equal(part, bare) {
				t.Error(".mp4 is not the initialization section and the media part")
			}
			f, err := rig.Hub.Log(rig.Stream).Read(t.Context(), heads[len(heads)-2].Number)
			if err != nil {
				t.Fatal(err)
			}
			want := playtest.Source{Tracks: f.Tracks, Samples: f.Samples}
			playtest.Compare(t, playtest.Parse(t, file), want)
			video, audio := playtest.Frames(t, file, ".mp4")
			for _, ext := range []string{".mkv", ".ts"} {
				res, data := playtest.Get(t, h, "/fragments/"+n+ext)
				if res.StatusCode != 200 {
					t.Fatalf("%s: %s: %s", ext, res.Status, data)
				}
				v, a := playtest.Frames(t, data, ext)
				if !slices.Equal(v, video) {
					t.Errorf("%s decodes to %d pictures that are not the %d of .mp4", ext, len(v), len(video))
				}
				if len(a) != len(audio) {
					t.Errorf("%s decodes to %d blocks of sound, .mp4 to %d", ext, len(a), len(audio))
				}
			}
			if res, body := playtest.Get(t, h, "/fragments/"+n+".mp4", "Range", "bytes=10-19"); res.StatusCode != 206 || !slices.Equal(body, file[10:20]) {
				t.Errorf("a range: %s", res.Status)
			}
			if res, _ := playtest.Get(t, h, "/fragments/"+n+".mp4", "If-None-Match", `"`+n+`.mp4-"`); res.StatusCode != 304 {
				t.Errorf("the same ETag again: %s", res.Status)
			}
		})
	}
}

func TestWrongNamesAreRefused(t *testing.T) {
	rig := playtest.Open(t)
	rig.Record(playtest.Make(t, playtest.H264, 2*time.Second))
	h := serve(t, rig)
	n := rig.Heads()[0].Number.String()
	for file, want := range map[string]int{
		n + ".avi": 404, n: 404, "init-" + n + ".ts": 404, "1.mp4": 404, "-1.mp4": 400, "0.mp4": 400, "x.mp4": 400,
		"99999999999999999999.mp4": 400, "init-.mp4": 400, ".mp4": 400, n + ".mp4": 200,
	} {
		if res, body := playtest.Get(t, h, "/fragments/"+file); res.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %s", file, res.StatusCode, want, body)
		}
	}
}

func TestTheListComesInPagesThatMeet(t *testing.T) {
	rig := playtest.Open(t)
	src := playtest.Make(t, playtest.H264, 9*time.Second)
	rig.Record(src)
	rig.Clock.Set(rig.Clock.Now().Add(time.Minute))
	rig.Record(src)
	h := serve(t, rig)
	heads := rig.Heads()
	var got []item
	next := ""
	for {
		res, body := playtest.Get(t, h, "/fragments?start=-10m&limit=3&next="+next)
		if res.StatusCode != 200 {
			t.Fatalf("%s: %s", res.Status, body)
		}
		var page struct {
			Fragments []item
			Next      string
		}
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		if len(page.Fragments) > 3 {
			t.Fatalf("a page of %d", len(page.Fragments))
		}
		got = append(got, page.Fragments...)
		if next = page.Next; next == "" {
			break
		}
	}
	if len(got) != len(heads) {
		t.Fatalf("%d in all pages, %d recorded", len(got), len(heads))
	}
	gaps := 0
	for i, it := range got {
		if it.Number != heads[i].Number || it.Bytes != heads[i].Size || len(it.Tracks) != 2 || it.Tracks[0].Codec != "h264" {
			t.Errorf("item %d is %+v", i, it)
		}
		if it.Gap != "" {
			gaps++
		}
	}
	if gaps != 1 {
		t.Errorf("%d gaps, want 1", gaps)
	}
	for query, want := range map[string]int{"limit=0": 400, "limit=x": 400, "limit=10001": 400, "next=x": 400, "start=x": 400, "start=-1h&end=-2h": 400, "start=2020-01-01T00:00:00Z&end=2020-01-02T00:00:00Z": 200} {
		if res, body := playtest.Get(t, h, "/fragments?"+query); res.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %s", query, res.StatusCode, want, body)
		}
	}
}

// FuzzKeyName reads any name of a key frame's file: it is refused, or says itself again.
func FuzzKeyName(f *testing.F) {
	for _, name := range []string{"1772359200000000-2000.m4s", "init-1772359200000000.mp4", "1-1.m4s", "-1.m4s", "1--1.m4s", "init-.mp4", "1-+1.m4s", "9223372036854775808-1.m4s"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		n, shown, err := ParseKey(name)
		if err != nil {
			return
		}
		again := "init-" + n.String() + ".mp4"
		if shown != 0 {
			again = n.String() + "-" + strconv.FormatInt(shown.Milliseconds(), 10) + ".m4s"
		}
		if m, s, err := ParseKey(again); err != nil || m != n || s != shown || shown < 0 || shown > keyLongest {
			t.Errorf("%q is %d shown %v, %q is %d shown %v, %v", name, n, shown, again, m, s, err)
		}
	})
}
