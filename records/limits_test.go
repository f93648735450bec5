package records

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"penstock/internal/fault"
)

func TestTheLargestAndTheSmallestRecordsAreKept(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		r := newRig(t, func(c *Config) { c.Keys = testKeys{} })
		l := r.create("s", 1)
		must(t, l.Encrypt(context.Background(), encrypted))
		big := noise(MaxData)
		in := []Input{{Data: big, Key: strings.Repeat("k", MaxKey)}, {}, {Key: "x"}, {Data: []byte{0}}, {Data: big, Key: "y"}}
		out := make([]Placed, len(in))
		must(t, l.Put(context.Background(), in, out, nil))
		check := func() {
			t.Helper()
			var all []Record
			var page Page
			for p := (Position{}); ; p = page.Next {
				must(t, r.log("s").Read(context.Background(), 0, p, 0, 10<<20, &page))
				if len(page.Records) == 0 {
					break
				}
				all = append(all, page.Records...)
			}
			if len(all) != len(in) {
				t.Fatalf("%d records", len(all))
			}
			for i := range all {
				if all[i].Seq != out[i].Seq || all[i].Key != in[i].Key || !bytes.Equal(all[i].Data, in[i].Data) {
					t.Errorf("record %d is another", i)
				}
			}
		}
		check()
		r.restart()
		check()
		must(t, r.store.Seal(context.Background()))
		check()
		r.stop()
	}
}

func TestWhatIsBeyondTheLimitsIsRefused(t *testing.T) {
	r := newRig(t)
	l := r.create("s", 1)
	ctx := context.Background()
	for name, in := range map[string][]Input{
		"data":    {{Data: make([]byte, MaxData+1)}},
		"key":     {{Key: strings.Repeat("k", MaxKey+1)}},
		"records": make([]Input, MaxInputs+1),
	} {
		if err := l.Put(ctx, in, make([]Placed, len(in)), nil); !fault.Is(err, fault.Invalid) {
			t.Errorf("too much of %s: %v", name, err)
		}
	}
	must(t, l.Put(ctx, nil, nil, nil))
	for id, shards := range map[string]int{"": 1, "a/b": 1, "ü": 1, strings.Repeat("a", 65): 1, "many": MaxShards + 1, "none": 0} {
		if _, err := r.store.Create(ctx, id, r.store.cfg.Clock.Now(), shards); !fault.Is(err, fault.Invalid) {
			t.Errorf("create %q with %d shards: %v", id, shards, err)
		}
	}
	if _, err := r.store.Create(ctx, "s", r.store.cfg.Clock.Now(), 1); !fault.Is(err, fault.InUse) {
		t.Errorf("create one again: %v", err)
	}
	all := l.Shards()[0]
	for name, err := range map[string]error{
		"at the beginning":  l.Split(ctx, 0, all.From),
		"one behind it":     l.Split(ctx, 0, all.From.Next()),
		"at the end":        l.Split(ctx, 0, all.To),
		"with itself":       l.Merge(ctx, 0, 0),
		"to none":           l.Reshard(ctx, 0),
		"encrypted, no key": l.Encrypt(ctx, true),
	} {
		if kind := fault.KindOf(err); kind != fault.Invalid && kind != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, l.Split(ctx, 0, HashKey{1, 0}))
	if err := l.Merge(ctx, 2, 1); !fault.Is(err, fault.Invalid) {
		t.Errorf("merge in the wrong order: %v", err)
	}
	for name, err := range map[string]error{"split": l.Split(ctx, 0, HashKey{1, 0}), "merge": l.Merge(ctx, 0, 1)} {
		if !fault.Is(err, fault.InUse) {
			t.Errorf("%s of a closed shard: %v", name, err)
		}
	}
	if err := l.Split(ctx, 9, HashKey{1, 0}); !fault.Is(err, fault.NotFound) {
		t.Errorf("split of no shard: %v", err)
	}
	for name, s := range map[string]Seq{"shard": newSeq(l.created, 1, 1, l.created), "stream": newSeq(l.created-9, 0, 1, l.created)} {
		if _, err := l.At(ctx, 0, From{Kind: AtSeq, Seq: s}); !fault.Is(err, fault.Invalid) {
			t.Errorf("a number of another %s: %v", name, err)
		}
	}
}
