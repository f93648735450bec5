package pull

import (
	"log/slog"
	"sync"
	"time"

	"penstock/ingest/camera"
	"penstock/internal/host"
)

// logEvery is how often one camera's one cause is worth a line.
const logEvery = time.Minute

// quietLog writes one line per camera and cause and minute, with how often it happened.
type quietLog struct {
	logger *slog.Logger
	clock  host.Clock
	mu     sync.Mutex
	seen   map[logKey]*logEntry
}

type logKey struct {
	stream string
	cause  camera.Cause
}

type logEntry struct {
	since   time.Time
	more    int // since the line
	remote  string
	trouble *camera.Trouble
}

func newQuietLog(l *slog.Logger, c host.Clock) *quietLog {
	return &quietLog{logger: l, clock: c, seen: map[logKey]*logEntry{}}
}

func (q *quietLog) trouble(stream, remote string, tr *camera.Trouble) {
	key := logKey{stream, tr.Cause}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.seen[key]; e != nil {
		e.more++
		e.trouble = tr
		return
	}
	q.seen[key] = &logEntry{since: q.clock.Now(), remote: remote, trouble: tr}
	q.line(stream, remote, tr, 1)
}

func (q *quietLog) line(stream, remote string, tr *camera.Trouble, count int) {
	q.logger.Warn("camera lost", "stream", stream, "remote", remote, "cause", tr.Cause.String(), "count", count, "err", tr.Detail, "try", tr.Try)
}

// tick writes what has gathered for a minute.
func (q *quietLog) tick(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, e := range q.seen {
		if now.Sub(e.since) < logEvery {
			continue
		}
		if e.more == 0 {
			delete(q.seen, key)
			continue
		}
		q.line(key.stream, e.remote, e.trouble, e.more)
		e.since, e.more = now, 0
	}
}

// flush writes what has gathered, for the end.
func (q *quietLog) flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, e := range q.seen {
		if e.more > 0 {
			q.line(key.stream, e.remote, e.trouble, e.more)
		}
	}
	clear(q.seen)
}

func (q *quietLog) warn(what, stream string, err error) {
	q.logger.Warn(what, "stream", stream, "err", err)
}
