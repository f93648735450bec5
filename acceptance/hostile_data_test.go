package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// hostileRecords fills data streams with texts as partition keys, tags, names of
// consumers, and records of each kind that the console takes apart. No stream has more
// than the page shows at once. It returns the streams' names.
func (s *server) hostileRecords(t *testing.T, texts []string) (names []string) {
	t.Helper()
	const shown = 50
	kinds := map[string]func(text string) ([]byte, error){
		"json": func(text string) ([]byte, error) { return json.Marshal(map[string]any{text: []any{text}}) },
		"cbor": func(text string) ([]byte, error) {
			return cbor.Marshal(map[string]any{text: []any{text, []byte(text)}})
		},
		"text": func(text string) ([]byte, error) { return []byte(text), nil },
		"csv":  func(text string) ([]byte, error) { return fmt.Appendf(nil, "a,b\n%s,%s", text, text), nil },
	}
	tagged, consumers := 0, 0
	for kind, encode := range kinds {
		for i := 0; i < len(texts); i += shown {
			name := fmt.Sprint("texts-", kind, i)
			s.kds("CreateStream", object{"StreamName": name, "ShardCount": 1}, nil)
			s.active(name)
			names = append(names, name)
			var batch []dataRecord
			for _, text := range texts[i:min(i+shown, len(texts))] {
				data, err := encode(text)
				if err != nil {
					t.Fatal(err)
				}
				batch = append(batch, dataRecord{PartitionKey: text, Data: data})
			}
			var out struct{ FailedRecordCount int }
			if s.kds("PutRecords", object{"StreamName": name, "Records": batch}, &out); out.FailedRecordCount != 0 {
				t.Errorf("%d texts are no partition keys", out.FailedRecordCount)
			}
		}
	}
	for _, text := range texts {
		in := object{"StreamName": names[0], "Tags": map[string]string{"k": text}}
		if err := s.kinesis(context.Background(), "AddTagsToStream", in, nil); err == nil {
			tagged++
		}
		if err := s.kinesis(context.Background(), "RegisterStreamConsumer", object{"StreamARN": dataARN(names[0]), "ConsumerName": text}, nil); err == nil {
			consumers++
		}
	}
	t.Logf("%d texts in %d data streams; %d became tags, %d names of consumers", len(texts), len(names), tagged, consumers)
	return names
}

// openRows opens each record that is shown, and says how many were.
const openRows = `(async () => {
  let n = 0;
  for (let i = 0; i < document.querySelectorAll('table.recs tbody tr').length; i++) {
    document.querySelectorAll('table.recs tbody tr')[i].click();
    await new Promise(r => setTimeout(r, 0));
    if (document.querySelectorAll('table.recs tbody tr')[i].getAttribute('aria-expanded') === 'true') n++;
  }
  return n;
})()`

func TestHostileRecordsDoNotRunInTheConsole(t *testing.T) {
	t.Parallel()
	s := start(t, "--shard-limits", "off")
	p := browse(t, s)
	w := guarded(p)
	texts := hostileTexts(100)
	opened := 0
	calm := func(where string) {
		t.Helper()
		if seen := w.take(); len(seen) > 0 {
			t.Errorf("page %.80s: %q", where, seen)
		}
		if ran := p.eval("window.__ran"); ran != "undefined" {
			t.Errorf("page %.80s ran a text", where)
		}
	}
	for _, name := range s.hostileRecords(t, texts) {
		p.open("data/" + name)
		p.until(name+" is drawn", fmt.Sprintf("document.querySelector('h1')?.innerText === %q && document.querySelector('.shardmap')", name), 20*time.Second)
		p.press("Last 15 min")
		p.until("its records", rows+" === 50", 20*time.Second)
		for _, as := range []string{"auto", "json", "cbor", "csv", "text", "hex"} {
			p.choose(`select[aria-label="Show data as"]`, as)
			if as == "auto" || strings.HasPrefix(name, "texts-"+as) { // the others show the same texts
				n := p.await(openRows)
				if n != 50 {
					t.Errorf("%s as %s: %d records opened", name, as, n)
				}
				opened += n
			}
			calm(name + " as " + as)
		}
	}
	// Typed by hand, as filters, and as names in the address.
	for i := 0; i < len(texts); i += 10 {
		p.open("data/" + url.PathEscape(texts[i]))
		p.until("the page of no stream", "/No such data stream|could not be read/.test(document.body.innerText)", 20*time.Second)
		calm("data/" + texts[i])
		if status, _, _ := s.do("POST", "/v1/data", object{"name": texts[i]}); status == http.StatusCreated {
			t.Errorf("%q is a data stream", texts[i])
		}
	}
	p.open("data/texts-json0")
	p.until("the page", "document.querySelector('.shardmap')", 20*time.Second)
	for i := 0; i < len(texts); i += 10 {
		p.search(texts[i])
		p.until("an answer", "!/Reading/.test(document.querySelector('main [role=status]').innerText)", 10*time.Second)
		calm("filter " + texts[i])
	}
	p.open("data")
	p.until("the list", "document.querySelectorAll('main table tbody tr').length >= 8", 20*time.Second)
	calm("data")
	t.Logf("%d records opened", opened)
}
