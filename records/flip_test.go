package records

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"penstock/internal/fault"
	"penstock/storage/disk"
	"penstock/storage/lane"
	"penstock/storage/meta"
)

// TestAFlippedBitIsNeverServed flips single bits in the files of the lane and in segments.
// What is read then is right, and where something cannot be read any more an error or the
// recovery says so.
func TestAFlippedBitIsNeverServed(t *testing.T) {
	flips := 200
	if testing.Short() {
		flips = 40
	}
	if n, err := strconv.Atoi(os.Getenv("PENSTOCK_FLIPS")); err == nil {
		flips = n
	}
	base := t.TempDir()
	want := flipBase(t, base)
	var files []string
	must(t, filepath.WalkDir(base, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".seg")) {
			files = append(files, name)
		}
		return err
	}))
	rng := rand.New(rand.NewPCG(4, 2))
	told, torn, harmless := 0, 0, 0
	for i := range flips {
		dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
		must(t, os.CopyFS(dir, os.DirFS(base)))
		rel, err := filepath.Rel(base, files[i%len(files)])
		must(t, err)
		name := filepath.Join(dir, rel)
		b, err := os.ReadFile(name)
		must(t, err)
		at := rng.IntN(len(b))
		for tries := 0; b[at] == 0 && tries < 10_000; tries++ { // not in what was never used
			at = rng.IntN(len(b))
		}
		b[at] ^= 1 << rng.IntN(8)
		must(t, os.WriteFile(name, b, 0o600))
		missing, reported, cut := flipRead(t, dir, want, fmt.Sprintf("%s, byte %d", rel, at))
		switch {
		case reported:
			told++
		case cut:
			torn++
		case missing > 0:
			t.Errorf("byte %d of %s: %d records are missing and nobody said so", at, rel, missing)
		default:
			harmless++
		}
		must(t, os.RemoveAll(dir))
	}
	t.Logf("%d flips: %d reported, %d in the newest batch and cut off as torn, %d in bytes that hold no record", flips, told, torn, harmless)
	if told < flips/2 {
		t.Errorf("only %d of %d flips were reported", told, flips)
	}
}

func flipOpen(t *testing.T, dir string) *rig {
	db, err := meta.Open(context.Background(), meta.Config{Path: filepath.Join(dir, "meta.db")})
	must(t, err)
	bucket, err := disk.Open(context.Background(), disk.Config{Dir: dir + "/bucket"})
	must(t, err)
	r := &rig{t: t, meta: db, cfg: Config{Dir: dir, Bucket: bucket, Meta: db, LaneFileSize: 128 << 10, TailBytes: 1}}
	r.open()
	return r
}

// flipBase fills a directory: some records in segments, some in the lane.
func flipBase(t *testing.T, dir string) map[Seq]string {
	r := flipOpen(t, dir)
	l, want := r.create("s", 2), map[Seq]string{}
	for round := range 60 {
		in := benchInputs(20, []byte(fmt.Sprintf("%4d %s", round, strings.Repeat("data ", round))))
		out := make([]Placed, len(in))
		must(t, l.Put(context.Background(), in, out, nil))
		for i, p := range out {
			want[p.Seq] = in[i].Key + string(in[i].Data)
		}
		if round == 20 || round == 35 {
			must(t, r.store.Seal(context.Background()))
		}
	}
	r.stop()
	must(t, r.meta.Close())
	return want
}

// flipRead reads everything that can be read, beginning again behind what cannot, and
// returns how much is missing and whether anything said so.
func flipRead(t *testing.T, dir string, want map[Seq]string, what string) (missing int, reported, cut bool) {
	r := flipOpen(t, dir)
	defer func() {
		r.stop()
		must(t, r.meta.Close())
	}()
	rec := r.store.lanes[0].lane.(*lane.Files).Recovery()
	reported, cut = len(rec.Damage) > 0 || r.store.lanes[0].damaged, rec.Torn > 0
	l, found := r.log("s"), 0
	for _, s := range l.Shards() {
		var page Page
		for p := (Position{}); ; {
			err := l.Read(context.Background(), s.ID, p, 0, 0, &page)
			if err != nil {
				if !fault.Is(err, fault.Internal) || fault.HintOf(err) == "" {
					t.Fatalf("%s: %v", what, err)
				}
				reported = true
				sh, err := l.find("", s.ID)
				must(t, err)
				if p.index++; p.index > sh.newest {
					break
				}
				continue
			}
			if len(page.Records) == 0 {
				break
			}
			for i := range page.Records {
				g := &page.Records[i]
				if w, ok := want[g.Seq]; !ok || w != g.Key+string(g.Data) {
					t.Fatalf("%s: %v is served as %q", what, g.Seq, g.Data)
				}
			}
			found += len(page.Records)
			p = page.Next
		}
	}
	return len(want) - found, reported, cut
}
