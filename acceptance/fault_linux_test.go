package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/internal/camsim"
	"penstock/internal/host/hosttest"
	"penstock/internal/repotest"
)

// cameras starts n pushed cameras of a picture that costs little, and waits until each
// has recorded something.
func cameras(t *testing.T, s *server, n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("cam%d", i))
	}
	pushMaterial(t, s, names, film(t, "testsrc2=size=320x180:rate=25:duration=4", "200k"))
	for _, name := range names {
		recorded(s, name, 1)
	}
	return names
}

// quick asks for a path and fails when the answer takes more than most, and what the
// machine was late. One that waits for the disk does not come at all.
func (s *server) quick(path string, most time.Duration) {
	s.t.Helper()
	pulse, began := s.machine(), time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Errorf("while the disk stands still: %v", err)
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		s.t.Errorf("while the disk stands still: %s: %s", path, res.Status)
	}
	if took := pulse.Took(began); took > most {
		s.t.Errorf("while the disk stands still: %s took %v, want at most %v", path, took, most)
	}
}

// machine feels the machine's pulse from the first call on.
func (s *server) machine() *hosttest.Pulse {
	if s.pulse == nil {
		s.pulse = hosttest.Feel(s.t)
	}
	return s.pulse
}

// durable waits until every listed fragment is.
func (s *server) durable(names []string) {
	s.t.Helper()
	for _, name := range names {
		s.until("all of "+name+" is durable up to now", 30*time.Second, func() error {
			all, kept := s.fragments(name), s.persistedSince(name, "-1h")
			if len(kept) < len(all)-2 {
				return fmt.Errorf("%d of %d", len(kept), len(all))
			}
			return nil
		})
	}
}

func TestAStalledDiskLosesNothing(t *testing.T) {
	v := newVolume(t, "ext4", 512)
	s := startWith(t, &server{dir: v.data()})
	names := cameras(t, s, 25)
	pulse := s.machine()
	v.freeze()
	began := time.Now()
	for pulse.Took(began) < 10*time.Second { // in which the cameras send what they should
		s.quick("/livez", time.Second)
		s.quick("/v1/streams/cam0", 2*time.Second)
		s.quick("/v1/streams", 2*time.Second)
		s.quick("/v1/streams/cam1/live.m3u8", 3*time.Second)
		if got := pictures(t, s.pushURL("cam2"), "-rtsp_transport", "tcp", "-t", "1"); len(got) < 20 {
			t.Errorf("a viewer who comes while the disk stands still sees %d pictures of 1 s", len(got))
		}
	}
	// The disk did stand still: what is listed is not durable.
	s.until("three fragments wait for the disk", 5*time.Second, func() error {
		if all, kept := s.fragments("cam0"), s.persistedSince("cam0", "-1h"); len(all)-len(kept) < 3 {
			return fmt.Errorf("%d of %d fragments are durable", len(kept), len(all))
		}
		return nil
	})
	v.thaw()
	t.Logf("the disk stood still for %v", time.Since(began).Round(time.Millisecond))
	s.durable(names)
	for _, name := range names {
		if heads := s.unbroken(name, time.Time{}); name == "cam0" {
			s.plays(name, heads)
		}
		if gaps := s.gaps(name); len(gaps) > 0 {
			t.Errorf("%s: gaps %+v", name, gaps)
		}
		if lost := s.stream(name).Lost; lost > 0 {
			t.Errorf("%s: %d samples are counted as lost", name, lost)
		}
	}
	if lost := s.metric("penstock_fragments_lost_total"); lost > 0 {
		t.Errorf("%v fragments are counted as lost", lost)
	}
}

// gap is a piece of the timeline where nothing is.
type gap struct {
	Start, End time.Time
	Reason     string
}

// gaps are those of a stream's timeline between its first fragment and its last.
func (s *server) gaps(name string) []gap {
	s.t.Helper()
	heads := s.fragments(name)
	if len(heads) == 0 {
		return nil
	}
	var line struct{ Gaps []gap }
	s.get(fmt.Sprintf("/v1/streams/%s/timeline?start=%d&end=%d&resolution=1ms", name, heads[0].Start.UnixMicro(), heads[len(heads)-1].End.UnixMicro()), &line)
	return line.Gaps
}

// heavy is a film of about megabits a second.
func heavy(t testing.TB, megabits int) camsim.Material {
	t.Helper()
	return film(t, "testsrc2=size=640x360:rate=25:duration=4,noise=alls=90:allf=t+u", fmt.Sprintf("%dM", megabits))
}

// film is what ffmpeg makes of a source, with a key frame each second.
func film(t testing.TB, source, rate string) camsim.Material {
	t.Helper()
	file := filepath.Join(t.TempDir(), "film.mp4")
	out, err := repotest.Command(t, repotest.Need(t, "ffmpeg"), "-v", "error", "-f", "lavfi", "-i", source,
		"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", "-bf", "0", "-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", "1M", file).CombinedOutput()
	if err != nil {
		t.Fatalf("make a film: %v\n%s", err, out)
	}
	clip, err := camsim.Load(file, 25)
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

// pushMaterial pushes material to streams until the test ends.
func pushMaterial(t *testing.T, s *server, names []string, m camsim.Material) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, len(names))
	for _, name := range names {
		go func() {
			ended <- camsim.Push(ctx, camsim.PushConfig{URL: "rtsp://" + s.rtsp + "/" + name, Username: "key", Password: s.token, Material: m})
		}()
	}
	t.Cleanup(func() {
		stop()
		for range names {
			<-ended // pushing broke when the server stopped, or now
		}
	})
}

func TestAStallBeyondTheBudgetIsShown(t *testing.T) {
	t.Parallel()
	v := newVolume(t, "ext4", 512)
	s := startWith(t, &server{dir: v.data(), env: []string{"PENSTOCK_STALL_BUDGET=16MiB"}})
	names := []string{"a", "b"}
	pushMaterial(t, s, names, heavy(t, 16)) // 4 MB/s
	for _, name := range names {
		recorded(s, name, 1)
	}
	v.freeze()
	began := time.Now()
	pulse := s.machine()
	s.hears(10*time.Second, "behind")
	for pulse.Took(began) < 10*time.Second { // about 40 MB, of cameras that stand still when the machine does
		time.Sleep(100 * time.Millisecond)
	}
	v.thaw()
	s.until("the disk has caught up", 30*time.Second, func() error {
		if text := s.problems(); text != "" {
			return errors.New(text)
		}
		return nil
	})
	lost := uint64(0)
	for _, name := range names {
		lost += s.stream(name).Lost
		s.until("a gap of "+name, 10*time.Second, func() error {
			for _, g := range s.gaps(name) {
				if strings.Contains(g.Reason, "storage did not keep up") && g.End.Sub(g.Start) > time.Second {
					return nil
				}
			}
			return fmt.Errorf("gaps %+v, fragments %+v", s.gaps(name), s.fragments(name))
		})
	}
	if counted := s.metric("penstock_fragments_lost_total"); lost == 0 || counted == 0 {
		t.Errorf("%d samples are counted as lost, %v fragments in the metrics", lost, counted)
	}
}

func TestAFullDiskKeepsTheNewest(t *testing.T) {
	t.Parallel()
	v := newVolume(t, "ext4", 200)
	config := save(t, "penstock.yaml", []byte("storage:\n  chunk: 4s\n"))
	s := startWith(t, &server{dir: v.data(), args: []string{"--config", config}})
	if err := os.WriteFile(filepath.Join(v.dir, "others.bin"), make([]byte, 100<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	names := []string{"a", "b"}
	pushMaterial(t, s, names, heavy(t, 16))
	first := map[string]head{}
	for _, name := range names {
		recorded(s, name, 2)
		first[name] = s.fragments(name)[0]
	}
	s.hears(60*time.Second, "The disk is full", "oldest")
	full, pulse := time.Now(), s.machine()
	time.Sleep(12 * time.Second) // 48 MB more than there is room for
	for _, name := range names {
		s.until("the newest of "+name+" is kept and the oldest is not", 20*time.Second, func() error {
			heads, kept := s.fragments(name), s.persisted(name)
			switch {
			case len(heads) == 0 || len(kept) == 0:
				return errors.New("nothing is there")
			case !heads[0].Start.After(first[name].Start):
				return errors.New("the first fragment is still there")
			case pulse.Took(kept[len(kept)-1].End) > 8*time.Second:
				return fmt.Errorf("the newest that is durable is %v old", time.Since(kept[len(kept)-1].End))
			}
			return nil
		})
		s.keptAll(name, full)
	}
	if lost := s.metric("penstock_fragments_lost_total"); lost > 0 {
		t.Errorf("%v fragments are counted as lost", lost)
	}
	s.quick("/livez", time.Second)
}

// keptAll checks that storage made no gap from an instant on. What a test's own cameras do
// not send when the machine is busy is not storage's.
func (s *server) keptAll(name string, from time.Time) {
	s.t.Helper()
	for _, h := range s.fragments(name) {
		switch {
		case h.Gap == "" || h.End.Before(from):
		case h.Gap == "the camera sent nothing", h.Gap == "media was lost on the network":
			s.t.Logf("%s before %s: %s", name, h.Number, h.Gap)
		default:
			s.t.Errorf("%s: a gap before %s: %q", name, h.Number, h.Gap)
		}
	}
}

// fill writes to a file of others' until the volume takes no more.
func (v *volume) fill() {
	v.t.Helper()
	f, err := os.OpenFile(filepath.Join(v.dir, "outsider.bin"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2] // the last blocks, too
		} else if err != nil {
			v.t.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		v.t.Fatal(err)
	}
}

func TestOthersWhoFillTheDiskDoNotStopTheServer(t *testing.T) {
	t.Parallel()
	v := newVolume(t, "ext4", 256)
	config := save(t, "penstock.yaml", []byte("storage:\n  chunk: 4s\n"))
	s := startWith(t, &server{dir: v.data(), args: []string{"--config", config}})
	pushMaterial(t, s, []string{"a", "b"}, heavy(t, 16))  // 4 MB/s
	s.until("some chunks", 90*time.Second, func() error { // of 8 MB: more than both times take
		if files := chunkFiles(t, filepath.Join(s.dir, "bucket"), ".chk"); len(files) < 12 {
			return fmt.Errorf("%d chunks", len(files))
		}
		return nil
	})
	first := s.fragments("a")[0]
	// To the last block: the reserve of the metadata goes, then all that is left.
	for range 2 {
		v.fill()
		s.hears(10*time.Second, "The disk is full", "oldest")
		s.until("room for the metadata", 30*time.Second, func() error {
			status, body, _ := s.do(http.MethodPost, "/v1/streams", map[string]string{"name": fmt.Sprint("s", time.Now().UnixNano())})
			if status/100 != 2 {
				return fmt.Errorf("%d: %s", status, body)
			}
			return nil
		})
	}
	s.until("the oldest is gone", 20*time.Second, func() error {
		if heads := s.fragments("a"); len(heads) > 0 && !heads[0].Start.After(first.Start) {
			return errors.New("it is still there")
		}
		return nil
	})
	if err := os.Remove(filepath.Join(v.dir, "outsider.bin")); err != nil {
		t.Fatal(err)
	}
	room := time.Now()
	s.until("recording goes on", 30*time.Second, func() error {
		if kept := s.persisted("a"); len(kept) == 0 || kept[len(kept)-1].Start.Before(room) {
			return fmt.Errorf("%d fragments are durable", len(kept))
		}
		return nil
	})
	s.quick("/v1/streams/a", time.Second)
	v.fill()
	s.stop()
	s.up() // with the disk full
	s.quick("/v1/streams/a", time.Second)
}

func TestDamagedChunksAreHiddenAlone(t *testing.T) {
	t.Parallel()
	config := save(t, "penstock.yaml", []byte("storage:\n  chunk: 4s\n"))
	s := startWith(t, &server{dir: t.TempDir(), args: []string{"--config", config}})
	ctx, stop := context.WithCancel(t.Context())
	ended := pushing(ctx, s, "a")
	var files []string
	s.until("chunks in the bucket", 60*time.Second, func() error {
		if files = chunkFiles(t, filepath.Join(s.dir, "bucket"), ".chk"); len(files) < 6 {
			return fmt.Errorf("%d chunks", len(files))
		}
		return nil
	})
	stop()
	<-ended
	s.stop()
	bad := []string{files[0], files[2], files[4]}
	damage(t, bad[0])
	if err := os.Truncate(bad[1], 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(bad[2]); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, "verify", s.dir).CombinedOutput()
	if err == nil {
		t.Errorf("verify found nothing:\n%s", out)
	}
	for _, file := range bad {
		if !strings.Contains(string(out), filepath.Base(file)) {
			t.Errorf("verify does not name %s:\n%s", filepath.Base(file), out)
		}
	}
	s.up()
	s.playsAround(len(files))
}

// damage turns bytes over in the middle of a file.
func damage(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) / 3; i < len(b)/3+1000; i++ {
		b[i] ^= 0x5a
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// playsAround checks that what is not damaged plays, that the list answers, and that the
// holes have a reason.
func (s *server) playsAround(chunks int) {
	s.t.Helper()
	good, refused := 0, 0
	for _, h := range s.fragments("a") {
		status, body, _ := s.do(http.MethodGet, "/v1/streams/a/fragments/"+h.Number.String()+".mp4", nil)
		if status != http.StatusOK {
			refused++
			continue
		}
		if n := decodes(s.t, save(s.t, "f.mp4", body)); n == 0 {
			s.t.Errorf("fragment %s is empty", h.Number)
		}
		good++
	}
	if good < chunks-3 {
		s.t.Errorf("%d fragments play, %d do not; there were %d chunks", good, refused, chunks)
	}
	s.until("the holes are on the timeline", 15*time.Second, func() error {
		reasons := 0
		for _, g := range s.gaps("a") {
			if strings.Contains(g.Reason, "damaged") {
				reasons++
			}
		}
		if reasons < 2 {
			return fmt.Errorf("gaps %+v", s.gaps("a"))
		}
		return nil
	})
	// What cannot be read is not offered again once it was found out.
	left := s.fragments("a")
	if i := slices.IndexFunc(left, func(h head) bool {
		status, _, _ := s.do(http.MethodGet, "/v1/streams/a/fragments/"+h.Number.String()+".mp4", nil)
		return status != http.StatusOK
	}); i >= 0 {
		s.t.Errorf("fragment %s is listed and cannot be read", left[i].Number)
	}
	s.quick("/v1/streams/a/vod.m3u8?start=-10m", 3*time.Second)
}
