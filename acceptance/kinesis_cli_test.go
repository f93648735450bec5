package acceptance

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/internal/repotest"
)

// awsEnviron is what an AWS client of another language needs to know, and nothing that it
// could find on this machine.
func (s *server) awsEnviron(t *testing.T) []string {
	home := t.TempDir()
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	return append(env, "AWS_ACCESS_KEY_ID="+s.signer.AccessKey, "AWS_SECRET_ACCESS_KEY="+s.signer.Secret, "AWS_DEFAULT_REGION=us-east-1",
		"AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=2",
		"AWS_CONFIG_FILE="+filepath.Join(home, "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, "credentials"))
}

// clientWait bounds one run of a client of another language: they start slowly.
const clientWait = patience * 2 * time.Minute

// cli runs the AWS CLI; what it prints is decoded into out, unless that is nil.
type cli struct {
	t    *testing.T
	path string
	s    *server
	env  []string
}

func (c *cli) try(arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), clientWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, append([]string{"--endpoint-url", "http://" + c.s.http, "--output", "json", "kinesis"}, arguments...)...)
	cmd.Env = c.env
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func (c *cli) run(out any, arguments ...string) {
	c.t.Helper()
	text, err := c.try(arguments...)
	if err != nil {
		c.t.Fatalf("aws kinesis %s: %v\n%s", strings.Join(arguments, " "), err, text)
	}
	if out == nil {
		if text != "" {
			c.t.Errorf("aws kinesis %s printed %s", strings.Join(arguments, " "), text)
		}
		return
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		c.t.Fatalf("aws kinesis %s printed %s: %v", strings.Join(arguments, " "), text, err)
	}
}

func TestAWSCLI(t *testing.T) {
	path := repotest.Need(t, "aws")
	t.Parallel()
	s := start(t)
	c := &cli{t, path, s, s.awsEnviron(t)}
	c.run(nil, "create-stream", "--stream-name", "cli", "--shard-count", "1")
	c.run(nil, "wait", "stream-exists", "--stream-name", "cli")
	var put struct{ ShardID, SequenceNumber string }
	data := filepath.Join(t.TempDir(), "data") // versions 1 and 2 understand text differently, files alike
	if err := os.WriteFile(data, []byte("from the shell\x00\xff"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run(&put, "put-record", "--stream-name", "cli", "--partition-key", "a", "--data", "fileb://"+data)
	var it struct{ ShardIterator string }
	c.run(&it, "get-shard-iterator", "--stream-name", "cli", "--shard-id", "shardId-000000000000", "--shard-iterator-type", "TRIM_HORIZON")
	var page struct {
		Records            []struct{ Data, PartitionKey, SequenceNumber string }
		NextShardIterator  string
		MillisBehindLatest int
	}
	c.run(&page, "get-records", "--shard-iterator", it.ShardIterator)
	if len(page.Records) != 1 || page.Records[0].SequenceNumber != put.SequenceNumber || page.Records[0].Data != base64.StdEncoding.EncodeToString([]byte("from the shell\x00\xff")) {
		t.Errorf("put %+v, read %+v", put, page)
	}
	c.run(&page, "get-records", "--shard-iterator", `"`+it.ShardIterator+`"`) // as people paste it
	c.run(nil, "split-shard", "--stream-name", "cli", "--shard-to-split", "shardId-000000000000", "--new-starting-hash-key", "170141183460469231731687303715884105728")
	c.run(nil, "wait", "stream-exists", "--stream-name", "cli")
	var list struct {
		Shards []struct{ ShardID, ParentShardID string }
	}
	c.run(&list, "list-shards", "--stream-name", "cli")
	if len(list.Shards) != 3 || list.Shards[2].ParentShardID != "shardId-000000000000" {
		t.Errorf("shards are %+v", list)
	}
	c.run(nil, "add-tags-to-stream", "--stream-name", "cli", "--tags", "where=shell")
	var tags struct {
		Tags []struct{ Key, Value string }
	}
	c.run(&tags, "list-tags-for-stream", "--stream-name", "cli")
	if len(tags.Tags) != 1 || tags.Tags[0].Value != "shell" {
		t.Errorf("tags are %+v", tags)
	}
	text, err := c.try("describe-stream", "--stream-name", "none")
	if want := "An error occurred (ResourceNotFoundException) when calling the DescribeStream operation: Stream none under account 000000000000 not found."; err == nil || !strings.Contains(text, want) {
		t.Errorf("%s, %v; not %s", text, err, want)
	}
	c.run(nil, "delete-stream", "--stream-name", "cli")
	c.run(nil, "wait", "stream-not-exists", "--stream-name", "cli")
}

// python finds the interpreter that has boto3: Debian's, or the one on PATH.
func python(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(path, "-c", "import boto3").Run() == nil {
			return path
		}
	}
	repotest.Missing(t, "python3 has no boto3: `make setup` installs python3-boto3")
	return ""
}

func TestBoto3(t *testing.T) {
	interpreter := python(t)
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), clientWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, interpreter, filepath.Join("testdata", "kinesis_boto3.py"), "http://"+s.http)
	cmd.Env = s.awsEnviron(t)
	if text, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(text), "every step passed") {
		t.Errorf("%v\n%s", err, text)
	}
}
