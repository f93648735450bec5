package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"penstock/auth"
	"penstock/auth/audit"
	"penstock/fragments"
	"penstock/internal/quantity"
	"penstock/records"
)

// local opens what a command needs of a data directory, whether the server runs or not.
type local struct {
	t      *terminal
	config string
	data   string
}

func (l *local) bind(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&l.data, "data", "", "data directory (PENSTOCK_DATA; penstock-data)")
	cmd.PersistentFlags().StringVar(&l.config, "config", "", "YAML file with settings")
}

func (l *local) settle() (config, error) {
	c, err := readConfig(l.config, l.t.env)
	if err != nil {
		return c, usageError{err}
	}
	if l.data != "" {
		c.Data = l.data
	}
	return c, nil
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
		return nil, nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.DiscardHandler)
	trail, err := audit.Open(ctx, audit.Config{Dir: dir})
	if err != nil {
		return nil, nil, errors.Join(err, lock.Close())
	}
	db, err := openMeta(ctx, c.Data, log, nil)
	if err != nil {
		return nil, nil, errors.Join(err, trail.Close(), lock.Close())
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

func keyCommand(t *terminal) *cobra.Command {
	l := &local{t: t}
	cmd := &cobra.Command{Use: "key", Short: "Make, list and revoke access keys (on the data directory, server running or not)"}
	l.bind(cmd)
	var (
		n        auth.NewKey
		admin    bool
		ttl, out string
		policy   string
	)
	create := &cobra.Command{Use: "create", Short: "Make a key; its secret and token are shown this once", Args: cobra.NoArgs,
		Example: "  penstock key create --role producer --stream 'front-*'\n  penstock key create --admin -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if admin {
				n.Role = "admin"
			}
			if ttl != "" {
				d, err := quantity.Duration(ttl)
				if err != nil {
					return usageError{err}
				}
				n.Expires = time.Now().Add(d)
			}
			if policy != "" {
				text, err := os.ReadFile(policy)
				if err != nil {
					return err
				}
				n.Policy = text
			}
			return l.createKey(cmd.Context(), n, out)
		}}
	create.Flags().BoolVar(&admin, "admin", false, "the same as --role admin")
	create.Flags().StringVar(&n.Role, "role", "viewer", "admin, operator, viewer, producer or worker")
	create.Flags().StringVar(&n.Name, "name", "", "what you call it")
	create.Flags().StringArrayVar(&n.Streams, "stream", nil, "only streams whose names match this pattern; may be repeated")
	create.Flags().StringVar(&ttl, "ttl", "", "how long it works: 12h, 30d (for ever)")
	create.Flags().StringVar(&policy, "policy-file", "", "JSON policy document instead of the role's")
	create.Flags().StringVarP(&out, "output", "o", "table", "table or json")
	ls := &cobra.Command{Use: "ls", Short: "List keys", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return l.listKeys(cmd.Context()) }}
	rm := &cobra.Command{Use: "rm ID...", Short: "Revoke keys and end what they started", Args: atLeast(1), RunE: func(cmd *cobra.Command, ids []string) error {
		a, done, err := l.authority(cmd.Context())
		if err != nil {
			return err
		}
		for _, id := range ids {
			err = errors.Join(err, a.RemoveKey(cmd.Context(), id))
		}
		return errors.Join(err, done())
	}}
	cmd.AddCommand(create, ls, rm)
	return cmd
}

func (l *local) createKey(ctx context.Context, n auth.NewKey, out string) error {
	a, done, err := l.authority(ctx)
	if err != nil {
		return err
	}
	k, err := a.CreateKey(ctx, n)
	if err := errors.Join(err, done()); err != nil {
		return err
	}
	if out == "json" {
		return json.NewEncoder(l.t.out).Encode(map[string]string{"access_key_id": k.ID, "secret_access_key": k.Secret.Reveal(),
			"token": k.Token.Reveal(), "name": k.Name, "role": k.Role})
	}
	w := tabwriter.NewWriter(l.t.out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "access key id\t%s\nsecret access key\t%s\ntoken\t%s\nrole\t%s\n", k.ID, k.Secret.Reveal(), k.Token.Reveal(), k.Role)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(l.t.err, "Keep them now: they are not shown again. The token is also the password for RTSP, with any user name.")
	return nil
}

func (l *local) listKeys(ctx context.Context) error {
	a, done, err := l.authority(ctx)
	if err != nil {
		return err
	}
	keys, err := a.Keys(ctx)
	if err := errors.Join(err, done()); err != nil {
		return err
	}
	w := tabwriter.NewWriter(l.t.out, 0, 4, 3, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tROLE\tSTREAMS\tCREATED\tEXPIRES\tLAST USED")
	for _, k := range keys {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, k.Role, strings.Join(k.Streams, ","), day(k.Created), day(k.Expires), day(k.LastUsed))
	}
	return w.Flush()
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format("2006-01-02 15:04")
}

func linkCommand(t *terminal) *cobra.Command {
	l := &local{t: t}
	cmd := &cobra.Command{Use: "link", Short: "Print a sign-in link for the console that works once", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
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
		at := "http://" + friendly(c.HTTP)
		if c.secure() {
			at = "https://" + friendly(c.HTTP)
		}
		if c.PublicURL != "" {
			at = strings.TrimRight(c.PublicURL, "/")
		}
		_, err = fmt.Fprintln(t.out, at+"/#link="+link.Reveal())
		return err
	}}
	l.bind(cmd)
	return cmd
}

func passwordCommand(t *terminal) *cobra.Command {
	l := &local{t: t}
	cmd := &cobra.Command{Use: "password", Short: "Set the console's password"}
	l.bind(cmd)
	var file, person string
	set := &cobra.Command{Use: "set", Short: "Set it; asks for it, or reads it from a file", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		secret, err := t.secret(file, "new password: ")
		if err != nil {
			return err
		}
		a, done, err := l.authority(cmd.Context())
		if err != nil {
			return err
		}
		return errors.Join(a.SetPassword(cmd.Context(), person, secret), done())
	}}
	set.Flags().StringVar(&file, "password-file", "-", "file with the password; - asks, or reads standard input")
	set.Flags().StringVar(&person, "user", auth.AdminName, "whose")
	cmd.AddCommand(set)
	return cmd
}

// secret reads a secret from a file, or asks for it: never from the command line,
// where everyone on the machine can read it. An empty file name is no secret.
func (t *terminal) secret(file, ask string) (string, error) {
	switch {
	case file == "":
		return "", nil
	case file != "-":
		text, err := os.ReadFile(file)
		return strings.TrimRight(string(text), "\r\n"), err
	case term.IsTerminal(int(os.Stdin.Fd())):
		fmt.Fprint(t.err, ask)
		text, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(t.err)
		return string(text), err
	}
	line, err := bufio.NewReader(io.LimitReader(os.Stdin, 4096)).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}

// offline opens what is stored in a data directory that no server runs on.
func offline(ctx context.Context, t *terminal, dir string) (conf stored, done func() error, err error) {
	c, err := readConfig("", t.env)
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
	if d.meta, err = openMeta(ctx, dir, d.log, nil); err != nil {
		return conf, nil, errors.Join(err, lock.Close())
	}
	done = func() error { return errors.Join(d.meta.Close(), lock.Close()) }
	bucket, err := d.openBucket(ctx)
	if err != nil {
		return conf, nil, errors.Join(err, done())
	}
	return stored{d.fragmentsConfig(bucket), records.Config{
		Dir: dir, Bucket: bucket, Meta: d.meta, Lanes: c.DataStreams.Lanes, Logger: d.log,
	}}, done, nil
}

// stored says where video and where data records are.
type stored struct {
	video fragments.Config
	data  records.Config
}

func verifyCommand(t *terminal) *cobra.Command {
	var repair bool
	cmd := &cobra.Command{Use: "verify DIR", Short: "Read everything stored in a data directory and check it", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return t.inspect(cmd.Context(), args[0], func(c stored, heard func(fragments.Finding)) (fragments.Report, error) {
			return fragments.Verify(cmd.Context(), c.video, repair, heard)
		}, func(c stored, heard func(records.Finding)) (records.Report, error) {
			return records.Verify(cmd.Context(), c.data, repair, heard)
		})
	}}
	cmd.Flags().BoolVar(&repair, "repair", false, "cut torn tails off, take lost chunks back in, and hide what cannot be read")
	return cmd
}

func reindexCommand(t *terminal) *cobra.Command {
	return &cobra.Command{Use: "reindex DIR", Short: "Rebuild the index of a data directory from its chunks and segments", Args: exactly(1), RunE: func(cmd *cobra.Command, args []string) error {
		return t.inspect(cmd.Context(), args[0], func(c stored, heard func(fragments.Finding)) (fragments.Report, error) {
			return fragments.Reindex(cmd.Context(), c.video, heard)
		}, func(c stored, heard func(records.Finding)) (records.Report, error) {
			return records.Reindex(cmd.Context(), c.data, heard)
		})
	}}
}

// inspect runs work on a data directory and prints what it finds as it is found.
func (t *terminal) inspect(ctx context.Context, dir string, video func(stored, func(fragments.Finding)) (fragments.Report, error),
	data func(stored, func(records.Finding)) (records.Report, error)) (err error) {
	c, done, err := offline(ctx, t, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	tell := func(object string, offset int64, text string, fixed bool) {
		mark := "bad  "
		if fixed {
			mark = "fixed"
		}
		fmt.Fprintf(t.out, "%s  %s  offset %d  %s\n", mark, object, offset, text)
	}
	sum, err := video(c, func(f fragments.Finding) { tell(f.Object, f.Offset, f.Text, f.Fixed) })
	if err != nil {
		return err
	}
	kept, err := data(c, func(f records.Finding) { tell(f.Object, f.Offset, f.Stream+": "+f.Text, f.Fixed) })
	if err != nil {
		return err
	}
	fmt.Fprintf(t.err, "%d streams, %d chunks, %d fragments, %s\n", sum.Streams, sum.Chunks, sum.Fragments, quantity.Bytes(sum.Bytes))
	fmt.Fprintf(t.err, "%d data streams, %d segments, %d records, %s\n", kept.Streams, kept.Segments, kept.Records, quantity.Bytes(kept.Bytes))
	switch {
	case sum.Damaged > 0 && kept.Damaged > 0:
		return partly{fmt.Errorf("%d of %d chunks are damaged, and so are data records in %d places; the rest can be read", sum.Damaged, sum.Chunks, kept.Damaged)}
	case sum.Damaged > 0:
		return partly{fmt.Errorf("%d of %d chunks are damaged; what they hold is hidden, the rest can be read", sum.Damaged, sum.Chunks)}
	case kept.Damaged > 0:
		return partly{fmt.Errorf("data records are damaged in %d places; the rest can be read", kept.Damaged)}
	}
	return nil
}

func configCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Check or print settings"}
	check := &cobra.Command{Use: "check [FILE]", Short: "Say what is wrong with a file and the environment", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		c, err := readConfig(strings.Join(args, ""), t.env)
		if err == nil {
			err = c.Validate()
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(t.err, "good")
		return nil
	}}
	show := &cobra.Command{Use: "print [FILE]", Short: "Print every setting as it would hold, secrets masked", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		c, err := readConfig(strings.Join(args, ""), t.env)
		if err != nil {
			return err
		}
		return yaml.NewEncoder(t.out).Encode(c)
	}}
	cmd.AddCommand(check, show)
	return cmd
}

// healthCommand is what a container's HEALTHCHECK calls.
func healthCommand(t *terminal) *cobra.Command {
	return &cobra.Command{Use: "health", Short: "Ask the server of this machine whether it can take and persist media", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		file, _ := t.env("PENSTOCK_CONFIG")
		c, err := readConfig(file, t.env)
		if err != nil {
			return err
		}
		scheme := "http"
		if c.secure() {
			scheme = "https"
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+friendly(c.HTTP)+"/readyz", nil)
		if err != nil {
			return err
		}
		// It asks its own machine, by a name that the certificate need not have, and sends
		// nothing that a stranger could use.
		own := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
		res, err := own.Do(req)
		if err != nil {
			return unreachable{err}
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("the server answered %s", res.Status)
		}
		return nil
	}}
}
