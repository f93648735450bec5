package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"penstock/auth"
	"penstock/internal/fault"
)

func keyCommand(t *terminal) *cobra.Command {
	l := &local{t: t}
	cmd := &cobra.Command{Use: "key", Short: "Make, list and revoke access keys (on the data directory, server running or not)"}
	l.bind(cmd)
	var (
		n      auth.NewKey
		admin  bool
		ttl    duration
		policy string
	)
	create := &cobra.Command{Use: "create", Short: "Make a key; its secret and token are shown this once", Args: cobra.NoArgs,
		Example: "  penstock key create --role producer --stream 'front-*'\n  penstock key create --admin -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if admin {
				n.Role = "admin"
			}
			if ttl != "" {
				n.Expires = time.Now().Add(ttl.length())
			}
			if policy != "" {
				text, err := os.ReadFile(policy)
				if err != nil {
					return err
				}
				n.Policy = text
			}
			return l.createKey(cmd.Context(), n)
		}}
	create.Flags().BoolVar(&admin, "admin", false, "the same as --role admin")
	create.Flags().StringVar(&n.Role, "role", "viewer", "admin, operator, viewer, producer or worker")
	create.Flags().StringVar(&n.Name, "name", "", "what you call it")
	create.Flags().StringArrayVar(&n.Streams, "stream", nil, "only streams whose names match this pattern; may be repeated")
	create.Flags().Var(&ttl, "ttl", "how long it works: 12h, 30d (for ever)")
	create.Flags().StringVar(&policy, "policy-file", "", "JSON policy document instead of the role's")
	must(create.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"admin", "operator", "viewer", "producer", "worker"}, cobra.ShellCompDirectiveNoFileComp)))
	ls := &cobra.Command{Use: "ls", Short: "List keys", Args: cobra.NoArgs, Example: "  penstock key ls -o json", RunE: func(cmd *cobra.Command, _ []string) error { return l.listKeys(cmd.Context()) }}
	rm := &cobra.Command{Use: "rm ID...", Short: "Revoke keys and end what they started", Args: cobra.MinimumNArgs(1), Example: "  penstock key rm PSAK...",
		ValidArgsFunction: l.completeKeys, RunE: func(cmd *cobra.Command, ids []string) error {
			a, done, err := l.authority(cmd.Context())
			if err != nil {
				return err
			}
			var errs []error
			for _, id := range ids {
				if err := a.RemoveKey(cmd.Context(), id); err != nil {
					errs = append(errs, err)
				}
			}
			if err := done(); err != nil {
				return errors.Join(append(errs, err)...)
			}
			return some(errs, len(ids))
		}}
	cmd.AddCommand(create, ls, rm)
	return cmd
}

func (l *local) createKey(ctx context.Context, n auth.NewKey) error {
	a, done, err := l.authority(ctx)
	if err != nil {
		return err
	}
	k, err := a.CreateKey(ctx, n)
	var f *fault.Error
	if errors.As(err, &f) && f.Kind == fault.Invalid {
		err = usageError{f.WithHint("penstock key create --help")} // the command line said it
	}
	if err := errors.Join(err, done()); err != nil {
		return err
	}
	if l.t.format != "table" {
		return l.t.printOne(map[string]any{"access_key_id": k.ID, "secret_access_key": k.Secret.Reveal(),
			"token": k.Token.Reveal(), "name": k.Name, "role": k.Role}, keyRow)
	}
	w := tabwriter.NewWriter(l.t.out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "access key id\t%s\nsecret access key\t%s\ntoken\t%s\nrole\t%s\n", k.ID, k.Secret.Reveal(), k.Token.Reveal(), k.Role)
	if err := w.Flush(); err != nil {
		return err
	}
	l.t.say("Keep them now: they are not shown again. The token is also the password for RTSP, with any user name.")
	return nil
}

func (l *local) keys(ctx context.Context) ([]auth.KeyInfo, error) {
	a, done, err := l.authority(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := a.Keys(ctx)
	return keys, errors.Join(err, done())
}

func (l *local) listKeys(ctx context.Context) error {
	keys, err := l.keys(ctx)
	if err != nil {
		return err
	}
	docs := []map[string]any{}
	for _, k := range keys {
		docs = append(docs, map[string]any{"access_key_id": k.ID, "name": k.Name, "role": k.Role, "streams": k.Streams,
			"created": instant(k.Created), "expires": instant(k.Expires), "last_used": instant(k.LastUsed)})
	}
	return l.t.print([]string{"id", "name", "role", "streams", "created", "expires", "last used"}, docs, keyRow)
}

func keyRow(d map[string]any) []string {
	streams, _ := d["streams"].([]string)
	return []string{text(d, "access_key_id"), text(d, "name"), text(d, "role"), strings.Join(streams, ","),
		text(d, "created"), text(d, "expires"), text(d, "last_used")}
}

func (l *local) completeKeys(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	keys, err := l.keys(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []string
	for _, k := range keys {
		ids = append(ids, cobra.CompletionWithDesc(k.ID, k.Name+" "+k.Role))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
