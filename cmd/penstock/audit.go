package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"penstock/auth/audit"
	"penstock/internal/host"
	"penstock/storage/meta"
)

// auditCommand shows the audit log of a server, and checks those of a data directory: the
// server's, and that of commands on it.
func auditCommand(t *terminal) *cobra.Command {
	l, c := &local{t: t}, &client{t: t}
	cmd := &cobra.Command{Use: "audit", Short: "Show and check the audit log"}
	verify := &cobra.Command{Use: "verify", Short: "Follow the chain of hashes; says where it breaks", Args: cobra.NoArgs,
		Example: "  penstock audit verify --data /var/lib/penstock",
		Long: "Follows the chain of hashes through the audit logs of a data directory, server running or not.\n\n" +
			"That lines were cut off at the end shows against the metadata store, which knows the newest line but for\n" +
			"those of the last ten seconds before a crash. Whoever may write both can hide it: note the newest hash elsewhere.",
		RunE: func(cmd *cobra.Command, _ []string) error { return l.verifyAudit(cmd.Context()) }}
	l.bind(verify)
	cmd.AddCommand(verify, auditListCommand(c))
	return cmd
}

// auditQuery are the flags of `penstock audit ls`.
type auditQuery struct {
	start, end, principal, action, object, decision string
	limit                                           int
}

func auditListCommand(c *client) *cobra.Command {
	var q auditQuery
	cmd := &cobra.Command{Use: "ls", Short: "Show who did what, newest first", Args: cobra.NoArgs,
		Example: "  penstock audit ls --start -1d --decision deny\n  penstock audit ls --object stream/front-door/ --limit 20 -o jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if q.limit < 1 {
				return mistyped(cmd, fmt.Errorf("--limit %d: not a positive number", q.limit))
			}
			docs, err := c.audited(cmd.Context(), q)
			if err != nil {
				return err
			}
			return c.t.print([]string{"time", "decision", "who", "from", "action", "object", "detail"}, docs, func(d map[string]any) []string {
				return []string{text(d, "time"), text(d, "decision"), text(d, "principal"), text(d, "remote"), text(d, "action"), text(d, "object"), text(d, "detail")}
			})
		}}
	c.bind(cmd)
	f := cmd.Flags()
	f.StringVar(&q.start, "start", "", "from this `TIME` on: RFC 3339, or -1d")
	f.StringVar(&q.end, "end", "", "before this `TIME`")
	f.StringVar(&q.principal, "principal", "", "a part of who it was")
	f.StringVar(&q.action, "action", "", "a part of what was asked for, such as SignIn or kinesis:")
	f.StringVar(&q.object, "object", "", "a part of what was touched")
	f.StringVar(&q.decision, "decision", "", "allow, deny or fail")
	f.IntVar(&q.limit, "limit", audit.PageUsual, "how many")
	must(cmd.RegisterFlagCompletionFunc("decision", cobra.FixedCompletions([]string{"allow", "deny", "fail"}, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("action", cobra.FixedCompletions([]string{"SignIn", "CreateKey", "RemoveKey", "SetPassword", "CreateStream", "UpdateStream", "DeleteStream", "GetMedia", "GetClip", "GetImages", "PutMedia", "kinesis:"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// audited reads pages until there are as many entries as were asked for.
func (c *client) audited(ctx context.Context, q auditQuery) ([]map[string]any, error) {
	docs, v := []map[string]any{}, url.Values{}
	for name, text := range map[string]string{"start": q.start, "end": q.end, "principal": q.principal, "action": q.action, "object": q.object, "decision": q.decision} {
		if text != "" {
			v.Set(name, text)
		}
	}
	for {
		v.Set("limit", strconv.Itoa(min(q.limit-len(docs), audit.PageMost)))
		var page struct {
			Entries []map[string]any
			Next    string
		}
		if err := c.call(ctx, http.MethodGet, "/v1/audit", v, nil, &page); err != nil {
			return nil, err
		}
		docs = append(docs, page.Entries...)
		if page.Next == "" || len(docs) >= q.limit {
			return docs, nil
		}
		v.Set("next", page.Next)
	}
}

// audits are the audit logs of a data directory, and those that the metadata store knows of.
func audits(dir string) ([]string, error) {
	dirs, err := filepath.Glob(filepath.Join(dir, "audit", "*"))
	names := []string{"cli", "server"}
	for _, d := range dirs {
		names = append(names, filepath.Base(d))
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// checkAudits gives each log's name, with what Verify says of it, to heard. db may be nil.
func checkAudits(ctx context.Context, dir string, db *meta.DB, heard func(name string, r audit.Report)) error {
	names, err := audits(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		var mark audit.Mark
		if db != nil {
			if mark, err = audit.InMeta(db, name).Load(ctx); err != nil {
				return err
			}
		}
		r, err := audit.Verify(ctx, host.OS{}, filepath.Join(dir, "audit", name), mark)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		heard(name, r)
	}
	return nil
}

func (l *local) verifyAudit(ctx context.Context) (err error) {
	c, err := l.settle()
	if err != nil {
		return err
	}
	var db *meta.DB
	good := "good"
	if _, err := os.Stat(filepath.Join(c.Data, "meta.db")); err == nil {
		if db, err = openMeta(ctx, c.Data, slog.New(slog.DiscardHandler), nil); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
	} else {
		good = "good, but for its end: there is no meta.db"
	}
	broken, docs := 0, []map[string]any{}
	if err := checkAudits(ctx, c.Data, db, func(name string, r audit.Report) {
		words := good
		if r.Problem != "" {
			broken++
			words = "BROKEN: " + r.Problem
		}
		docs = append(docs, map[string]any{"log": name, "lines": r.Lines, "newest": r.Newest, "state": words})
	}); err != nil {
		return err
	}
	if len(docs) == 0 {
		return fmt.Errorf("verify audit log of %s: %w", c.Data, fs.ErrNotExist)
	}
	if err := l.t.print([]string{"log", "lines", "newest", "state"}, docs, func(d map[string]any) []string {
		return []string{text(d, "log"), text(d, "lines"), text(d, "newest"), text(d, "state")}
	}); err != nil {
		return err
	}
	if broken > 0 {
		return partly{brokenAudits(broken)}
	}
	return nil
}

func brokenAudits(n int) error {
	return fmt.Errorf("audit logs that were changed, shortened or are damaged: %d", n)
}
