// Package audit keeps the audit log: one JSON object per line, each holding the hash
// of the line before, so that a line changed, taken out or put in shows (Verify).
//
// Who reads the log and what is worth a line is others' business. Files are
// DIR/audit-NNNNNNNNNNNNNNNNNNNN.jsonl, named after their first line's number; the
// chain goes on from one to the next. What was cut off at the end shows against a mark
// that is kept elsewhere (Anchor).
package audit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/internal/host"
)

// Limits.
const (
	// FileMax is when a new file is begun.
	FileMax = 64 << 20
	// lineMax bounds a line, and what is read of one.
	lineMax = 16 << 10
	// fieldMax bounds each field of an event, which may come from outside.
	fieldMax = 1024
	// batchMax is about how many bytes are written before they are synced: a power cut
	// can leave holes no further back than this and one line.
	batchMax = 32 << 10
	// queueMax is how many lines may wait for the disk; then Record waits.
	queueMax = 4096
)

// Config says where the log lies. Dir is required.
type Config struct {
	Dir    string
	FS     host.FS      // host.OS
	Clock  host.Clock   // host.System
	Logger *slog.Logger // discards
	Max    int64        // bytes of a file; FileMax
	Anchor Anchor       // keeps the log's end; none
}

// Line is one line of the log.
type Line struct {
	Seq       uint64    `json:"seq"`
	Time      time.Time `json:"time"`
	Action    string    `json:"action"`
	Principal string    `json:"principal,omitempty"`
	Account   string    `json:"account,omitempty"`
	Remote    string    `json:"remote,omitempty"`
	Object    string    `json:"object,omitempty"`
	Decision  string    `json:"decision"`
	Detail    string    `json:"detail,omitempty"`
	Prev      string    `json:"prev"` // hash of the line before; of the first: 64 zeros
	Hash      string    `json:"hash"` // SHA-256 of this line's JSON with hash ""
}

// Log is the audit log. Record may be called at once from many goroutines; one Run
// writes. It satisfies auth.Auditor.
type Log struct {
	c     Config
	queue chan *auth.AuditEvent // pointers: an empty queue is small

	mu   sync.Mutex // guards what follows; held while writing
	file host.File
	size int64
	seq  uint64 // of the last line
	prev string
	err  error // the first write that failed; the log takes no more after it

	durable Mark // the last line that is synced
}

var _ auth.Auditor = (*Log)(nil)

// Open finds the end of the log. A line torn by a crash is cut off; the newest file is
// verified, older ones are left to Verify. Close it after Run has returned.
func Open(ctx context.Context, c Config) (*Log, error) {
	c.FS = cmp.Or[host.FS](c.FS, host.OS{})
	c.Clock = cmp.Or[host.Clock](c.Clock, host.System{})
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	c.Max = cmp.Or(c.Max, FileMax)
	l := &Log{c: c, queue: make(chan *auth.AuditEvent, queueMax), prev: strings.Repeat("0", 64)}
	if err := makeDir(c.FS, c.Dir); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "open audit log", c.Dir, err)
	}
	names, err := files(c.FS, c.Dir)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "open audit log", c.Dir, err)
	}
	var mark Mark
	if c.Anchor != nil {
		if mark, err = c.Anchor.Load(ctx); err != nil {
			return nil, fault.Wrap(fault.Unavailable, "open audit log", c.Dir, err)
		}
	}
	if err := l.resume(names, mark); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "open audit log", c.Dir, err)
	}
	l.durable = Mark{l.seq, l.prev}
	return l, nil
}

// makeDir makes dir and the directory that it is in, durably: a mark must not outlive them.
func makeDir(fsys host.FS, dir string) error {
	if err := fsys.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	above := filepath.Dir(dir)
	return errors.Join(fsys.SyncDir(above), fsys.SyncDir(filepath.Dir(above)))
}

// resume opens the newest file for appending, or makes one: the first, or one that shows
// where a chain broke. Going on would hide the damage under a fresh chain; stopping would
// take the server down for an edited log.
func (l *Log) resume(names []string, mark Mark) error {
	damaged, noted, wrong := false, "", ""
	var err error
	if len(names) > 0 {
		if damaged, err = l.reopen(names, func(line *Line) {
			if line.Seq == mark.Seq {
				noted = line.Hash
			}
		}); err != nil {
			return err
		}
	}
	if mark.Seq > 0 {
		if wrong, err = l.compare(names, mark, noted); err != nil {
			return err
		}
	}
	switch {
	case wrong != "":
		l.c.Logger.Error("the audit log was shortened or changed; run `penstock audit verify`", "object", l.c.Dir, "err", wrong)
		l.queue <- &auth.AuditEvent{Action: "penstock:AuditLog", Decision: "fail", Detail: wrong} // Verify finds it by the numbers and hashes
		l.seq, l.prev = max(l.seq, mark.Seq), mark.Hash
	case damaged:
		l.seq++
	case len(names) > 0:
		return nil
	}
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			return err
		}
	}
	return l.begin()
}

// reopen opens the newest file and finds the end of the log in it. What a crash tore is cut
// off. each is given every line of the file.
func (l *Log) reopen(names []string, each func(*Line)) (damaged bool, err error) {
	name := names[len(names)-1]
	f, err := l.c.FS.OpenFile(name, os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	end, last, problem, err := scan(f, "", each)
	if err != nil {
		return false, errors.Join(err, f.Close())
	}
	if last != nil {
		l.seq, l.prev = last.Seq, last.Hash
	} else if n, ok := firstSeq(name); ok && n > 0 {
		l.seq = n - 1
		l.prev = lastHash(l.c.FS, names[:len(names)-1])
	}
	l.file, l.size = f, end
	if problem != nil && !problem.torn {
		l.c.Logger.Error("the audit log was changed or is damaged; run `penstock audit verify`", "file", name, "line", problem.line, "err", problem.text)
		return true, nil
	}
	if size, err := f.Size(); err != nil || size > end {
		if err := errors.Join(err, f.Truncate(end), f.Sync()); err != nil {
			return false, errors.Join(err, f.Close())
		}
	}
	return false, nil
}

func lastHash(fsys host.FS, names []string) string {
	zero := strings.Repeat("0", 64)
	if len(names) == 0 {
		return zero
	}
	f, err := fsys.OpenFile(names[len(names)-1], os.O_RDONLY, 0)
	if err != nil {
		return zero
	}
	defer f.Close()
	if _, last, _, err := scan(f, "", nil); err == nil && last != nil {
		return last.Hash
	}
	return zero
}

// begin starts a new file for the line after seq.
func (l *Log) begin() error {
	name := path.Join(l.c.Dir, fmt.Sprintf("audit-%020d.jsonl", l.seq+1))
	f, err := l.c.FS.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := l.c.FS.SyncDir(l.c.Dir); err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, 0
	return nil
}

// Record queues a line. It waits only when the disk is thousands of lines behind, and
// then no longer than ctx.
func (l *Log) Record(ctx context.Context, e auth.AuditEvent) {
	select {
	case l.queue <- &e:
	default:
		select {
		case l.queue <- &e:
		case <-ctx.Done():
			l.c.Logger.Error("an audit line was lost: the disk is too far behind", "action", e.Action, "object", e.Object)
		}
	}
}

// Run writes lines, those that wait together with one sync. When ctx ends it writes
// what is queued and returns. On a full disk lines wait for room. Any other failed write
// ends it: the end of the file is unknown.
func (l *Log) Run(ctx context.Context) error {
	m := marker{l: l}
	m.written() // what a crash kept from being noted
	defer m.finish(ctx)
	for {
		select {
		case e := <-l.queue:
			if err := l.write(ctx, l.batch(e)); err != nil {
				return err
			}
			m.written()
		case <-m.due():
			m.start(ctx)
		case <-ctx.Done():
			select {
			case e := <-l.queue:
				if err := l.write(ctx, l.batch(e)); err != nil {
					return err
				}
			default:
				return nil
			}
		}
	}
}

func (l *Log) batch(first *auth.AuditEvent) []*auth.AuditEvent {
	list := []*auth.AuditEvent{first}
	for len(list) < queueMax {
		select {
		case e := <-l.queue:
			list = append(list, e)
		default:
			return list
		}
	}
	return list
}

func (l *Log) write(ctx context.Context, list []*auth.AuditEvent) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if l.err = l.append(ctx, list); l.err != nil {
		l.err = fault.Wrap(fault.Unavailable, "write audit log", l.c.Dir, l.err)
	}
	return l.err
}

func (l *Log) append(ctx context.Context, list []*auth.AuditEvent) error {
	if l.size >= l.c.Max {
		if err := l.file.Close(); err != nil {
			return err
		}
		l.file = nil
		if err := l.roomy(ctx, l.begin); err != nil {
			return err
		}
	}
	var buf bytes.Buffer
	for _, e := range list {
		if buf.Len() >= batchMax {
			if err := l.put(ctx, &buf); err != nil {
				return err
			}
		}
		line := Line{Seq: l.seq + 1, Time: l.c.Clock.Now().UTC(), Action: clip(e.Action), Principal: clip(e.Principal), Account: clip(e.Account),
			Remote: clip(e.Remote), Object: clip(e.Object), Decision: clip(e.Decision), Detail: clip(e.Detail), Prev: l.prev}
		text, hash, err := line.seal()
		if err != nil {
			return err
		}
		buf.Write(text)
		l.seq, l.prev = line.Seq, hash
	}
	return l.put(ctx, &buf)
}

// put writes what buf holds, syncs it and empties buf.
func (l *Log) put(ctx context.Context, buf *bytes.Buffer) error {
	if err := l.roomy(ctx, func() error {
		_, err := l.file.WriteAt(buf.Bytes(), l.size) // over what an earlier try left
		return err
	}); err != nil {
		return err
	}
	l.size += int64(buf.Len())
	buf.Reset()
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.durable = Mark{l.seq, l.prev}
	return nil
}

// fullWait is how long lines wait before a full disk is tried again.
const fullWait = time.Second

// roomy calls fn until it fails for something else than a full disk, or ctx ends. An
// audit log that gave up would take the server down just when it makes room.
func (l *Log) roomy(ctx context.Context, fn func() error) error {
	for told := false; ; told = true {
		err := fn()
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
			return err
		}
		if !told {
			l.c.Logger.Error("the audit log waits: the disk is full; free space or shorten the retention of a stream", "object", l.c.Dir, "err", err)
		}
		timer := l.c.Clock.NewTimer(fullWait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// seal returns the line with its hash and a line feed.
func (l Line) seal() (text []byte, hash string, err error) {
	l.Hash = ""
	bare, err := json.Marshal(l)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(bare)
	l.Hash = hex.EncodeToString(sum[:])
	text, err = json.Marshal(l)
	return append(text, '\n'), l.Hash, err
}

func clip(s string) string {
	if len(s) > fieldMax {
		s = s[:fieldMax]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// Close closes the file; twice is fine.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	if l.err == nil {
		l.err = fs.ErrClosed
	}
	return err
}

func files(fsys host.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, ok := firstSeq(e.Name()); ok {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	sort.Strings(names)
	return names, nil
}

func firstSeq(name string) (n uint64, ok bool) {
	text, ok := strings.CutPrefix(path.Base(name), "audit-")
	text, ok2 := strings.CutSuffix(text, ".jsonl")
	if !ok || !ok2 || len(text) != 20 {
		return 0, false
	}
	_, err := fmt.Sscanf(text, "%020d", &n)
	return n, err == nil
}

var _ io.Closer = (*Log)(nil)
