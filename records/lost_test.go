package records

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/internal/fault"
)

func TestALaneOfAnotherCopyIsRefused(t *testing.T) {
	r := newRig(t)
	l := r.create("s", 1)
	put(t, l, "a")
	must(t, r.store.Seal(context.Background()))
	r.stop()
	must(t, os.RemoveAll(filepath.Join(r.cfg.Dir, "wal")))
	s, err := Open(context.Background(), r.cfg)
	if err == nil {
		must(t, s.Close())
		t.Fatal("it opened with a lane that is older than its database")
	}
	if fault.HintOf(err) == "" {
		t.Errorf("no hint in %v", err)
	}
}

func TestAnOlderOwnerIsRefused(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Epoch = 7 })
	r.stop()
	r.cfg.Epoch = 6
	if s, err := Open(context.Background(), r.cfg); !fault.Is(err, fault.Denied) {
		if s != nil {
			must(t, s.Close())
		}
		t.Errorf("epoch 6 after 7: %v", err)
	}
	r.cfg.Epoch = 0
	r.open()
	if r.store.epoch != 8 {
		t.Errorf("the next epoch is %d", r.store.epoch)
	}
}

// A gap in a lane's batches leaves the rest readable, tells readers where something is
// missing, and no number is given again.
func TestReadersAreToldOfAGap(t *testing.T) {
	r := newRig(t, func(c *Config) { c.TailBytes = 1 })
	l := r.create("s", 1)
	texts := []string{strings.Repeat("a", 5000), strings.Repeat("b", 5000), strings.Repeat("c", 5000)}
	for _, s := range texts {
		must(t, l.Put(context.Background(), []Input{{Key: "k", Data: []byte(s)}}, make([]Placed, 1), nil))
	}
	r.stop()
	names, err := filepath.Glob(filepath.Join(r.cfg.Dir, "wal", "0", "*.log"))
	must(t, err)
	for _, name := range names {
		b, err := os.ReadFile(name)
		must(t, err)
		if i := strings.Index(string(b), strings.Repeat("b", 100)); i >= 0 {
			b[i] ^= 1
			must(t, os.WriteFile(name, b, 0o600))
		}
	}
	check := func(where string) {
		t.Helper()
		l = r.log("s")
		var page Page
		must(t, l.Read(context.Background(), 0, Position{}, 0, 0, &page))
		if len(page.Records) != 1 {
			t.Fatalf("%s: %d records before the gap", where, len(page.Records))
		}
		if err := l.Read(context.Background(), 0, page.Next, 0, 0, &page); !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "records 2 to 2 are lost") {
			t.Errorf("%s, at the gap: %v", where, err)
		}
		got, _ := readAll(t, l, 0, Position{index: 3})
		if len(got) < 1 || string(got[0].Data) != texts[2] {
			t.Errorf("%s, behind the gap: %d records", where, len(got))
		}
	}
	r.open()
	check("the lane")
	if n := put(t, r.log("s"), "d")[0].Seq.Index(); n < 4 {
		t.Errorf("index %d was given again", n)
	}
	must(t, r.store.Seal(context.Background()))
	check("a segment")
	r.restart()
	check("a segment after a restart")
	if got, _ := readAll(t, r.log("s"), 0, Position{index: 3}); len(got) != 2 || string(got[1].Data) != "d" {
		t.Errorf("%d records behind the gap", len(got))
	}
}
