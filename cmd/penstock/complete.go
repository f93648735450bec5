package main

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// completePatience is how long a shell that completes a word waits for the server.
const completePatience = 2 * time.Second

// completer offers words for an argument.
type completer = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective)

// words makes a completer of what the server knows. Whatever goes wrong is no words: a
// shell has no place for an error.
func (c *client) words(most int, list func(ctx context.Context, args []string, word string) ([]string, error)) completer {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completePatience)
		defer cancel()
		names, err := list(ctx, args, word)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// streamNames completes up to most names of video streams; 0: any number.
func (c *client) streamNames(most int) completer {
	return c.words(most, func(ctx context.Context, _ []string, word string) ([]string, error) {
		docs, err := c.streams(ctx, word)
		return described(docs, "state"), err
	})
}

// dataNames completes up to most names of data streams; 0: any number.
func (c *client) dataNames(most int) completer {
	return c.words(most, func(ctx context.Context, _ []string, _ string) ([]string, error) {
		docs, err := c.dataStreams(ctx, "")
		return described(docs, "status"), err
	})
}

// shardNames completes a data stream, and then up to most of its shards.
func (c *client) shardNames(most int) completer {
	names := c.dataNames(1)
	shards := c.words(1+most, func(ctx context.Context, args []string, _ string) ([]string, error) {
		var d map[string]any
		err := c.call(ctx, http.MethodGet, dataPath(args[0]), nil, nil, &d)
		var open []string
		for _, s := range shardsOf(d) {
			if s["open"] == true {
				open = append(open, text(s, "id"))
			}
		}
		return open, err
	})
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			return names(cmd, args, word)
		}
		return shards(cmd, args, word)
	}
}

// described are the names of documents, each with a word on how it is.
func described(docs []map[string]any, word string) []string {
	var names []string
	for _, d := range docs {
		names = append(names, cobra.CompletionWithDesc(text(d, "name"), text(d, word)))
	}
	return names
}
