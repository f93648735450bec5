package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"penstock/internal/fault"
)

// Exit codes of the command line.
const (
	exitFailed = iota + 1
	exitUsage
	exitNotFound
	exitDenied
	exitUnreachable
	exitPartly
)

// terminal is what a command talks to: stdout is data, stderr is words.
type terminal struct {
	out, err io.Writer
	in       io.Reader // nil: standard input
	env      func(string) (string, bool)
	confDir  func() (string, error) // where the user's settings are; nil: nowhere

	format string // of what is printed: --output
	quiet  bool   // no words but errors
}

func formats() []string { return []string{"table", "json", "jsonl", "yaml", "name"} }

// bind adds the flags that all commands share.
func (t *terminal) bind(root *cobra.Command) {
	root.PersistentFlags().StringVarP(&t.format, "output", "o", "table", "table, json, jsonl, yaml or name")
	root.PersistentFlags().BoolVarP(&t.quiet, "quiet", "q", false, "print data and errors alone, no words and no progress")
	must(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats(), cobra.ShellCompDirectiveNoFileComp)))
}

func (t *terminal) checkFormat() error {
	if slices.Contains(formats(), t.format) {
		return nil
	}
	return usageError{fmt.Errorf("output %q: not table, json, jsonl, yaml or name", t.format)}
}

// say prints words for a person.
func (t *terminal) say(format string, args ...any) {
	if !t.quiet {
		fmt.Fprintf(t.err, format+"\n", args...)
	}
}

// lively reports whether w is a terminal, where lines can be drawn over.
func (t *terminal) lively(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// attended reports whether anything of it is a terminal that is still there.
func (t *terminal) attended() bool { return t.lively(t.in) || t.lively(t.out) || t.lively(t.err) }

// paint colours a word that is printed on stdout, where that is a terminal and NO_COLOR is
// not set (no-color.org).
func (t *terminal) paint(word, ansi string) string {
	if plain, set := t.env("NO_COLOR"); set && plain != "" || !t.lively(t.out) {
		return word
	}
	return "\x1b[" + ansi + "m" + word + "\x1b[0m"
}

// input is where standard input comes from.
func (t *terminal) input() io.Reader {
	if t.in != nil {
		return t.in
	}
	return os.Stdin
}

// secretMax bounds a secret that is read: tokens have 60 bytes.
const secretMax = 4096

// secret reads a secret from a file, or asks for it: never from the command line,
// where everyone on the machine can read it. An empty file name is no secret.
func (t *terminal) secret(file, ask string) (string, error) {
	in := t.input()
	f, tty := in.(*os.File)
	switch {
	case file == "":
		return "", nil
	case file != "-":
		text, err := os.ReadFile(file)
		return strings.TrimRight(string(text), "\r\n"), err
	case tty && term.IsTerminal(int(f.Fd())):
		fmt.Fprint(t.err, ask)
		text, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(t.err)
		return string(text), err
	}
	line, err := bufio.NewReader(io.LimitReader(in, secretMax)).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}

// usageError is a mistake in how a command was typed.
type usageError struct{ error }

// Unwrap keeps the hint of what was wrong.
func (e usageError) Unwrap() error { return e.error }

// partly is an outcome in which some of the work failed.
type partly struct{ error }

// Unwrap keeps the hint of what failed.
func (e partly) Unwrap() error { return e.error }

// unreachable is a server that did not answer.
type unreachable struct{ error }

// Unwrap keeps the hint of why.
func (e unreachable) Unwrap() error { return e.error }

// report prints err as one line, its next step as another, and picks the exit code.
func (t *terminal) report(err error) int {
	if err == nil {
		return 0
	}
	code, hint := exitFailed, "penstock doctor"
	var (
		usage usageError
		part  partly
		gone  unreachable
		file  *os.PathError
	)
	switch {
	case errors.As(err, &usage):
		code, hint = exitUsage, "penstock --help"
	case errors.As(err, &part):
		code, hint = exitPartly, "mend what is named here, and run it again"
	case errors.Is(err, context.Canceled):
		err, hint = errors.New("interrupted"), "run it again"
	case errors.As(err, &gone):
		code, hint = exitUnreachable, "start it with `penstock serve`, or name it with --server URL"
	case errors.As(err, &file) && errors.Is(file, os.ErrPermission):
		code, hint = exitDenied, fmt.Sprintf("let the user that runs this (uid %d) use %s, or run it as its owner", os.Getuid(), file.Path)
	case fault.Is(err, fault.NotFound), errors.Is(err, os.ErrNotExist):
		code, hint = exitNotFound, "look for the name with `ls`, or check the path"
	case fault.Is(err, fault.Denied), fault.Is(err, fault.Unauthentic), errors.Is(err, os.ErrPermission):
		code, hint = exitDenied, "use a key that may; `penstock auth test` names what decides"
	case fault.Is(err, fault.Invalid):
		hint = "see what may be given with --help"
	case fault.Is(err, fault.InUse):
		hint = "choose another name, or look at what has it"
	case fault.Is(err, fault.Throttled):
		hint = "run it again in a moment"
	}
	if own := fault.HintOf(err); own != "" {
		hint = own
	}
	fmt.Fprintf(t.err, "penstock: %s\ntry: %s\n", oneLine(err.Error()), oneLine(hint))
	return code
}

// oneLine joins the lines of a text, so that a script finds an error in one.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return plain(strings.Join(lines, "; "))
}

// Colours of words on a terminal.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
)
