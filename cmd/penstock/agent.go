package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"penstock/producer"
	"penstock/producer/agent"
)

// agentConfig is the file's section of the agent.
type agentConfig struct {
	Endpoint  string      `yaml:"endpoint"`
	AccessKey string      `yaml:"access_key"`
	SecretKey secretText  `yaml:"secret_key"`
	CAFile    string      `yaml:"ca_file"`
	State     string      `yaml:"state"`
	Pending   size        `yaml:"pending"`
	Flows     []agentFlow `yaml:"flows"`
}

// agentFlow is files that go into one data stream.
type agentFlow struct {
	Name    string   `yaml:"name"`
	Files   []string `yaml:"files"`
	Stream  string   `yaml:"stream"`
	Key     string   `yaml:"key"` // random, file or pattern
	Pattern string   `yaml:"key_pattern"`
	Start   string   `yaml:"start"`
	Gather  span     `yaml:"gather"`
	From    string   `yaml:"from"` // start or end
}

// flow checks the settings of one flow; its files and stream are checked by agent.New.
func (f agentFlow) flow() (out agent.Flow, err error) {
	out = agent.Flow{Name: f.Name, Files: f.Files, Stream: f.Stream, Gather: time.Duration(f.Gather)}
	switch f.Key {
	case "", "random":
	case "file":
		out.Key.File = true
	case "pattern":
		if f.Pattern == "" {
			return out, errors.New("key_pattern: it is empty")
		}
		if out.Key.Pattern, err = regexp.Compile(f.Pattern); err != nil {
			return out, fmt.Errorf("key_pattern: %w", err)
		}
	default:
		return out, fmt.Errorf("key %q: not random, file or pattern", f.Key)
	}
	if f.Pattern != "" && f.Key != "pattern" {
		return out, errors.New("key_pattern: it needs key: pattern")
	}
	if f.Start != "" {
		if out.Start, err = regexp.Compile(f.Start); err != nil {
			return out, fmt.Errorf("start: %w", err)
		}
	}
	switch f.From {
	case "", "start":
	case "end":
		out.FromEnd = true
	default:
		return out, fmt.Errorf("from %q: not start or end", f.From)
	}
	return out, nil
}

// flows checks the settings of all flows.
func (a *agentConfig) flows() ([]agent.Flow, error) {
	var out []agent.Flow
	for i, f := range a.Flows {
		flow, err := f.flow()
		if err != nil {
			return nil, fmt.Errorf("agent.flows[%d].%w", i, err)
		}
		out = append(out, flow)
	}
	return out, nil
}

func agentCommand(t *terminal) *cobra.Command {
	var file, endpoint, state string
	var quick agentFlow
	cmd := &cobra.Command{
		Use: "agent [FILE...]", Short: "Send what programs append to log files into data streams",
		Long: "Tails files, follows their rotation, and remembers durably what is stored: after a crash a line may\n" +
			"come twice, none is left out. Settings are the section `agent` of the file (docs/penstock.yaml); for one\n" +
			"stream the flags are enough. The access key is agent.access_key and agent.secret_key, or AWS_ACCESS_KEY_ID\n" +
			"and AWS_SECRET_ACCESS_KEY: `penstock key create --role producer` prints both.",
		Example: "  penstock agent --config /etc/penstock.yaml\n  penstock agent --stream app --endpoint http://penstock:8080 '/var/log/app/*.log*'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				file, _ = t.env("PENSTOCK_CONFIG")
			}
			c, err := readConfig(file, t.env)
			if err != nil {
				return mistyped(cmd, err)
			}
			if endpoint != "" {
				c.Agent.Endpoint = endpoint
			}
			if state != "" {
				c.Agent.State = state
			}
			if quick.Stream != "" || len(args) > 0 {
				quick.Files = args
				c.Agent.Flows = []agentFlow{quick}
			}
			a, err := newAgent(c, t, logger(c, t.err))
			if err != nil {
				return mistyped(cmd, err)
			}
			return runAgent(cmd.Context(), a, logger(c, t.err))
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&file, "config", "", "YAML file with settings (docs/penstock.yaml)")
	fl.StringVar(&endpoint, "endpoint", "", "URL of the server (http://127.0.0.1:8080)")
	fl.StringVar(&state, "state", "", "folder of the checkpoints (penstock-agent)")
	fl.StringVar(&quick.Stream, "stream", "", "send FILE... into this data stream, instead of what the settings say")
	fl.StringVar(&quick.Key, "key", "random", "partition key of a line: random, file, or pattern")
	fl.StringVar(&quick.Pattern, "key-pattern", "", "with --key pattern: a regular expression, whose first group is the key")
	fl.StringVar(&quick.Start, "start", "", "a regular expression that the first line of a record matches; its other lines do not")
	fl.StringVar(&quick.From, "from", "start", "start or end: what to do with what files hold when they are first seen")
	return cmd
}

// newAgent makes the agent that the settings describe.
func newAgent(c config, t *terminal, log *slog.Logger) (*agent.Agent, error) {
	flows, err := c.Agent.flows()
	if err != nil {
		return nil, err
	}
	if len(flows) == 0 {
		return nil, errors.New("agent.flows: there are none: name files with --stream NAME FILE..., or in the settings")
	}
	key := producer.Key{AccessKey: c.Agent.AccessKey, Secret: c.Agent.SecretKey.Reveal()}
	for name, field := range map[string]*string{"AWS_ACCESS_KEY_ID": &key.AccessKey, "AWS_SECRET_ACCESS_KEY": &key.Secret, "AWS_SESSION_TOKEN": &key.SessionToken} {
		if v, ok := t.env(name); ok && *field == "" {
			*field = v
		}
	}
	if key.AccessKey == "" || key.Secret == "" {
		return nil, errors.New("agent.access_key and agent.secret_key: no access key is set; make one with `penstock key create --role producer`")
	}
	conf := agent.Config{Flows: flows, State: c.Agent.State, Endpoint: c.Agent.Endpoint, Region: c.Region, Logger: log,
		Credentials: producer.Static(key.AccessKey, key.Secret, key.SessionToken), Producer: producer.Config{PendingBytes: int64(c.Agent.Pending)}}
	if c.Agent.CAFile != "" {
		if conf.Producer.HTTP, err = trusting(c.Agent.CAFile); err != nil {
			return nil, fmt.Errorf("agent.ca_file: %w", err)
		}
	}
	return agent.New(conf)
}

// trusting is a client that trusts one authority, or self-signed certificate, more.
func trusting(file string) (*http.Client, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 8, Proxy: http.ProxyFromEnvironment}}, nil
}

// figuresEvery is how often an agent says what it did.
const figuresEvery = time.Minute

// runAgent runs until ctx ends, and says how it goes.
func runAgent(ctx context.Context, a *agent.Agent, log *slog.Logger) error {
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	tick := time.NewTicker(figuresEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-ended:
			figures(a, log)
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		case <-tick.C:
			figures(a, log)
		}
	}
}

func figures(a *agent.Agent, log *slog.Logger) {
	for name, s := range a.Stats() {
		log.Info("flow", "flow", name, "files", s.Files, "records", s.Records, "bytes", s.Bytes, "stored", s.Producer.Stored,
			"waiting", s.Producer.Pending, "retried", s.Producer.Retried, "refused", s.Refused, "cut", s.Cut, "lost", s.Lost)
	}
}
