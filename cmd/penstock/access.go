package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"penstock/auth"
	"penstock/internal/fault"
)

// question is what `penstock auth` asks the accounts about.
type question struct {
	principal, action, resource, source string
	secure                              bool
}

// authCommand explains decisions: it changes nothing.
func authCommand(t *terminal) *cobra.Command {
	l := &local{t: t}
	cmd := &cobra.Command{Use: "auth", Short: "Ask who may do what, and which statement says so (on the data directory)"}
	l.bind(cmd)
	var q question
	test := &cobra.Command{Use: "test", Short: "Say whether a key or person may do something; exits 4 when not", Args: cobra.NoArgs,
		Example: "  penstock auth test --principal PSAK... --action kinesisvideo:GetMedia --resource arn:aws:kinesisvideo:us-east-1:000000000000:stream/front/1767323045000",
		RunE:    func(cmd *cobra.Command, _ []string) error { return l.testAccess(cmd.Context(), q) }}
	test.Flags().StringVar(&q.principal, "principal", "", "key id or person's name")
	who := &cobra.Command{Use: "who-can", Short: "List who may do something", Args: cobra.NoArgs,
		Example: "  penstock auth who-can --action penstock:ManageKeys --resource arn:aws:penstock::000000000000:system",
		RunE:    func(cmd *cobra.Command, _ []string) error { return l.whoCan(cmd.Context(), q) }}
	for _, c := range []*cobra.Command{test, who} {
		c.Flags().StringVar(&q.action, "action", "", "such as kinesisvideo:GetMedia or penstock:ManageKeys")
		c.Flags().StringVar(&q.resource, "resource", "", "ARN of a stream (`penstock stream info`), or arn:aws:penstock::ACCOUNT:system")
		c.Flags().StringVar(&q.source, "source-ip", "", "the caller's address, for policies that ask for it")
		c.Flags().BoolVar(&q.secure, "tls", false, "the caller comes over TLS")
	}
	cmd.AddCommand(test, who)
	return cmd
}

func (q question) check() error {
	switch {
	case strings.Count(q.action, ":") != 1:
		return usageError{fmt.Errorf("--action %q: not SERVICE:OPERATION", q.action)}
	case !strings.HasPrefix(q.resource, "arn:") || strings.Count(q.resource, ":") < 5:
		return usageError{fmt.Errorf("--resource %q: not an ARN", q.resource)}
	}
	return nil
}

func (q question) context() auth.Context { return auth.Context{SourceIP: q.source, Secure: q.secure} }

// testAccess prints the decision on one principal.
func (l *local) testAccess(ctx context.Context, q question) (err error) {
	if err := q.check(); err != nil {
		return err
	}
	a, done, err := l.authority(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	p, err := a.Find(q.principal)
	if err != nil {
		return err
	}
	d := a.Explain(p, auth.Action(q.action), q.resource, q.context())
	if err := l.t.decisions([]auth.Decision{d}); err != nil {
		return err
	}
	if !d.Allowed {
		return fault.New(fault.Denied, q.action, q.resource, d.Reason)
	}
	return nil
}

// whoCan prints the principals that are allowed, and those that a statement denies.
func (l *local) whoCan(ctx context.Context, q question) error {
	if err := q.check(); err != nil {
		return err
	}
	a, done, err := l.authority(ctx)
	if err != nil {
		return err
	}
	list := a.WhoCan(auth.Action(q.action), q.resource, q.context())
	if err := done(); err != nil {
		return err
	}
	allowed, shown := 0, list[:0]
	for _, d := range list {
		if d.Allowed {
			allowed++
		}
		if d.Allowed || d.Statement > 0 {
			shown = append(shown, d)
		}
	}
	l.t.say("%d of %d people and keys may", allowed, len(list))
	return l.t.decisions(shown)
}

func (t *terminal) decisions(list []auth.Decision) error {
	docs := []map[string]any{}
	for _, d := range list {
		docs = append(docs, map[string]any{"decision": verdict(d), "principal": d.Principal, "by": decided(d)})
	}
	return t.print([]string{"principal", "decision", "by"}, docs, func(d map[string]any) []string {
		return []string{text(d, "principal"), text(d, "decision"), text(d, "by")}
	})
}

func verdict(d auth.Decision) string {
	if d.Allowed {
		return "allow"
	}
	return "deny"
}

// decided names the statement that decided, or says why none did.
func decided(d auth.Decision) string {
	if d.Statement > 0 && d.Sid != "" {
		return d.Reason + " (Sid " + d.Sid + ")"
	}
	return d.Reason
}
