package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"penstock/internal/host"
)

// serveFlags are the flags that lie over environment and file.
type serveFlags struct {
	config                                              string
	data, http, rtsp, rtsps, publicURL, account, region string
	mqtt, mqtts                                         string
	shardLimits, callLimits                             string
	allow                                               []string
	demo                                                bool
}

func serveCommand(t *terminal) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: cobra.NoArgs,
		Example: "  penstock serve --demo\n  penstock serve --data /var/lib/penstock --http 0.0.0.0:8080 --rtsp 0.0.0.0:8554",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.settle(cmd, t.env)
			if err != nil {
				return mistyped(cmd, err)
			}
			return serve(cmd.Context(), t, c, f.demo, func() (config, error) { return f.settle(cmd, t.env) })
		},
	}
	d := defaults()
	fl := cmd.Flags()
	fl.StringVar(&f.config, "config", "", "YAML file with settings (docs/penstock.yaml)")
	fl.StringVar(&f.data, "data", d.Data, "the one folder with all state")
	fl.StringVar(&f.http, "http", d.HTTP, "address of console, API and playback")
	fl.StringVar(&f.rtsp, "rtsp", d.RTSP, "address that cameras push to and players read from, or off")
	fl.StringVar(&f.rtsps, "rtsps", d.RTSPS, "address of RTSP over TLS, once a certificate is configured, or off")
	fl.StringVar(&f.mqtt, "mqtt", d.MQTT, "address that takes data records by MQTT, or off")
	fl.StringVar(&f.mqtts, "mqtts", d.MQTTS, "address of MQTT over TLS, once a certificate is configured, or off")
	fl.StringVar(&f.publicURL, "public-url", "", "what people type to get here, behind a proxy")
	fl.StringVar(&f.account, "account", d.Account, "default account, 12 digits")
	fl.StringVar(&f.region, "region", d.Region, "region that ARNs name")
	fl.StringVar(&f.shardLimits, "shard-limits", d.DataStreams.ShardLimits, "throughput limits of the shards of provisioned data streams: aws or off")
	fl.StringVar(&f.callLimits, "call-limits", d.DataStreams.CallLimits, "how often a second each call of the control plane of data streams may be made: aws or off")
	fl.StringSliceVar(&f.allow, "allow-address", nil, "CIDR that cameras may be called in although it is loopback or link-local")
	fl.BoolVar(&f.demo, "demo", false, "add a built-in camera and sensor")
	return cmd
}

// settle joins defaults, file, environment and flags, in that order.
func (f *serveFlags) settle(cmd *cobra.Command, env func(string) (string, bool)) (config, error) {
	file := f.config
	if file == "" {
		file, _ = env("PENSTOCK_CONFIG")
	}
	c, err := readConfig(file, env)
	if err != nil {
		return c, err
	}
	for name, to := range map[string]*string{"data": &c.Data, "http": &c.HTTP, "rtsp": &c.RTSP, "rtsps": &c.RTSPS, "mqtt": &c.MQTT, "mqtts": &c.MQTTS, "public-url": &c.PublicURL, "account": &c.Account, "region": &c.Region,
		"shard-limits": &c.DataStreams.ShardLimits, "call-limits": &c.DataStreams.CallLimits} {
		if fl := cmd.Flags().Lookup(name); fl != nil && fl.Changed {
			*to = fl.Value.String()
		}
	}
	c.Allow = append(c.Allow, f.allow...)
	return c, c.Validate()
}

// serve runs the server until ctx ends; reread reads the settings anew.
func serve(ctx context.Context, t *terminal, c config, demo bool, reread func() (config, error)) error {
	if _, set := t.env("GOGC"); !set { // the variable overrides it
		defer paceOf(host.System{}).start(ctx)()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	level := &slog.LevelVar{}
	level.Set(levelOf(c))
	d, err := openDaemon(ctx, c, demo, loggerAt(c, level, t.err))
	if err != nil {
		return err
	}
	defer d.close()
	if !t.quiet {
		d.greet(ctx, t.out)
	}
	r := &reloader{read: reread, held: c, level: level, calls: d.calls, log: d.log.With("component", "settings")}
	var reloads sync.WaitGroup
	reloads.Go(func() { r.run(ctx, hup, t.attended, stop) })
	err = d.run(ctx)
	stop()
	reloads.Wait()
	return err
}

func levelOf(c config) (level slog.Level) {
	if level.UnmarshalText([]byte(c.LogLevel)) != nil {
		return slog.LevelInfo
	}
	return level
}

func logger(c config, to io.Writer) *slog.Logger { return loggerAt(c, levelOf(c), to) }

func loggerAt(c config, level slog.Leveler, to io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, opts))
	}
	return slog.New(slog.NewTextHandler(to, opts))
}

// greet tells whoever started the server where everything is.
func (d *daemon) greet(ctx context.Context, out io.Writer) {
	lines := [][2]string{{"console", d.url}}
	if link, err := d.signInLink(ctx); err == nil {
		lines = append(lines, [2]string{"sign in", link + "   (once, within 15 minutes)"})
	}
	if d.tls != nil && d.c.TLS.Auto {
		lines = append(lines, [2]string{"certificate", "self-signed; SHA-256 " + d.tls.fingerprint()})
	}
	if d.rtspAddr != "" {
		lines = append(lines, [2]string{"push video", "rtsp://key:TOKEN@" + d.rtspAddr + "/NAME"})
	}
	if d.rtspsAddr != "" {
		lines = append(lines, [2]string{"", "rtsps://key:TOKEN@" + d.rtspsAddr + "/NAME"})
	}
	for _, addr := range d.mqttAddrs {
		lines = append(lines, [2]string{"mqtt", addr + "   (any user name, a key's token as password; topic STREAM/KEY)"})
	}
	lines = append(lines,
		[2]string{"make a key", "penstock key create --role producer" + d.dataFlag()},
		[2]string{"data", d.dir + "   (" + d.storeName + ")"})
	if d.local {
		lines = append(lines, [2]string{"reach", "this machine only; set a password in the console, then serve --http 0.0.0.0:8080"})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "penstock %s is running\n", version)
	for _, l := range lines {
		fmt.Fprintf(&b, "  %-11s %s\n", l[0], l[1])
	}
	fmt.Fprint(out, b.String())
}

// dataFlag is the --data flag that other commands need, or nothing at the default.
func (d *daemon) dataFlag() string {
	if d.c.Data == defaults().Data {
		return ""
	}
	return " --data " + d.c.Data
}
