package acceptance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtp"

	"penstock/internal/camsim"
	"penstock/internal/host/hosttest"
	"penstock/internal/repotest"
)

// interop is one producer against one server.
type interop struct {
	t    *testing.T
	s    *server
	name string
	file string // the source

	// What is the producer's own doing:
	repacks bool          // it changes the NAL units around the pictures
	keeps   int           // frames of sound that it never sends
	clips   int           // first frames of sound that it gives a time of its own
	late    time.Duration // how far its first sender report sets the sound right, in its first second
	apart   time.Duration // how far apart its tracks may arrive
	hangs   bool          // it may not end after its last packet
}

// produce sends the source once; nil when the server took all of it.
type produce func(x *interop, ctx context.Context) error

func TestInteropOfPushers(t *testing.T) {
	ffmpeg := func(transport string) produce {
		return func(x *interop, ctx context.Context) error {
			return command(ctx, repotest.Need(x.t, "ffmpeg"), "-v", "error", "-re", "-i", x.file, "-c", "copy", "-f", "rtsp", "-rtsp_transport", transport, x.s.pushURL(x.name))
		}
	}
	gst := func(protocol string) produce {
		return func(x *interop, ctx context.Context) error {
			where, err := url.Parse(x.s.pushURL(x.name))
			if err != nil {
				return err
			}
			where.User = nil
			return command(ctx, repotest.Need(x.t, "gst-launch-1.0"), "-q", "filesrc", "location="+x.file, "!", "qtdemux", "name=d",
				"rtspclientsink", "name=s", "location="+where.String(), "protocols="+protocol, "user-id=key", "user-pw="+x.s.token,
				"d.video_0", "!", "queue", "!", "h264parse", "!", "s.", "d.audio_0", "!", "queue", "!", "aacparse", "!", "s.")
		}
	}
	h264, h265 := source(t, "libx264"), source(t, "libx265")
	s := start(t)
	for _, p := range []struct {
		name, file string
		run        produce
	}{
		{"ffmpeg-tcp", h264, ffmpeg("tcp")}, {"ffmpeg-udp", h264, ffmpeg("udp")}, {"ffmpeg-h265", h265, ffmpeg("tcp")},
		{"gstreamer-tcp", h264, gst("tcp")}, {"gstreamer-udp", h264, gst("udp")},
		{"gortsplib-tcp", h264, pushFile(gortsplib.TransportTCP)}, {"gortsplib-udp", h264, pushFile(gortsplib.TransportUDP)},
		{"old-gortsplib-udp", h264, oldPush},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			s := s.as(t)
			x := &interop{t: t, s: s, name: p.name, file: p.file}
			switch tool, _, _ := strings.Cut(p.name, "-"); tool {
			case "ffmpeg":
				x.keeps = 7 // its last packet of sound is not full, and stays where it is
			case "gstreamer":
				x.repacks, x.clips = true, 1 // the encoder's delay is cut off the first frame
				x.hangs = true               // 1.22 does on a busy machine, whatever the server
				x.keeps = 200                // sound that it sends before its encoder made the first picture: seconds of it, when the machine is busy
				x.apart = time.Second        // each track has a thread: on a busy machine the first packet of one waits, and what reports say of it needs four of them
			case "old":
				x.late = 100 * time.Millisecond
			}
			if strings.HasSuffix(p.name, "-udp") {
				x.keeps += 20 // it has a port of its own, and may overtake the first picture on a busy machine
			}
			x.produce(p.run)
			x.ended()
			x.check(sourceSeconds*25, true)
		})
	}
}

// produce runs a producer to its end. A machine that stands still for seconds makes it
// stop in the middle of a group of pictures: then the server cuts there, as it should, and
// there is nothing to compare; the producer begins again, under another name. So does one
// that hangs by itself.
func (x *interop) produce(run produce) {
	x.t.Helper()
	const tries, still = 6, 2 * time.Second
	p := hosttest.FeelDisk(x.t)
	for try := 1; ; try++ {
		began := time.Now()
		err := x.once(run)
		late := p.Between(began, time.Now())
		again := late >= still || (err != nil && x.hangs)
		if !again || try == tries {
			if err != nil {
				x.t.Fatalf("%v (the machine was %v late)", err, late)
			}
			return
		}
		x.t.Logf("%s: once more: the machine was %v late (%v)", x.name, late, err)
		x.name = fmt.Sprintf("%s-%d", strings.TrimSuffix(x.name, fmt.Sprintf("-%d", try)), try+1)
	}
}

// once runs a producer until the server says that it left.
func (x *interop) once(run produce) error {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), time.Minute)
	defer cancel()
	if err := run(x, ctx); err != nil {
		return err
	}
	x.s.until("the server's word that it left", 20*time.Second, func() error {
		if !strings.Contains(x.s.words(), `"producer left" component=rtsp stream=`+x.name+" ") {
			return errors.New("not yet")
		}
		return nil
	})
	return nil
}

// command runs a tool to its end.
func command(ctx context.Context, tool string, args ...string) error {
	if out, err := exec.CommandContext(ctx, tool, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", tool, err, out)
	}
	return nil
}

// oldPush pushes once round with the library of 2022, over UDP.
func oldPush(x *interop, ctx context.Context) error {
	clip, err := camsim.Load(x.file, 25)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	where, err := url.Parse(x.s.pushURL(x.name))
	if err != nil {
		return err
	}
	where.User = nil
	return camsim.Push(ctx, camsim.PushConfig{URL: where.String(), Username: "key", Password: x.s.token, UDP: true, Material: &once{clip, cancel}})
}

// once is a Clip that is shown one time; then end is called.
type once struct {
	*camsim.Clip
	end func()
}

// Reel begins at the start.
func (o *once) Reel(time.Duration) camsim.Reel { return &oneReel{o, 0} }

type oneReel struct {
	o *once
	n int
}

// Next hands out the units, and the last one again a while later, which is never sent.
func (r *oneReel) Next() camsim.Unit {
	if r.n == len(r.o.Units) {
		time.AfterFunc(300*time.Millisecond, r.o.end) // what was handed to the library must leave it
		u := r.o.Units[r.n-1]
		u.DTS += 1000 * int64(r.o.Streams[u.Track].Clock)
		return u
	}
	r.n++
	return r.o.Units[r.n-1]
}

// pushFile pushes once with the library that the server uses too.
func pushFile(transport gortsplib.Transport) produce {
	return func(x *interop, ctx context.Context) error {
		clip, err := camsim.Load(x.file, 25)
		if err != nil {
			return err
		}
		desc, encode, err := describe(clip)
		if err != nil {
			return err
		}
		c := &gortsplib.Client{Transport: &transport}
		if err := c.StartRecording(x.s.pushURL(x.name), desc); err != nil {
			return err
		}
		defer c.Close()
		begin := time.Now()
		for _, u := range clip.Units {
			clock := time.Duration(clip.Streams[u.Track].Clock)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Until(begin.Add(time.Duration(u.DTS) * time.Second / clock))):
			}
			pkts, err := encode[u.Track](u)
			if err != nil {
				return err
			}
			for _, p := range pkts {
				p.Timestamp = uint32(u.PTS + 5*int64(clock))
				if err := c.WritePacketRTP(desc.Medias[u.Track], p); err != nil {
					return err
				}
			}
		}
		time.Sleep(300 * time.Millisecond) // Close does not wait for what was handed to the library
		return nil
	}
}

func describe(clip *camsim.Clip) (*description.Session, []func(camsim.Unit) ([]*rtp.Packet, error), error) {
	video := clip.Streams[0]
	h264 := &format.H264{PayloadTyp: 96, PacketizationMode: 1, SPS: video.SPS, PPS: video.PPS}
	config := &mpeg4audio.AudioSpecificConfig{}
	if err := config.Unmarshal(clip.Streams[1].Audio); err != nil {
		return nil, nil, err
	}
	aac := &format.MPEG4Audio{PayloadTyp: 97, Config: config, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
	pictures, err := h264.CreateEncoder()
	if err != nil {
		return nil, nil, err
	}
	sound, err := aac.CreateEncoder()
	if err != nil {
		return nil, nil, err
	}
	desc := &description.Session{Medias: []*description.Media{
		{Type: description.MediaTypeVideo, Formats: []format.Format{h264}}, {Type: description.MediaTypeAudio, Formats: []format.Format{aac}}}}
	return desc, []func(camsim.Unit) ([]*rtp.Packet, error){
		func(u camsim.Unit) ([]*rtp.Packet, error) { return pictures.Encode(u.NALs) },
		func(u camsim.Unit) ([]*rtp.Packet, error) { return sound.Encode([][]byte{u.Frame}) },
	}, nil
}

func TestInteropOfPulledCameras(t *testing.T) {
	file := source(t, "libx264")
	clip, err := camsim.Load(file, 25)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t)
	for _, p := range []struct {
		name, transport string
		auth            camsim.Auth
		faults          camsim.Faults
	}{
		{"tcp", "tcp", camsim.None, camsim.Faults{}}, {"udp", "udp", camsim.Basic, camsim.Faults{}}, {"digest", "auto", camsim.Digest, camsim.Faults{}},
		{"only-udp", "auto", camsim.None, camsim.Faults{RefuseTCP: true}},
		{"in-band", "auto", camsim.None, camsim.Faults{InBandOnly: true, NoSenderReports: true}},
	} {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			const user, password = "admin", "p@ss/?#"
			material := clip
			if p.faults.InBandOnly {
				material = withParameters(clip)
			}
			cam, err := camsim.Serve(camsim.ServerConfig{Auth: p.auth, Username: user, Password: password, Material: material, Faults: p.faults})
			if err != nil {
				t.Fatal(err)
			}
			defer cam.Close()
			s := s.as(t)
			x := &interop{t: t, s: s, name: p.name, file: file, repacks: p.faults.InBandOnly}
			x.create(map[string]any{"url": cam.URL(0), "username": user, "password": password, "transport": p.transport})
			recorded(s, x.name, 4)
			x.readLive("tcp")
			x.readLive("udp")
			if status, body, _ := s.do(http.MethodPatch, "/v1/streams/"+x.name, map[string]any{"push": true}); status != http.StatusOK {
				t.Fatalf("take the source away: %d %s", status, body)
			}
			x.ended()
			x.check(4*50, false)
		})
	}
}

// withParameters is clip with the parameter sets before each key frame.
func withParameters(clip *camsim.Clip) *camsim.Clip {
	out := *clip
	out.Units = slices.Clone(clip.Units)
	for i, u := range out.Units {
		if u.Sync && u.Track == 0 {
			out.Units[i].NALs = append([][]byte{clip.Streams[0].SPS, clip.Streams[0].PPS}, u.NALs...)
		}
	}
	return &out
}

// create makes a stream that is pulled.
func (x *interop) create(source map[string]any) {
	x.t.Helper()
	if status, body, _ := x.s.do(http.MethodPost, "/v1/streams", map[string]any{"name": x.name, "source": source}); status != http.StatusCreated {
		x.t.Fatalf("create %s: %d %s", x.name, status, body)
	}
}

// ended waits until nobody produces the stream and all of it is durable.
func (x *interop) ended() {
	x.t.Helper()
	x.s.until(x.name+" has ended", 20*time.Second, func() error {
		if v := x.s.stream(x.name); v.Live {
			return errors.New(v.State)
		}
		heads := x.s.fragments(x.name)
		if len(heads) == 0 || len(x.s.persistedSince(x.name, "-1h")) != len(heads) {
			return fmt.Errorf("%d fragments are listed, not all of them durable", len(heads))
		}
		return nil
	})
}

// readLive reads the stream from the server as a player does.
func (x *interop) readLive(transport string) {
	x.t.Helper()
	got := pictures(x.t, x.s.pushURL(x.name), "-rtsp_transport", transport, "-t", "2")
	if len(got) < 40 {
		x.t.Errorf("read over %s: %d pictures in 2 s", transport, len(got))
	}
	follows(x.t, "live picture over "+transport, got, pictures(x.t, x.file))
}

// check compares all that was recorded with the source. A source that played once is
// there whole.
func (x *interop) check(least int, whole bool) {
	t := x.t
	t.Helper()
	if v := x.s.stream(x.name); v.Lost != 0 {
		t.Errorf("%d samples lost", v.Lost)
	}
	heads := x.s.fragments(x.name)
	clip := x.get("clip.mp4", fmt.Sprintf("clip.mp4?start=%d&end=%d", heads[0].Start.UnixMicro(), heads[len(heads)-1].End.UnixMicro()))
	shown := pictures(t, x.file)
	want, got := packets(t, x.file, "v"), packets(t, clip, "v")
	if len(got) < least || (whole && len(got) != least) {
		t.Errorf("the clip has %d pictures, want %d", len(got), least)
	}
	decoded := pictures(t, clip)
	tail := 0
	if !whole {
		tail = 2 // the recording ended between a picture and the B frames before it
	}
	from := follows(t, "picture of the clip", decoded[:max(0, len(decoded)-tail)], shown)
	if whole && from != 0 {
		t.Errorf("the recording begins with picture %d of the source", from)
	}
	first := from
	if !x.repacks { // GStreamer adds and removes delimiters
		first = follows(t, "picture's bytes", hashes(got), hashes(want))
	}
	sameTimes(t, "picture", got, want, first, sourceSeconds*time.Second, clockError)
	x.checkSound(clip, got[0].PTS, want[first].PTS, whole)
	for _, ext := range []string{"mp4", "mkv", "ts"} {
		var all, heard []string
		for _, h := range heads {
			file := x.get(h.Number.String()+"."+ext, "fragments/"+h.Number.String()+"."+ext)
			all = append(all, pictures(t, file)...)
			heard = append(heard, sounds(t, file)...)
		}
		if len(all) != len(got) {
			t.Errorf("the fragments as %s have %d pictures, the clip %d", ext, len(all), len(got))
		}
		follows(t, "picture as "+ext, all[:max(0, len(all)-tail)], shown)
		follows(t, "sound as "+ext, heard, sounds(t, x.file))
	}
}

// checkSound compares the sound of the clip, and its distance from the picture.
func (x *interop) checkSound(clip string, picture, wantPicture time.Duration, whole bool) {
	t := x.t
	t.Helper()
	want, got := packets(t, x.file, "a"), packets(t, clip, "a")
	from := follows(t, "sound of the clip", hashes(got), hashes(want))
	if len(got) == 0 {
		return
	}
	if !whole {
		return
	}
	if lack := len(want) - len(got); lack > 2+x.keeps {
		t.Errorf("%d of %d frames of sound are missing; the first is number %d", lack, len(want), from)
	}
	sameTimes(t, "sound", got[x.clips:], want, from+x.clips, 0, clockError+x.late)
	most := 60*time.Millisecond + x.late + x.apart
	d := (got[x.clips].PTS - picture) - (want[from+x.clips].PTS - wantPicture)
	if t.Logf("sound and picture are %v apart", d); d.Abs() > most {
		t.Errorf("sound and picture are %v apart, want at most %v", d, most)
	}
}

// get fetches a file of the stream.
func (x *interop) get(name, path string) string {
	x.t.Helper()
	status, body, _ := x.s.do(http.MethodGet, "/v1/streams/"+x.name+"/"+path, nil)
	if status != http.StatusOK {
		x.t.Fatalf("%s: %d %s", path, status, body)
	}
	return save(x.t, name, body)
}
