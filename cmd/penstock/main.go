// Command penstock is Amazon Kinesis on your own machines, video first: one binary
// that takes cameras in, keeps what they send, and shows it live and back in time.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set when a release is linked.
var version = "devel"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	t := &terminal{out: os.Stdout, err: os.Stderr, in: os.Stdin, env: os.LookupEnv, confDir: os.UserConfigDir}
	code := t.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is main without the process: it returns the exit code.
func (t *terminal) run(ctx context.Context, args []string) int {
	root := rootCommand(t)
	root.SetArgs(args)
	return t.report(root.ExecuteContext(ctx))
}

func rootCommand(t *terminal) *cobra.Command {
	root := &cobra.Command{
		Use: "penstock", Short: "Amazon Kinesis on your own machines, video first",
		Long: "Penstock takes cameras and sensors in, keeps what they send, and shows it live and back in time.\n\n" +
			"Start with:  penstock serve --demo",
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return t.checkFormat() },
	}
	root.SetOut(t.out)
	root.SetErr(t.err)
	t.bind(root)
	root.AddCommand(serveCommand(t), doctorCommand(t), benchCommand(t), keyCommand(t), passwordCommand(t), linkCommand(t), contextCommand(t),
		streamCommand(t), eventCommand(t), cameraCommand(t), watchCommand(t), snapshotCommand(t), clipCommand(t), talkCommand(t), dataCommand(t), consumerCommand(t), agentCommand(t),
		verifyCommand(t), reindexCommand(t), authCommand(t), auditCommand(t), configCommand(t), healthCommand(t), versionCommand(t))
	group(root)
	strict(root)
	return root
}
