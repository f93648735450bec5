package export

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"penstock/playback/internal/playtest"
)

func TestTheListByTheProducersClockComesInPages(t *testing.T) {
	rig := playtest.Open(t)
	clock := time.Unix(100_000, 0).UTC() // booted without a clock, twice
	src := playtest.Make(t, playtest.H264, 8*time.Second)
	for range 2 {
		rig.Record(src.Said(clock))
		rig.Clock.Set(rig.Clock.Now().Add(time.Minute))
	}
	h := serve(t, rig)
	q := url.Values{"clock": {"producer"}, "limit": {"2"}, "start": {clock.Add(-time.Hour).Format(time.RFC3339)}, "end": {clock.Add(time.Hour).Format(time.RFC3339)}}
	var got []item
	for {
		res, body := playtest.Get(t, h, "/fragments?"+q.Encode())
		var page struct {
			Clock     string
			Fragments []item
			Next      string
		}
		if err := json.Unmarshal(body, &page); err != nil || res.StatusCode != 200 || page.Clock != "producer" {
			t.Fatalf("%s: %s", res.Status, body)
		}
		got = append(got, page.Fragments...)
		if page.Next == "" {
			break
		}
		q.Set("next", page.Next)
	}
	heads := rig.Heads()
	if len(got) != len(heads) {
		t.Fatalf("%d in all pages, %d recorded", len(got), len(heads))
	}
	for i, it := range got {
		if it.Number != heads[i].Number || it.Producer == "" {
			t.Errorf("item %d is %+v", i, it)
		}
	}
}
