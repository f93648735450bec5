// Command camsim plays IP cameras: to pull from, or to push with; good ones, and bad
// ones on request.
//
//	camsim serve --listen 127.0.0.1:9554 --path cam%d -n 4 --user admin --pass secret --auth digest
//	camsim push rtsp://127.0.0.1:8554/front-door --user any --pass pst_...
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pion/rtp"
	"github.com/spf13/cobra"

	"penstock/internal/camsim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(os.Stdout).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "camsim:", err)
		os.Exit(1)
	}
}

// what holds the flags that both commands have.
type what struct {
	file, second string
	fps          float64
	loop         bool
	faults       camsim.Faults
}

func (w *what) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&w.file, "file", "", "film this file, looped: .mp4, .h264 or .h265 (default: a clock with a barcode)")
	f.Float64Var(&w.fps, "fps", 25, "frames a second of an .h264 or .h265 file")
	f.BoolVar(&w.loop, "loop-demo", false, "repeat ten recorded seconds of the clock: cheap with hundreds of cameras")
	f.StringVar(&w.second, "second", "", "file to change to with --change-after")
	f.DurationVar(&w.faults.DropEvery, "drop-every", 0, "end the connection after this long, again and again")
	f.DurationVar(&w.faults.JumpEvery, "jump-every", 0, "move the timestamps ahead this often ...")
	f.DurationVar(&w.faults.JumpBy, "jump-by", time.Hour, "... by this much")
	f.Float64Var(&w.faults.DriftPPM, "drift", 0, "the camera's clock runs this much too fast, in millionths")
	f.Float64Var(&w.faults.Stretch, "stretch", 1, "lie about the frame rate: really leave this many times the time between frames")
	f.BoolVar(&w.faults.NoSenderReports, "no-sr", false, "send no RTCP sender reports")
	f.DurationVar(&w.faults.ClockOffset, "clock-offset", 0, "set the camera's clock ahead by this much")
	f.BoolVar(&w.faults.MidGOP, "midgop", false, "begin between key frames")
	f.BoolVar(&w.faults.NoKeyFrames, "no-key-frames", false, "send only the first key frame")
	f.DurationVar(&w.faults.SilentAfter, "silent-after", 0, "stop sending after this long and keep the connection")
	f.BoolVar(&w.faults.InBandOnly, "in-band-only", false, "leave the parameter sets out of the SDP")
	f.DurationVar(&w.faults.ChangeAfter, "change-after", 0, "change to --second after this long")
	f.IntVar(&w.faults.LoseEvery, "lose-every", 0, "leave out every n-th packet")
}

func (w *what) materials() (first, second camsim.Material, err error) {
	first = camsim.NewDemo()
	if w.file != "" {
		if first, err = load(w.file, w.fps); err != nil {
			return nil, nil, err
		}
	} else if w.loop {
		first = camsim.Record(first, 10*time.Second)
	}
	if w.second != "" {
		if second, err = load(w.second, w.fps); err != nil {
			return nil, nil, err
		}
	}
	if w.faults.ChangeAfter > 0 && second == nil {
		return nil, nil, errors.New("--change-after needs --second FILE")
	}
	return first, second, nil
}

func load(name string, fps float64) (camsim.Material, error) {
	c, err := camsim.Load(name, fps)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func command(out io.Writer) *cobra.Command {
	root := &cobra.Command{Use: "camsim", Short: "Play IP cameras over RTSP", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(serve(out), push(out))
	return root
}

func serve(out io.Writer) *cobra.Command {
	var w what
	var conf camsim.ServerConfig
	var auth string
	c := &cobra.Command{Use: "serve", Short: "Cameras to pull from", Args: cobra.NoArgs}
	w.flags(c)
	f := c.Flags()
	f.StringVar(&conf.Listen, "listen", "127.0.0.1:9554", "address to answer at")
	f.StringVar(&conf.Path, "path", "cam%d", "path of each camera; %d is its number from 0")
	f.IntVarP(&conf.Count, "cameras", "n", 1, "how many cameras")
	f.StringVar(&conf.Username, "user", "admin", "user")
	f.StringVar(&conf.Password, "pass", "secret", "password")
	f.StringVar(&auth, "auth", "none", "how to ask for the password: digest, basic or none")
	f.BoolVar(&w.faults.RefuseTCP, "refuse-tcp", false, "refuse media over TCP (461)")
	f.BoolVar(&w.faults.RefuseUDP, "refuse-udp", false, "refuse media over UDP (461)")
	f.DurationVar(&w.faults.DenyFor, "deny-for", 0, "refuse every password this long (401)")
	f.DurationVar(&w.faults.BusyFor, "busy-for", 0, "be busy this long (503)")
	f.BoolVar(&w.faults.Mute, "mute", false, "promise media and send none")
	var b loudspeaker
	b.flags(c, &w.faults)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		switch conf.Auth = camsim.Auth(auth); conf.Auth {
		case camsim.None, camsim.Basic, camsim.Digest:
		default:
			return fmt.Errorf("--auth %s: it is digest, basic or none", auth)
		}
		var err error
		if conf.Material, conf.Second, err = w.materials(); err != nil {
			return err
		}
		conf.Faults = w.faults
		done, err := b.open(&conf)
		if err != nil {
			return err
		}
		defer done()
		s, err := camsim.Serve(conf)
		if err != nil {
			return err
		}
		defer s.Close()
		for i := range conf.Count {
			if i == 3 && conf.Count > 4 {
				fmt.Fprintf(out, "... %d more\n", conf.Count-3)
				break
			}
			fmt.Fprintln(out, s.URL(i))
		}
		<-cmd.Context().Done()
		return nil
	}
	return c
}

// loudspeaker holds the flags of the back channel.
type loudspeaker struct{ codec, file string }

func (l *loudspeaker) flags(c *cobra.Command, faults *camsim.Faults) {
	f := c.Flags()
	f.StringVar(&l.codec, "back", "", "offer a back channel: pcmu, pcma, or g726 or aac, which are heard by nobody")
	f.StringVar(&l.file, "back-file", "", "write the octets that the loudspeaker is sent to this file")
	f.IntVar(&faults.RefuseRequire, "refuse-back", 0, "answer DESCRIBE that asks for a back channel with this status, such as 551")
	f.BoolVar(&faults.BackBusy, "back-busy", false, "refuse SETUP of the back channel (453)")
}

// open sets conf's loudspeaker; done closes the file.
func (l *loudspeaker) open(conf *camsim.ServerConfig) (done func(), err error) {
	done = func() {}
	known := map[string]camsim.Back{"": "", "pcmu": camsim.PCMU, "pcma": camsim.PCMA, "g726": camsim.G726, "aac": camsim.BackAAC}
	back, ok := known[l.codec]
	if !ok {
		return done, fmt.Errorf("--back %s: it is pcmu, pcma, g726 or aac", l.codec)
	}
	conf.Back = back
	if l.file == "" {
		return done, nil
	}
	f, err := os.Create(l.file)
	if err != nil {
		return done, err
	}
	conf.Speaker = func(p *rtp.Packet) {
		if _, err := f.Write(p.Payload); err != nil {
			fmt.Fprintln(os.Stderr, "camsim: write what was heard:", err)
		}
	}
	return func() { _ = f.Close() }, nil // each packet was written, or said not to be
}

func push(out io.Writer) *cobra.Command {
	var w what
	var conf camsim.PushConfig
	var forever bool
	c := &cobra.Command{Use: "push URL", Short: "An encoder that pushes to an RTSP server", Args: cobra.ExactArgs(1)}
	w.flags(c)
	f := c.Flags()
	f.StringVar(&conf.Username, "user", "", "user")
	f.StringVar(&conf.Password, "pass", "", "password, or a key's token")
	f.BoolVar(&conf.UDP, "udp", false, "send media over UDP")
	f.BoolVar(&forever, "again", false, "push again a second after it broke")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		conf.URL = args[0]
		var err error
		if conf.Material, conf.Second, err = w.materials(); err != nil {
			return err
		}
		conf.Faults = w.faults
		for {
			fmt.Fprintln(out, "pushing to", conf.URL)
			err := camsim.Push(cmd.Context(), conf)
			if err == nil || !forever {
				return err
			}
			fmt.Fprintln(out, err)
			t := time.NewTimer(time.Second)
			select {
			case <-cmd.Context().Done():
				t.Stop()
				return nil
			case <-t.C:
			}
		}
	}
	return c
}
