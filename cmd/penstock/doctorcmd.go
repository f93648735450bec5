package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"penstock/cmd/penstock/doctor"
	"penstock/ingest/rtsp"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/storage/s3"
)

func doctorCommand(t *terminal) *cobra.Command {
	l := &local{t: t}
	var cameras int
	cmd := &cobra.Command{Use: "doctor", Short: "Check this machine, its disk, network and settings for Penstock", Args: cobra.NoArgs,
		Long: "Checks this machine for Penstock, running or not, and says what to do about each thing that will not do.\n\n" +
			"Nothing is changed: what is written to measure is removed again, in the data directory (or the folder where it\n" +
			"would be made) and, where one is configured, in the S3 bucket. Exits 1 when a check failed; warnings are no failure.",
		Example: "  penstock doctor\n  penstock doctor --config /etc/penstock.yaml --cameras 50 -o json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return l.examine(cmd.Context(), cameras) }}
	l.bind(cmd)
	cmd.Flags().IntVar(&cameras, "cameras", 100, "how many cameras are expected")
	return cmd
}

// examine makes all checks and prints their rows: as they are made in a table, else at the end.
func (l *local) examine(ctx context.Context, cameras int) error {
	c, wrong := l.settle()
	if wrong == nil {
		wrong = c.Validate()
	}
	docs, n := []doctor.Row{}, 0
	failed := doctor.Run(ctx, l.t.examination(c, wrong, cameras), func(r doctor.Row) {
		n++
		if l.t.format == "table" {
			l.t.row(r)
		}
		docs = append(docs, r)
	})
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.t.format != "table" {
		rows, err := documents(docs)
		if err != nil {
			return err
		}
		if err := l.t.print(nil, rows, func(d map[string]any) []string { return []string{text(d, "check")} }); err != nil {
			return err
		}
	}
	if failed > 0 {
		return &fault.Error{Err: fmt.Errorf("%d of %d checks failed", failed, n), Hint: "what their rows say"}
	}
	return nil
}

// row prints one check.
func (t *terminal) row(r doctor.Row) {
	mark := map[doctor.Status]string{doctor.OK: t.paint("ok  ", green), doctor.Warn: t.paint("warn", yellow), doctor.Fail: t.paint("FAIL", red)}[r.Status]
	fmt.Fprintf(t.out, "%s  %-17s %s\n", mark, r.Check, oneLine(r.Detail))
	if r.Try != "" {
		fmt.Fprintf(t.out, "      try: %s\n", oneLine(r.Try))
	}
}

// examination is what the settings ask for.
func (t *terminal) examination(c config, wrong error, cameras int) doctor.Config {
	d := doctor.Config{
		Version: version, Data: c.Data, Settings: wrong, Cameras: cameras, Budget: int64(c.Storage.StallBudget),
		Server: c.ownURL(), HTTP: ownClient(), Certificates: c.certificates(),
		FS: host.OS{}, Clock: host.System{}, Machine: doctor.System{},
		Getenv: func(name string) string { v, _ := t.env(name); return v },
	}
	for _, p := range []struct{ setting, address string }{{"http", c.HTTP}, {"rtsp", c.RTSP}, {"rtsps", c.RTSPS}, {"mqtt", c.MQTT}, {"mqtts", c.MQTTS}} {
		if p.address == off || p.setting == "rtsps" && !c.rtspsOn() {
			continue
		}
		d.Ports = append(d.Ports, doctor.Port{Setting: p.setting, Address: p.address})
	}
	if c.RTSP != off && c.RTSPUDP != off {
		d.UDP = func(ctx context.Context) (string, error) {
			address := c.udpAddress()
			if address == "" {
				address = c.RTSP
			}
			name, _, err := net.SplitHostPort(address)
			if err != nil {
				return "", err
			}
			return rtsp.CheckUDP(ctx, name)
		}
	}
	if c.S3.Endpoint != "" {
		d.Store = func(ctx context.Context) (string, error) { return tryStore(ctx, c) }
	}
	return d
}

// tryStore asks the S3 store what it can do, as a server does when it starts.
func tryStore(ctx context.Context, c config) (string, error) {
	store, err := s3.Open(ctx, s3Config(c))
	if err != nil {
		return "", err
	}
	report, err := store.Probe(ctx)
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return "", err
	}
	var words []string
	for _, s := range report.Steps {
		words = append(words, s.Name+": "+s.Words)
	}
	return report.Store + "; " + strings.Join(words, "; "), nil
}

// certificates are those that the server would serve.
func (c *config) certificates() []doctor.Certificate {
	switch {
	case c.TLS.Auto:
		dir := filepath.Join(c.Data, "tls")
		return []doctor.Certificate{{Setting: "tls.self_signed", Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), SelfMade: true}}
	case c.TLS.Cert != "":
		cert := doctor.Certificate{Setting: "tls.cert", Cert: c.TLS.Cert, Key: c.TLS.Key}
		if u, err := url.Parse(c.PublicURL); err == nil && u.Scheme == "https" {
			cert.Host = u.Hostname()
		}
		return []doctor.Certificate{cert}
	}
	var list []doctor.Certificate
	for _, name := range c.TLS.ACME.Hosts {
		// One file holds the key and the certificate (autocert.DirCache).
		file := filepath.Join(c.Data, "tls", "acme", name)
		if _, err := os.Stat(file); err == nil {
			list = append(list, doctor.Certificate{Setting: "tls.acme", Cert: file, Key: file, Host: name})
		}
	}
	return list
}

// ownURL is where a server with these settings answers on its own machine.
func (c *config) ownURL() string {
	if c.secure() {
		return "https://" + friendly(c.HTTP)
	}
	return "http://" + friendly(c.HTTP)
}

// ownClient asks this machine's server, by a name that its certificate need not have, and
// sends nothing that a stranger could use.
func ownClient() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
}
