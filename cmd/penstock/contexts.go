package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"penstock/internal/fault"
)

// Limits of the file of saved contexts.
const (
	contextsMax  = 256
	contextsSize = 1 << 20
)

// savedContext is a server that the user named, with a token for it. It is never printed
// as it is: its token is a secret.
type savedContext struct {
	Name   string `yaml:"name"`
	Server string `yaml:"server"`
	Token  string `yaml:"token,omitempty"`
	CAFile string `yaml:"ca_file,omitempty"`
}

// savedContexts is the file.
type savedContexts struct {
	Use      string         `yaml:"use,omitempty"`
	Contexts []savedContext `yaml:"contexts"`
}

func (s *savedContexts) find(name string) (savedContext, error) {
	for _, c := range s.Contexts {
		if c.Name == name {
			return c, nil
		}
	}
	return savedContext{}, fault.New(fault.NotFound, "find context", name, "there is none of this name").WithHint("penstock context ls")
}

// contextsFile is where the contexts of this user are; "": nowhere.
func (t *terminal) contextsFile() (string, error) {
	if t.confDir == nil {
		return "", nil
	}
	dir, err := t.confDir()
	if err != nil {
		return "", nil //nolint:nilerr // a service without a home has no contexts
	}
	return filepath.Join(dir, "penstock", "contexts.yaml"), nil
}

// readContexts reads the file; none is no error.
func (t *terminal) readContexts() (s savedContexts, err error) {
	file, err := t.contextsFile()
	if err != nil || file == "" {
		return s, err
	}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read contexts: %w", err)
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return s, fault.New(fault.Denied, "read contexts", file, "others on this machine can read it, and it holds tokens").WithHint("chmod 600 " + file)
	}
	text, err := io.ReadAll(io.LimitReader(f, contextsSize))
	if err != nil {
		return s, fmt.Errorf("read contexts: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return s, fault.Wrap(fault.Invalid, "read contexts", file, err)
	}
	return s, nil
}

// writeContexts replaces the file, which nobody else may read.
func (t *terminal) writeContexts(s savedContexts) error {
	file, err := t.contextsFile()
	if err != nil {
		return err
	}
	if file == "" {
		return fault.New(fault.Unavailable, "save context", "", "this user has no home").WithHint("set PENSTOCK_SERVER and PENSTOCK_TOKEN instead")
	}
	body, err := yaml.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(file), ".contexts-*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = part.Write(body)
	if err := errors.Join(err, part.Sync(), part.Close()); err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return os.Rename(part.Name(), file)
}

func contextCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{Use: "context", Short: "Save servers and their tokens under names"}
	var add savedContext
	var tokenFile string
	var use bool
	create := &cobra.Command{Use: "add NAME", Short: "Save a server; asks for the token, or reads it from a file or standard input", Args: cobra.ExactArgs(1),
		Example: "  penstock context add home --server https://penstock.example:8080\n  penstock context add site --server http://10.0.0.7:8080 --token-file site.token",
		RunE: func(_ *cobra.Command, args []string) error {
			add.Name = args[0]
			return t.addContext(add, tokenFile, use)
		}}
	create.Flags().StringVar(&add.Server, "server", "", "`URL` of the server (required)")
	create.Flags().StringVar(&tokenFile, "token-file", "-", "`FILE` with the token of a key; - asks, or reads standard input")
	create.Flags().StringVar(&add.CAFile, "ca-file", "", "`FILE` with an authority, or self-signed certificate, to trust too")
	create.Flags().BoolVar(&use, "use", false, "use it from now on; the first that is saved is used anyway")
	ls := &cobra.Command{Use: "ls", Short: "List saved servers", Args: cobra.NoArgs, Example: "  penstock context ls -o name",
		RunE: func(*cobra.Command, []string) error { return t.listContexts() }}
	choose := &cobra.Command{Use: "use NAME", Short: "Have commands talk to this server from now on", Args: cobra.ExactArgs(1), Example: "  penstock context use home",
		ValidArgsFunction: t.completeContexts, RunE: func(_ *cobra.Command, args []string) error { return t.useContext(args[0]) }}
	rm := &cobra.Command{Use: "rm NAME...", Short: "Forget saved servers and their tokens", Args: cobra.MinimumNArgs(1), Example: "  penstock context rm home",
		ValidArgsFunction: t.completeContexts, RunE: func(_ *cobra.Command, args []string) error { return t.removeContexts(args) }}
	cmd.AddCommand(create, ls, choose, rm)
	return cmd
}

func (t *terminal) addContext(add savedContext, tokenFile string, use bool) error {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`).MatchString(add.Name) {
		return usageError{fmt.Errorf("name %q: not 1 to 64 letters, digits, dots, dashes and underscores", add.Name)}
	}
	u, err := url.Parse(add.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return usageError{fault.New(fault.Invalid, "save context", add.Name, "--server is not a URL without user and password").WithHint("--server http://HOST:8080")}
	}
	add.Server = strings.TrimRight(add.Server, "/")
	if add.CAFile != "" {
		if _, err := trusting(add.CAFile); err != nil {
			return err
		}
		if add.CAFile, err = filepath.Abs(add.CAFile); err != nil {
			return err
		}
	}
	if add.Token, err = t.secret(tokenFile, "token: "); err != nil {
		return err
	}
	switch {
	case add.Token == "":
		t.say("no token was given: the server will refuse most of what is asked of it")
	case u.Scheme == "http" && !isLoopback(net.JoinHostPort(u.Hostname(), "0")):
		t.say("the token goes there in the clear: whoever sees the network can take it; https hides it")
	}
	s, err := t.readContexts()
	if err != nil {
		return err
	}
	s.Contexts = slices.DeleteFunc(s.Contexts, func(c savedContext) bool { return c.Name == add.Name })
	if len(s.Contexts) >= contextsMax {
		return fault.New(fault.Invalid, "save context", add.Name, fmt.Sprintf("there are %d already", contextsMax)).WithHint("penstock context rm NAME")
	}
	s.Contexts = append(s.Contexts, add)
	if use || s.Use == "" {
		s.Use = add.Name
	}
	if err := t.writeContexts(s); err != nil {
		return err
	}
	if s.Use == add.Name {
		t.say("%s is saved, and commands use it", add.Name)
	} else {
		t.say("%s is saved; `penstock context use %s` makes commands use it", add.Name, add.Name)
	}
	return nil
}

func (t *terminal) listContexts() error {
	s, err := t.readContexts()
	if err != nil {
		return err
	}
	docs := []map[string]any{}
	for _, c := range s.Contexts {
		docs = append(docs, map[string]any{"name": c.Name, "server": c.Server, "in_use": c.Name == s.Use, "token_set": c.Token != "", "ca_file": c.CAFile})
	}
	return t.print([]string{"name", "server", "token", "in use"}, docs, func(d map[string]any) []string {
		return []string{text(d, "name"), text(d, "server"), yes(d["token_set"]), yes(d["in_use"])}
	})
}

func yes(v any) string {
	if v == true {
		return "yes"
	}
	return "-"
}

func (t *terminal) useContext(name string) error {
	s, err := t.readContexts()
	if err != nil {
		return err
	}
	c, err := s.find(name)
	if err != nil {
		return err
	}
	s.Use = name
	if err := t.writeContexts(s); err != nil {
		return err
	}
	t.say("commands talk to %s", c.Server)
	return nil
}

func (t *terminal) removeContexts(names []string) error {
	s, err := t.readContexts()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if _, err := s.find(name); err != nil {
			errs = append(errs, err)
			continue
		}
		s.Contexts = slices.DeleteFunc(s.Contexts, func(c savedContext) bool { return c.Name == name })
		if s.Use == name {
			s.Use = ""
		}
	}
	if len(errs) < len(names) {
		if err := t.writeContexts(s); err != nil {
			return err
		}
	}
	return some(errs, len(names))
}

// some is the outcome of work on n things: that some of them failed is exit code 6.
func some(errs []error, n int) error {
	if len(errs) > 0 && len(errs) < n {
		return partly{errors.Join(errs...)}
	}
	return errors.Join(errs...)
}

func (t *terminal) completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	s, err := t.readContexts()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, c := range s.Contexts {
		names = append(names, cobra.CompletionWithDesc(c.Name, c.Server))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
