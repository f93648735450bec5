package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"penstock/auth"
	"penstock/auth/audit"
	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/host"
	"penstock/internal/quantity"
	"penstock/records"
	"penstock/storage/meta"
)

// local opens what a command needs of a data directory, whether the server runs or not.
type local struct {
	t      *terminal
	config string
	data   string
}

func (l *local) bind(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&l.data, "data", "", "data directory, a `DIR` (PENSTOCK_DATA; penstock-data)")
	cmd.PersistentFlags().StringVar(&l.config, "config", "", "YAML `FILE` with settings (PENSTOCK_CONFIG)")
}

func (l *local) settle() (config, error) {
	c, err := l.t.config(l.config)
	if err != nil {
		return c, usageError{err}
	}
	if l.data != "" {
		c.Data = l.data
	}
	return c, nil
}

// config reads the settings, from PENSTOCK_CONFIG where no file is named.
func (t *terminal) config(file string) (config, error) {
	if file == "" {
		file, _ = t.env("PENSTOCK_CONFIG")
	}
	return readConfig(file, t.env)
}

// authority opens the accounts of the data directory.
func (l *local) authority(ctx context.Context) (*auth.Authority, func() error, error) {
	c, err := l.settle()
	if err != nil {
		return nil, nil, err
	}
	// The command line has an audit chain of its own: the server's has one writer.
	dir := filepath.Join(c.Data, "audit", "cli")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, explainDir("open data directory", c.Data, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.DiscardHandler)
	db, err := openMeta(ctx, c.Data, log, nil)
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	trail, err := audit.Open(ctx, audit.Config{Dir: dir, Anchor: audit.InMeta(db, "cli")})
	if err != nil {
		return nil, nil, errors.Join(err, db.Close(), lock.Close())
	}
	a, err := openAuth(ctx, c, c.Data, db, trail, log, nil)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close(), trail.Close(), lock.Close())
	}
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	written := make(chan error, 1)
	go func() { written <- trail.Run(writing) }()
	return a, func() error {
		stop()
		return errors.Join(<-written, trail.Close(), db.Close(), lock.Close())
	}, nil
}

func linkCommand(t *terminal) *cobra.Command {
	l := &local{t: t}
	cmd := &cobra.Command{Use: "link", Short: "Print a sign-in link for the console that works once", Args: cobra.NoArgs, Example: "  penstock link --data /var/lib/penstock", RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := l.settle()
		if err != nil {
			return err
		}
		a, done, err := l.authority(cmd.Context())
		if err != nil {
			return err
		}
		link, err := a.OneTimeLink(cmd.Context(), auth.AdminName)
		if err := errors.Join(err, done()); err != nil {
			return err
		}
		at := c.ownURL()
		if c.PublicURL != "" {
			at = strings.TrimRight(c.PublicURL, "/")
		}
		address := at + "/#link=" + link.Reveal()
		if t.format == "table" {
			_, err = fmt.Fprintln(t.out, address)
			return err
		}
		return t.printOne(map[string]any{"link": address}, func(d map[string]any) []string { return []string{text(d, "link")} })
	}}
	l.bind(cmd)
	return cmd
}

func passwordCommand(t *terminal) *cobra.Command {
	l := &local{t: t}
	cmd := &cobra.Command{Use: "password", Short: "Set the console's password"}
	l.bind(cmd)
	var file, person string
	set := &cobra.Command{Use: "set", Short: "Set it; asks for it, or reads it from a file", Args: cobra.NoArgs, Example: "  penstock password set --data /var/lib/penstock", RunE: func(cmd *cobra.Command, _ []string) error {
		secret, err := t.secret(file, "new password: ")
		if err != nil {
			return err
		}
		a, done, err := l.authority(cmd.Context())
		if err != nil {
			return err
		}
		if err := errors.Join(a.SetPassword(cmd.Context(), person, secret), done()); err != nil {
			return err
		}
		t.say("the password of %s is set; who is signed in elsewhere is signed out", person)
		return nil
	}}
	set.Flags().StringVar(&file, "password-file", "-", "file with the password; - asks, or reads standard input")
	set.Flags().StringVar(&person, "user", auth.AdminName, "whose")
	cmd.AddCommand(set)
	return cmd
}

// offline opens what is stored in a data directory that no server runs on.
func offline(ctx context.Context, t *terminal, dir string) (conf stored, done func() error, err error) {
	c, err := t.config("")
	if err != nil {
		return conf, nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "meta.db")); err != nil {
		return conf, nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return conf, nil, err
	}
	d := &daemon{c: c, dir: dir, log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	if d.files, err = host.OpenRoot(dir); err != nil {
		return conf, nil, errors.Join(err, lock.Close())
	}
	if d.meta, err = openMeta(ctx, dir, d.log, nil); err != nil {
		return conf, nil, errors.Join(err, d.files.Close(), lock.Close())
	}
	done = func() error { return errors.Join(d.meta.Close(), d.files.Close(), lock.Close()) }
	bucket, err := d.openBucket(ctx)
	if err != nil {
		return conf, nil, errors.Join(err, done())
	}
	return stored{d.fragmentsConfig(bucket), records.Config{
		FS: d.files, Dir: dir, Bucket: bucket, Meta: d.meta, Lanes: c.DataStreams.Lanes, Logger: d.log,
	}, d.meta}, done, nil
}

// stored says where video and where data records are.
type stored struct {
	video fragments.Config
	data  records.Config
	meta  *meta.DB
}

func verifyCommand(t *terminal) *cobra.Command {
	var repair bool
	cmd := &cobra.Command{Use: "verify DIR", Short: "Read everything stored in a data directory and check it", Args: cobra.ExactArgs(1), Example: "  penstock verify /var/lib/penstock --repair", RunE: func(cmd *cobra.Command, args []string) error {
		return t.inspect(cmd.Context(), args[0], func(c stored, heard func(fragments.Finding)) (fragments.Report, error) {
			return fragments.Verify(cmd.Context(), c.video, repair, heard)
		}, func(c stored, heard func(records.Finding)) (records.Report, error) {
			return records.Verify(cmd.Context(), c.data, repair, heard)
		}, func(c stored, heard func(name string, r audit.Report)) error {
			return checkAudits(cmd.Context(), args[0], c.meta, heard)
		})
	}}
	cmd.Flags().BoolVar(&repair, "repair", false, "cut torn tails off, take lost chunks back in, and hide what cannot be read")
	return cmd
}

// damaged says what verify found, and what to do about it.
func damaged(dir, format string, args ...any) error {
	return (&fault.Error{Err: fmt.Errorf(format, args...)}).WithHint(
		"penstock verify --repair " + dir + " hides what cannot be read; a copy of the files from a backup brings it back")
}

func reindexCommand(t *terminal) *cobra.Command {
	return &cobra.Command{Use: "reindex DIR", Short: "Rebuild the index of a data directory from its chunks and segments", Args: cobra.ExactArgs(1), Example: "  penstock reindex /var/lib/penstock", RunE: func(cmd *cobra.Command, args []string) error {
		return t.inspect(cmd.Context(), args[0], func(c stored, heard func(fragments.Finding)) (fragments.Report, error) {
			return fragments.Reindex(cmd.Context(), c.video, heard)
		}, func(c stored, heard func(records.Finding)) (records.Report, error) {
			return records.Reindex(cmd.Context(), c.data, heard)
		}, func(stored, func(string, audit.Report)) error { return nil })
	}}
}

// inspect runs work on a data directory and prints what it finds as it is found.
func (t *terminal) inspect(ctx context.Context, dir string, video func(stored, func(fragments.Finding)) (fragments.Report, error),
	data func(stored, func(records.Finding)) (records.Report, error), trail func(stored, func(name string, r audit.Report)) error) (err error) {
	c, done, err := offline(ctx, t, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	var found []map[string]any
	tell := func(object string, offset int64, text string, fixed bool) {
		mark := "bad"
		if fixed {
			mark = "fixed"
		}
		if t.format == "table" {
			fmt.Fprintf(t.out, "%-5s  %s  offset %d  %s\n", mark, object, offset, text)
			return
		}
		found = append(found, map[string]any{"object": object, "offset": offset, "finding": text, "state": mark})
	}
	sum, err := video(c, func(f fragments.Finding) { tell(f.Object, f.Offset, f.Text, f.Fixed) })
	if err != nil {
		return err
	}
	kept, err := data(c, func(f records.Finding) { tell(f.Object, f.Offset, f.Stream+": "+f.Text, f.Fixed) })
	if err != nil {
		return err
	}
	broken := 0
	if err := trail(c, func(name string, r audit.Report) {
		if r.Problem != "" {
			broken++
			tell("audit/"+name, 0, r.Problem, false)
		}
	}); err != nil {
		return err
	}
	if t.format != "table" {
		if err := t.print(nil, found, func(d map[string]any) []string { return []string{text(d, "object")} }); err != nil {
			return err
		}
	}
	t.say("%d streams, %d chunks, %d fragments, %s", sum.Streams, sum.Chunks, sum.Fragments, quantity.Bytes(sum.Bytes))
	t.say("%d data streams, %d segments, %d records, %s", kept.Streams, kept.Segments, kept.Records, quantity.Bytes(kept.Bytes))
	switch {
	case sum.Damaged > 0 && kept.Damaged > 0:
		return partly{damaged(dir, "%d of %d chunks are damaged, and so are data records in %d places; the rest can be read", sum.Damaged, sum.Chunks, kept.Damaged)}
	case sum.Damaged > 0:
		return partly{damaged(dir, "%d of %d chunks are damaged; what they hold is hidden, the rest can be read", sum.Damaged, sum.Chunks)}
	case kept.Damaged > 0:
		return partly{damaged(dir, "data records are damaged in %d places; the rest can be read", kept.Damaged)}
	case broken > 0:
		return partly{brokenAudits(broken)}
	}
	return nil
}

func configCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check or print settings"}
	check := &cobra.Command{Use: "check [FILE]", Short: "Say what is wrong with a file and the environment", Args: cobra.MaximumNArgs(1), Example: "  penstock config check /etc/penstock.yaml", RunE: func(_ *cobra.Command, args []string) error {
		c, err := t.config(strings.Join(args, ""))
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			return &fault.Error{Kind: fault.Invalid, Err: err, Hint: "mend it; docs/penstock.yaml names every setting"}
		}
		t.say("good")
		return nil
	}}
	show := &cobra.Command{Use: "print [FILE]", Short: "Print every setting as it would hold, secrets masked", Args: cobra.MaximumNArgs(1), Example: "  penstock config print /etc/penstock.yaml -o json", RunE: func(_ *cobra.Command, args []string) error {
		c, err := t.config(strings.Join(args, ""))
		if err != nil {
			return err
		}
		if t.format == "table" || t.format == "yaml" {
			return t.encode(c) // in the order of the sample
		}
		written, err := yaml.Marshal(c)
		if err != nil {
			return err
		}
		var d map[string]any
		if err := yaml.Unmarshal(written, &d); err != nil {
			return err
		}
		return t.printOne(d, func(d map[string]any) []string { return []string{text(d, "data")} })
	}}
	cmd.AddCommand(check, show)
	return cmd
}

// healthCommand is what a container's HEALTHCHECK calls.
func healthCommand(t *terminal) *cobra.Command {
	return &cobra.Command{Use: "health", Short: "Ask the server of this machine whether it can take and persist media", Args: cobra.NoArgs, Example: "  penstock health && echo up", RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := t.config("")
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.ownURL()+"/readyz", nil)
		if err != nil {
			return err
		}
		res, err := ownClient().Do(req)
		if err != nil {
			return unreachable{err}
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("the server answered %s", res.Status)
		}
		t.say("ready: media can be taken and persisted")
		return nil
	}}
}
