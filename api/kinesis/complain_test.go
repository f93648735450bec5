package kinesis

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"penstock/internal/fault"
)

func TestOneCauseIsOneLineAMinute(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	var c complaints
	now := time.Unix(1_700_000_000, 0)
	full := fault.New(fault.Unavailable, "put", "s", "the disk is full")
	for range 1000 {
		c.log(log, now, "PutRecord", "r", full)
		now = now.Add(time.Millisecond)
	}
	c.log(log, now, "PutRecord", "r", errors.New("another cause"))
	c.log(log, now, "PutRecords", "r", full)
	now = now.Add(complainEvery)
	c.log(log, now, "PutRecord", "r", full)
	if n := strings.Count(out.String(), "\n"); n != 4 {
		t.Errorf("%d lines, want 4:\n%s", n, out.String())
	}
	if !strings.Contains(out.String(), "others=999") {
		t.Errorf("the rest is not counted:\n%s", out.String())
	}
}
