package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"penstock/internal/fault"
)

var consumerHead = []string{"name", "status", "lag", "shards", "last read", "arn"}

func consumerRow(d map[string]any) []string {
	lag := "-" // it has read nothing since the server's start
	if _, known := d["behind_s"]; known {
		lag = text(d, "behind_s") + " s"
	}
	return []string{text(d, "name"), text(d, "status"), lag, text(d, "shards"), text(d, "seen"), text(d, "arn")}
}

func consumerCommand(t *terminal) *cobra.Command {
	c := &client{t: t}
	cmd := &cobra.Command{Use: "consumer", Short: "List the registered consumers of a data stream and how far behind they are"}
	c.bind(cmd)
	ls := &cobra.Command{Use: "ls STREAM", Short: "List consumers with their state and lag", Args: cobra.ExactArgs(1),
		Example: "  penstock consumer ls sensors\n  penstock consumer ls sensors -o json", ValidArgsFunction: c.dataNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var d map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, dataPath(args[0]), nil, nil, &d); err != nil {
				return err
			}
			return t.print(consumerHead, members(d, "consumers"), consumerRow)
		}}
	reset := &cobra.Command{Use: "reset STREAM NAME", Short: "Set a consumer's position back; it is not the server that keeps it", Args: cobra.ExactArgs(2),
		Long: "A registered consumer says with each subscription where it wants to read from, and keeps that itself: the KCL in its\n" +
			"lease table, others where they like. There is no position here to set back, and this command says so.",
		Example: "  penstock consumer reset sensors dashboard", ValidArgsFunction: c.dataNames(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return fault.New(fault.Unavailable, "reset consumer", args[1]+" of "+args[0], "the server keeps no positions of consumers; they keep their own").
				WithHint("stop it, delete its lease table or checkpoints, and start it with an initial position: TRIM_HORIZON, or AT_TIMESTAMP")
		}}
	cmd.AddCommand(ls, reset)
	return cmd
}
