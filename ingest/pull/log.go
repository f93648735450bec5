package pull

import (
	"log/slog"
	"sync"
	"time"

	"penstock/ingest/camera"
	"penstock/internal/host"
)

// logEvery is how often one cause is worth a line: a switch that fails takes a hundred
// cameras with it, and its repair must not wait for the log to be read.
const logEvery = time.Minute

// quietLog writes one line per cause and minute, with how often it happened and to how
// many cameras. The first time is told at once.
type quietLog struct {
	logger *slog.Logger
	clock  host.Clock
	mu     sync.Mutex
	seen   map[camera.Cause]*logEntry
}

// logEntry gathers one cause since its last line.
type logEntry struct {
	since   time.Time
	count   int
	streams map[string]struct{}
	remote  string
	stream  string // the latest
	trouble *camera.Trouble
}

func newQuietLog(l *slog.Logger, c host.Clock) *quietLog {
	return &quietLog{logger: l, clock: c, seen: map[camera.Cause]*logEntry{}}
}

func (q *quietLog) trouble(stream, remote string, tr *camera.Trouble) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.seen[tr.Cause]
	first := e == nil
	if first {
		e = &logEntry{since: q.clock.Now(), streams: map[string]struct{}{}}
		q.seen[tr.Cause] = e
	}
	e.count++
	e.streams[stream] = struct{}{}
	e.stream, e.remote, e.trouble = stream, remote, tr
	if first {
		q.line(e)
	}
}

// line writes e and begins to gather anew.
func (q *quietLog) line(e *logEntry) {
	q.logger.Warn("camera lost", "cause", e.trouble.Cause.String(), "count", e.count, "cameras", len(e.streams),
		"stream", e.stream, "remote", e.remote, "err", e.trouble.Detail, "try", e.trouble.Try)
	e.count = 0
	clear(e.streams)
}

// tick writes what has gathered for a minute.
func (q *quietLog) tick(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for cause, e := range q.seen {
		switch {
		case now.Sub(e.since) < logEvery:
		case e.count == 0:
			delete(q.seen, cause)
		default:
			q.line(e)
			e.since = now
		}
	}
}

// flush writes what has gathered, for the end.
func (q *quietLog) flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.seen {
		if e.count > 0 {
			q.line(e)
		}
	}
	clear(q.seen)
}

func (q *quietLog) warn(what, stream string, err error) {
	q.logger.Warn(what, "stream", stream, "err", err)
}
