package acceptance

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"penstock/internal/repotest"
)

// sourceSeconds is how long a source film is: long enough for several fragments.
const sourceSeconds = 6

// source makes a short film with B frames and sound, and a picture that never repeats.
func source(t testing.TB, codec string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), codec+".mp4")
	n := strconv.Itoa(sourceSeconds)
	args := []string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=" + n, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=" + n,
		"-c:v", codec, "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-bf", "2", "-c:a", "aac", "-b:a", "64k"}
	switch codec {
	case "libx264":
		args = append(args, "-sc_threshold", "0", "-b_strategy", "0")
	case "libx265":
		args = append(args, "-x265-params", "log-level=error:keyint=25:min-keyint=25:scenecut=0:open-gop=0", "-tag:v", "hvc1")
	}
	if out, err := repotest.Command(t, repotest.Need(t, "ffmpeg"), append(args, file)...).CombinedOutput(); err != nil {
		t.Fatalf("make the source: %v\n%s", err, out)
	}
	return file
}

// packet is one sample as ffprobe reads it.
type packet struct {
	PTS, DTS time.Duration
	Hash     string // of its bytes
}

// packets reads the samples of the first track of a kind ("v" or "a") in file order.
func packets(t testing.TB, file, kind string) []packet {
	t.Helper()
	out, err := repotest.Command(t, repotest.Need(t, "ffprobe"), "-v", "error", "-select_streams", kind+":0", "-show_packets", "-show_data_hash", "md5",
		"-show_entries", "packet=pts_time,dts_time,data_hash", "-of", "json", file).Output()
	if err != nil {
		t.Fatalf("ffprobe on %s: %v\n%s", file, err, stderr(err))
	}
	var v struct {
		Packets []struct {
			PTS  string `json:"pts_time"`
			DTS  string `json:"dts_time"`
			Hash string `json:"data_hash"`
		}
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	var all []packet
	for _, p := range v.Packets {
		all = append(all, packet{seconds(t, p.PTS), seconds(t, p.DTS), p.Hash})
	}
	return all
}

func seconds(t testing.TB, text string) time.Duration {
	t.Helper()
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("a time is %q: %v", text, err)
	}
	return time.Duration(f * float64(time.Second))
}

// pictures decodes a file, with no error allowed, and returns the hash of each picture.
func pictures(t testing.TB, input string, before ...string) []string {
	t.Helper()
	var errs bytes.Buffer
	args := append([]string{"-v", "error", "-xerror"}, before...)
	cmd := repotest.Command(t, repotest.Need(t, "ffmpeg"), append(args, "-i", input, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-")...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil || errs.Len() > 0 {
		t.Errorf("decode %s: %v\n%s", filepath.Base(input), err, errs.String())
	}
	return frameHashes(out)
}

// sounds returns the hash of each frame of sound in a file, without decoding it.
func sounds(t testing.TB, file string) []string {
	t.Helper()
	args := []string{"-v", "error", "-i", file, "-map", "0:a:0", "-c", "copy"}
	if filepath.Ext(file) == ".ts" {
		args = append(args, "-bsf:a", "aac_adtstoasc")
	}
	out, err := repotest.Command(t, repotest.Need(t, "ffmpeg"), append(args, "-f", "framemd5", "-")...).Output()
	if err != nil && len(packets(t, file, "a")) == 0 {
		return nil // of a track without a frame ffmpeg knows nothing
	}
	if err != nil {
		t.Fatalf("sound of %s: %v\n%s", file, err, stderr(err))
	}
	return frameHashes(out)
}

func frameHashes(framemd5 []byte) []string {
	var all []string
	for line := range strings.Lines(string(framemd5)) {
		if !strings.HasPrefix(line, "#") {
			all = append(all, strings.TrimSpace(strings.Split(line, ",")[5]))
		}
	}
	return all
}

// follows checks that got is an unbroken piece of want, repeated for ever, and returns
// where in want it begins. A source that plays once has got no longer than want.
func follows(t testing.TB, what string, got, want []string) int {
	t.Helper()
	if len(got) == 0 || len(want) == 0 {
		t.Errorf("%s: %d of %d", what, len(got), len(want))
		return 0
	}
	from := slices.Index(want, got[0])
	if from < 0 {
		t.Errorf("%s: the first is none of the source's", what)
		return 0
	}
	for i, h := range got {
		if want[(from+i)%len(want)] != h {
			t.Errorf("%s: number %d of %d differs from the source", what, i, len(got))
			return from
		}
	}
	return from
}

func hashes(all []packet) []string {
	var out []string
	for _, p := range all {
		out = append(out, p.Hash)
	}
	return out
}

// clockError is how far a sample may move: rounding between time scales, and the step
// when a sender report tells how two tracks lie to each other. A sender that waits for
// its turn on a busy machine is 1 or 2 ms off in them; a sample in the wrong place would
// be off by 20.
const clockError = 5 * time.Millisecond

// sameTimes checks that got's times are want's within tolerance, both from their own
// first sample, where want repeats every round. got[0] is want[from].
func sameTimes(t testing.TB, what string, got, want []packet, from int, round, tolerance time.Duration) {
	t.Helper()
	for i, p := range got {
		n := from + i
		w := want[n%len(want)].PTS + time.Duration(n/len(want))*round - want[from].PTS
		if d := p.PTS - got[0].PTS - w; d > tolerance || d < -tolerance {
			t.Errorf("%s: number %d is shown at %v, want %v", what, i, p.PTS-got[0].PTS, w)
			return
		}
		if p.DTS > p.PTS || (i > 0 && p.DTS <= got[i-1].DTS) {
			t.Errorf("%s: number %d is decoded at %v after %v, shown at %v", what, i, p.DTS, got[max(0, i-1)].DTS, p.PTS)
			return
		}
	}
}
