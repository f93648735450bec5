package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"penstock/internal/fault"
)

// strict makes every command of the tree refuse what it does not know, as a mistake in
// usage: cobra prints help for it and calls that a success.
func strict(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	if c, _, err := root.Find([]string{"completion"}); err == nil && c != root {
		for _, shell := range c.Commands() {
			shell.Example = "  penstock completion " + shell.Name()
		}
	}
	root.SetFlagErrorFunc(mistyped)
	each(root, func(cmd *cobra.Command) {
		if !cmd.Runnable() {
			// Not by a usage template of our own: text/template calls methods by name, so the
			// linker would keep every method there is, 4 MB of them.
			cmd.Args, cmd.RunE, cmd.DisableFlagsInUseLine = cobra.ArbitraryArgs, subcommandOf, true
			return
		}
		if check := cmd.Args; check != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return mistyped(cmd, err)
				}
				return nil
			}
		}
	})
}

// group orders the commands of root under headings; what is under none is for the rest.
func group(root *cobra.Command) {
	for _, g := range []struct{ title, commands string }{
		{"The server:", "serve doctor bench health config verify reindex"},
		{"Video:", "camera stream event watch snapshot clip talk"},
		{"Data records:", "data consumer agent"},
		{"Who may do what:", "key password link auth audit"},
	} {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, name := range strings.Fields(g.commands) {
			for _, c := range root.Commands() {
				if c.Name() == name {
					c.GroupID = g.title
				}
			}
		}
	}
}

// each visits a command and all below it.
func each(cmd *cobra.Command, visit func(*cobra.Command)) {
	for _, c := range cmd.Commands() {
		each(c, visit)
	}
	visit(cmd)
}

// mistyped sends whoever typed cmd to its help, unless err knows better.
func mistyped(cmd *cobra.Command, err error) error {
	if fault.HintOf(err) != "" {
		return usageError{err}
	}
	return usageError{&fault.Error{Kind: fault.Invalid, Err: err, Hint: cmd.CommandPath() + " --help"}}
}

// subcommandOf is what a command does that only has others below it.
func subcommandOf(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	hint := cmd.CommandPath() + " --help"
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		hint = cmd.CommandPath() + " " + like[0]
	}
	return usageError{fault.New(fault.Invalid, "find command", cmd.CommandPath()+" "+args[0], "there is none").WithHint(hint)}
}

// must is for what only a mistake in this program can break.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func versionCommand(t *terminal) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, Example: "  penstock version -o json",
		RunE: func(*cobra.Command, []string) error {
			if t.format == "table" {
				_, err := fmt.Fprintln(t.out, version)
				return err
			}
			d := map[string]any{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH}
			if b, ok := debug.ReadBuildInfo(); ok {
				for _, s := range b.Settings {
					if s.Key == "vcs.revision" {
						d["revision"] = s.Value
					}
				}
			}
			return t.printOne(d, func(d map[string]any) []string { return []string{text(d, "version")} })
		}}
}
