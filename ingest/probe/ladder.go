package probe

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"penstock/ingest/camera"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/media"
)

const (
	defaultRung  = 8 * time.Second
	defaultWatch = 12 * time.Second
	pictureTime  = 10 * time.Second
	defaultVoice = 5 * time.Second
	// clockGood is how far a camera's clock may be off without anyone being told.
	clockGood = 2 * time.Second
	// intervalGood is the longest time between key frames that needs no advice: it is
	// how late a picture starts and how far clips are off.
	intervalGood = 3500 * time.Millisecond
)

// New returns a Prober. It opens nothing before it is asked.
func New(c Config) *Prober {
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	if c.Resolve == nil {
		c.Resolve = net.DefaultResolver.LookupHost
	}
	c.Rung = cmp.Or(c.Rung, defaultRung)
	c.Watch = cmp.Or(c.Watch, defaultWatch)
	c.Voice = cmp.Or(c.Voice, defaultVoice)
	return &Prober{conf: c}
}

// Probe climbs the ladder. progress, if not nil, hears each step as it is taken, one at
// a time. A camera that cannot be used is a Report with OK false, not an error; the
// error is ctx's, when the caller gave up.
func (p *Prober) Probe(ctx context.Context, req Request, progress func(Step)) (Report, error) {
	l := &ladder{p: p, progress: progress, began: p.conf.Clock.Now()}
	l.climb(ctx, req)
	if err := ctx.Err(); err != nil {
		return l.report, err
	}
	return l.report, nil
}

// ladder is one climb.
type ladder struct {
	p        *Prober
	progress func(Step)
	report   Report
	began    time.Time // of the rung under way
	reached  camera.Stage
}

func (l *ladder) step(s Step) {
	l.report.Steps = append(l.report.Steps, s)
	if l.progress != nil {
		l.progress(s)
	}
	l.began = l.p.conf.Clock.Now()
}

func (l *ladder) ok(rung, detail, try string) { l.step(Step{rung, true, detail, try}) }

func (l *ladder) broken(rung string, tr *camera.Trouble) {
	l.step(Step{rung, false, tr.Detail, tr.Try})
}

func (l *ladder) took() string { return span(l.p.conf.Clock.Now().Sub(l.began)) }

// span writes a duration for people.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Millisecond:
		return "less than 1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

func (l *ladder) climb(ctx context.Context, req Request) {
	t, err := camera.ParseTarget(req.URL, req.Username, req.Password)
	if err != nil {
		l.step(Step{Resolves, false, err.Error(), fault.HintOf(err)})
		return
	}
	t.Transport = req.Transport
	l.report.URL = t.URL.String()
	if !l.resolve(ctx, t) {
		return
	}
	conn, err := camera.Open(ctx, camera.Config{Dial: l.p.conf.Dial, Step: l.p.conf.Rung}, t, func(s camera.Stage) { l.stage(s, t) })
	if err != nil {
		l.broken(rungAfter(l.reached), l.advise(camera.TroubleOf(err)))
		return
	}
	l.watch(ctx, conn)
	conn.Close() // some cameras take only one caller
	if l.report.OK {
		l.voice(ctx, t)
	}
}

// voice asks on a connection of its own whether the camera has a loudspeaker: a camera that
// refuses the question has shown its picture by then. No answer to it breaks the rung.
func (l *ladder) voice(ctx context.Context, t camera.Target) {
	ctx, cancel := context.WithTimeout(ctx, l.p.conf.Voice)
	defer cancel()
	conn, err := camera.Open(ctx, camera.Config{Dial: l.p.conf.Dial, Step: l.p.conf.Rung, Back: true, Look: true}, t, nil)
	if err == nil {
		v := conn.Voice()
		conn.Close()
		l.report.Voice = &v
		l.ok(TwoWay, fmt.Sprintf("%s, %g kHz", v.Codec, float64(v.Rate)/1000), "")
		return
	}
	switch tr := camera.TroubleOf(err); tr.Cause {
	case camera.NoBackChannel:
		l.ok(TwoWay, "not offered", "")
	case camera.BackChannelCodec:
		l.ok(TwoWay, tr.Detail, tr.Try)
	default:
		l.ok(TwoWay, "not known: "+tr.Detail, "")
	}
}

// resolve is the first rung.
func (l *ladder) resolve(ctx context.Context, t camera.Target) bool {
	name := t.URL.Hostname()
	if net.ParseIP(strings.Split(name, "%")[0]) != nil {
		l.ok(Resolves, name, "")
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, l.p.conf.Rung)
	defer cancel()
	addrs, err := l.p.conf.Resolve(ctx, name)
	if err != nil || len(addrs) == 0 {
		l.step(Step{Resolves, false, "no machine is known by the name " + name, "check the name, or use the camera's IP address"})
		return false
	}
	if len(addrs) > 3 {
		addrs = append(addrs[:3:3], "...")
	}
	l.ok(Resolves, name+" is "+strings.Join(addrs, ", "), "")
	return true
}

// stage notes what camera.Open got done. It may go through the first ones again, after
// a redirect or for another transport: that is not told twice.
func (l *ladder) stage(s camera.Stage, t camera.Target) {
	if s <= l.reached {
		return
	}
	l.reached = s
	switch s {
	case camera.StageReached:
		l.ok(Reached, t.Address()+" in "+l.took(), "")
	case camera.StageAnswered:
		l.ok(Answers, "in "+l.took(), "")
	case camera.StageSignedIn:
		detail := "no password is needed"
		if t.Username != "" || !t.Password.Empty() {
			detail = fmt.Sprintf("as user %q", t.Username)
		}
		l.ok(SignedIn, detail, "")
	}
}

// rungAfter names the rung that broke when s was the last stage reached.
func rungAfter(s camera.Stage) string {
	switch s {
	case 0:
		return Reached
	case camera.StageReached:
		return Answers
	case camera.StageAnswered:
		return SignedIn
	case camera.StageSignedIn:
		return Described
	}
	return SetUp
}

// advise adds what only a person who asks wants to know.
func (l *ladder) advise(tr *camera.Trouble) *camera.Trouble {
	if l.reached == camera.StageDescribed {
		l.ok(Described, "the camera lists its streams", "")
	}
	if tr.Cause != camera.NoSuchPath {
		return tr
	}
	c := *tr
	c.Try = "use the path from its manual; common ones are " + strings.Join(camera.CommonPaths(8), ", ")
	return &c
}

// describe tells what the tracks are.
func describe(tracks []media.Track) (detail, try string) {
	var words []string
	for _, t := range tracks {
		w := codecName(t.Codec)
		if p, ok := t.Codec.(media.Picture); ok && p.Width() > 0 {
			w += fmt.Sprintf(" %dx%d", p.Width(), p.Height())
			if fps := p.FrameRate(); fps > 0 {
				w += fmt.Sprintf(" at %.3g frames/s", fps)
			}
		} else if rate, channels := media.AudioFormat(t.Codec); rate > 0 {
			w += fmt.Sprintf(" %g kHz", float64(rate)/1000)
			if channels > 1 {
				w += fmt.Sprintf(", %d channels", channels)
			}
		}
		words = append(words, w)
		switch t.Codec.Name() {
		case "h265":
			try = "not every browser plays H.265: for live pictures everywhere, add the camera's H.264 sub-stream as well, or set its codec to H.264"
		case "mjpeg":
			try = "Motion JPEG gives stills only: set the camera's codec to H.264 for video"
		}
	}
	return strings.Join(words, " and "), try
}

func codecName(c media.Codec) string {
	switch c.Name() {
	case "h264":
		return "H.264"
	case "h265":
		return "H.265"
	case "pcma", "pcmu":
		return "G.711"
	case "mjpeg":
		return "Motion JPEG"
	}
	return strings.ToUpper(c.Name())
}
