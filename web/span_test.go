package web

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock/auth"
)

// TestAMediaTokensTimeSpanHolds asks every route that takes a media token for media inside
// and outside of the token's span, in each way that it can be asked for.
func TestAMediaTokensTimeSpanHolds(t *testing.T) {
	site := newSite(t)
	front := site.create(auth.DefaultAccount, "front")
	p, err := site.server.c.Auth.Bearer(t.Context(), site.key(auth.NewKey{Role: auth.RoleViewer}), "")
	check(t, err)
	now := time.Now()
	token := func(from, to time.Time) string {
		k, _, err := site.server.c.Auth.MintMedia(p, front.ARN(), time.Hour, from, to)
		check(t, err)
		return k.Reveal()
	}
	past := token(now.Add(-3*time.Hour), now.Add(-2*time.Hour))
	fresh := token(now.Add(-time.Minute), now.Add(time.Hour)) // live, and a minute back
	number := func(back time.Duration) string { return strconv.FormatInt(now.Add(-back).UnixMicro(), 10) }
	in := *site.server
	in.mux = in.mount(inert(table()))
	asked := map[string]bool{}
	for _, c := range []struct {
		token, path string
		want        int
	}{
		{past, "timeline", 200}, // narrowed
		{past, "timeline?start=-170m&end=-130m", 200},
		{past, "timeline?start=-90m&end=-30m", 403},
		{past, "timeline?start=-5h&end=-4h", 403},
		{past, "fragments", 403},
		{past, "fragments?start=-170m&end=-130m", 200},
		{past, "fragments?start=-170m&end=-110m", 403},
		{past, "fragments?start=-190m&end=-130m", 403},
		{past, "fragments?start=-170m&end=-130m&start=-10h", 200}, // the first counts, here and for the answer
		{past, "fragments?end=-150m", 403},
		{past, "fragments/" + number(150*time.Minute) + ".mp4", 200},
		{past, "fragments/" + number(110*time.Minute) + ".mp4", 403},
		{past, "fragments/" + number(190*time.Minute) + ".mp4", 403},
		{past, "fragments/init-" + number(150*time.Minute) + ".mp4", 200},
		{past, "fragments/init-" + number(110*time.Minute) + ".mp4", 403},
		{past, "fragments/0" + number(150*time.Minute) + ".mp4", 400},
		{past, "live.m3u8", 403},
		{past, "live.m3u8?dvr=150m", 403},
		{past, "live/0-1.m4s", 403},
		{past, "ws", 403},
		{past, "vod.m3u8", 403},
		{past, "vod.m3u8?start=-170m&end=-130m", 200},
		{past, "vod.m3u8?start=-170m", 403},
		// What a camera says of its time opens nothing.
		{past, "vod.m3u8?start=-170m&end=-130m&clock=producer", 403},
		{past, "vod.m3u8?start=-170m&end=-130m&clock=server", 200},
		{past, "fragments?start=-170m&end=-130m&clock=producer", 403},
		{past, "timeline?start=-170m&end=-130m&clock=producer", 403},
		{past, "clip.mp4?start=-170m&end=-130m&clock=producer", 403},
		{past, "still.jpg?at=-150m&clock=producer", 403},
		{past, "master.m3u8", 403},
		{past, "master.m3u8?start=-170m&end=-130m", 200},
		{past, "master.m3u8?start=-170m", 403},
		{past, "iframes.m3u8", 403},
		{past, "iframes.m3u8?dvr=150m", 403},
		{past, "iframes.m3u8?start=-170m&end=-130m", 200},
		{past, "iframes.m3u8?start=-170m", 403},
		{past, "keys/" + number(150*time.Minute) + "-2000.m4s", 200},
		{past, "keys/" + number(110*time.Minute) + "-2000.m4s", 403},
		{past, "keys/init-" + number(150*time.Minute) + ".mp4", 200},
		{past, "keys/init-" + number(110*time.Minute) + ".mp4", 403},
		{past, "keys/" + number(150*time.Minute) + ".m4s", 404},
		{past, "clip.mp4", 403},
		{past, "clip.mp4?start=-170m&end=-130m", 200},
		{past, "clip.mp4?end=-170m", 200}, // a minute
		{past, "clip.mp4?end=-119m30s", 403},
		{past, "still.jpg", 403},
		{past, "still.jpg?at=now", 403},
		{past, "still.jpg?at=-150m", 404}, // allowed, and there is nothing
		{past, "still.jpg?at=-119m", 403},
		{past, "still.jpg?at=-181m", 403},
		{fresh, "live.m3u8", 200},
		{fresh, "live.m3u8?dvr=30s", 200},
		{fresh, "live.m3u8?dvr=2m", 403},
		{fresh, "live.m3u8?dvr=x", 400},
		{fresh, "live/0-1.m4s", 200},
		{fresh, "iframes.m3u8", 200},
		{fresh, "iframes.m3u8?dvr=2m", 403},
		{fresh, "master.m3u8?dvr=30s", 200},
		{fresh, "ws", 200},
		{fresh, "timeline", 200},
		{fresh, "fragments", 403},
		{fresh, "fragments?start=-30s", 200},
		{fresh, "fragments/" + number(30*time.Second) + ".mp4", 200},
		{fresh, "fragments/" + number(2*time.Minute) + ".mp4", 403},
		{fresh, "vod.m3u8?start=-30s", 200},
		{fresh, "clip.mp4?start=-30s", 200},
		{fresh, "still.jpg?at=-2m", 403},
	} {
		sep := "?"
		if strings.Contains(c.path, "?") {
			sep = "&"
		}
		rec := httptest.NewRecorder()
		in.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/v1/streams/front/"+c.path+sep+"token="+c.token, nil))
		if rec.Code != c.want {
			t.Errorf("%s: %d, want %d: %s", c.path, rec.Code, c.want, rec.Body)
		}
		first, _, _ := strings.Cut(c.path, "?")
		if dir, _, ok := strings.Cut(first, "/"); ok {
			first = dir + "/{file}"
		}
		asked["/v1/streams/{name}/"+first] = true
	}
	for _, rt := range table() {
		if rt.Door == mediaDoor && !asked[rt.Path] {
			t.Errorf("%s takes a media token and is not asked here", rt.Path)
		}
	}
}
