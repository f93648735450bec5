// Command penstock is Amazon Kinesis on your own machines, video first: one binary
// that takes cameras in, keeps what they send, and shows it live and back in time.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"penstock/internal/fault"
)

// version is set when a release is linked.
var version = "devel"

// Exit codes of the command line.
const (
	exitFailed = iota + 1
	exitUsage
	exitNotFound
	exitDenied
	exitUnreachable
	exitPartly
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.LookupEnv)
	stop()
	os.Exit(code)
}

// terminal is what a command talks to: stdout is data, stderr is words.
type terminal struct {
	out, err io.Writer
	in       io.Reader // nil: standard input
	env      func(string) (string, bool)
}

// run is main without the process: it returns the exit code.
func run(ctx context.Context, args []string, out, errs io.Writer, env func(string) (string, bool)) int {
	t := &terminal{out: out, err: errs, env: env}
	root := rootCommand(t)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	return t.report(root.ExecuteContext(ctx))
}

func rootCommand(t *terminal) *cobra.Command {
	root := &cobra.Command{
		Use: "penstock", Short: "Amazon Kinesis on your own machines, video first",
		Long: "Penstock takes cameras and sensors in, keeps what they send, and shows it live and back in time.\n\n" +
			"Start with:  penstock serve --demo",
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(serveCommand(t), keyCommand(t), passwordCommand(t), linkCommand(t), streamCommand(t), cameraCommand(t), dataCommand(t), agentCommand(t),
		clipCommand(t), snapshotCommand(t), verifyCommand(t), reindexCommand(t), authCommand(t), auditCommand(t), configCommand(t), healthCommand(t), versionCommand(t))
	return root
}

func versionCommand(t *terminal) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		_, err := fmt.Fprintln(t.out, version)
		return err
	}}
}

// usageError is a mistake in how a command was typed.
type usageError struct{ error }

// partly is an outcome in which some of the work failed.
type partly struct{ error }

// unreachable is a server that did not answer.
type unreachable struct{ error }

// report prints err as one line, its next step as another, and picks the exit code.
func (t *terminal) report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(t.err, "penstock: %v\n", err)
	hint := fault.HintOf(err)
	code := exitFailed
	var (
		usage usageError
		part  partly
		gone  unreachable
	)
	switch {
	case errors.As(err, &usage):
		code = exitUsage
		if hint == "" {
			hint = "penstock --help"
		}
	case errors.As(err, &part):
		code = exitPartly
	case errors.As(err, &gone):
		code = exitUnreachable
		if hint == "" {
			hint = "start it with `penstock serve`, or name it with --server URL"
		}
	case fault.Is(err, fault.NotFound), errors.Is(err, os.ErrNotExist):
		code = exitNotFound
	case fault.Is(err, fault.Denied), fault.Is(err, fault.Unauthentic), errors.Is(err, os.ErrPermission):
		code = exitDenied
	}
	if hint != "" {
		fmt.Fprintf(t.err, "try: %s\n", hint)
	}
	return code
}
