package fragments

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"syscall"
	"time"

	"penstock/internal/fault"
	"penstock/internal/quantity"
	"penstock/storage"
	"penstock/storage/expiry"
)

// Store keeps the fragments of all streams. All methods may be called at once.
type Store struct {
	cfg   Config
	files storage.FileBucket // nil: the bucket is remote
	cat   catalog
	met   *metrics
	cache *cache

	dirMu     sync.Mutex // held while Dir is synced
	dirSynced uint64     // newest directory change that is durable; under dirMu

	noting sync.Mutex // held while damage is written down; taken before mu

	expiry *expiry.Time // what retention goes by

	mu         sync.Mutex // taken under a log's mu
	logs       map[string]*Log
	ready      []*Log // have something to write and no writer yet
	paused     []*Log // failed to write; tried again later
	dirty      []*chunk
	syncs      []*chunk // dirty ones whose turn has come
	seals      []*chunk
	moves      []listed // local chunks with a row, on their way to the bucket
	moving     int
	backlog    int64
	spool      int64
	dirGen     uint64 // counts files made in Dir
	stopped    bool   // Append is refused
	totals     Totals
	fullSince  time.Time
	fullLast   time.Time // the last sign of it
	fullKept   int64     // bytes that are kept while nothing else is left to delete
	claimed    int64     // bytes of media that writers are about to write
	pressed    time.Time // when they last called for room
	failSince  time.Time
	failReason string
	failTold   time.Time // the last line about it in the log
	failCount  int       // failures since
	damaged    []damaged
	uploadErr  string

	writeWake, dirtyWake, syncWake, sealWake, moveWake, sweepWake, idleWake wake
}

// Status is what an operator should see of a Store.
type Status struct {
	Backlog   int64     // bytes appended and not yet durable
	Budget    int64     // the bound on Backlog
	Bytes     int64     // bytes of chunks stored and not yet deleted, a minute old at most
	Fragments int64     // of the same
	Kept      int64     // of Bytes, what only a Keep holds
	Spool     int64     // bytes of sealed chunks that wait for the upload
	FullSince time.Time // when the disk was found full; zero: it is not
	// FullKept is how many bytes are kept while the disk is full and all else that may be
	// deleted is: only an operator can make room. 0: it is not so.
	FullKept   int64
	FailSince  time.Time // when writing began to fail for another reason; zero: it does not
	FailReason string    // the error in words, with what to do
	UploadErr  string    // why the newest upload failed; empty: it did not
}

// wake tells a goroutine that there is something to do; many calls are one.
type wake chan struct{}

func (w wake) up() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// Open recovers what the last process left and returns a Store that can be read and
// appended to. It reads the open chunk files only: its cost does not depend on how much
// is stored. On a full disk it deletes the oldest video, as Run does. Nothing becomes
// durable before Run.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := open(ctx, cfg)
	if err == nil {
		s.openRoom(ctx)
	}
	return s, err
}

// open is Open without deleting anything.
func open(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg.withDefaults(), logs: map[string]*Log{}}
	s.files, _ = storage.Files(cfg.Bucket)
	s.cache = newCache(s.cfg.CacheSize)
	s.cat = catalog{cfg.Meta, s.cache}
	for _, w := range []*wake{&s.dirtyWake, &s.sealWake, &s.moveWake, &s.sweepWake, &s.idleWake} {
		*w = make(wake, 1)
	}
	s.writeWake, s.syncWake = make(wake, s.cfg.Parallel), make(wake, s.cfg.Parallel)
	s.met = newMetrics(cfg.Registerer, s)
	if err := cfg.Meta.Apply(ctx, schema()); err != nil {
		return nil, fmt.Errorf("open fragments: %w", err)
	}
	if err := s.makeDir(); err != nil {
		return nil, fault.Wrap(fault.Internal, "open fragments", s.cfg.Dir, err)
	}
	if err := s.beginExpiry(ctx); err != nil {
		return nil, fault.Wrap(fault.Internal, "open fragments", s.cfg.Dir, err)
	}
	if err := s.recover(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// makeDir makes Dir and its name durable, up to the first directory that is not ours.
func (s *Store) makeDir() error {
	if err := s.cfg.FS.MkdirAll(s.cfg.Dir, 0o750); err != nil {
		return err
	}
	for at := path.Clean(s.cfg.Dir); at != path.Dir(at); at = path.Dir(at) {
		err := s.cfg.FS.SyncDir(path.Dir(at))
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EINVAL) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shutdownLimit is how long Run may take to make the backlog durable once it has to end,
// and then to write down that it did.
const shutdownLimit = 4 * time.Second

// Run writes, syncs, seals, hands chunks to the bucket, indexes and deletes until ctx
// ends; then it refuses Append, makes durable what was appended and returns. Open chunks
// stay as they are: the next Open goes on from them. When the disk does not answer within
// 4 s of the end Run returns an error and what was not acknowledged may be lost.
func (s *Store) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := s.setClean(work, false); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for range s.cfg.Parallel {
		wg.Go(func() { s.writer(work) })
		wg.Go(func() { s.syncer(work) })
	}
	for _, loop := range []func(context.Context){s.ticker, s.retrier, s.sealer} {
		wg.Go(func() { loop(work) })
	}
	background, cancel := context.WithCancel(ctx)
	defer cancel()
	for range s.cfg.Parallel {
		wg.Go(func() { s.mover(background) })
	}
	wg.Go(func() { s.sweeper(background) })
	<-ctx.Done()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.dirtyWake.up()
	drained := s.drain()
	stop()
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	timer := s.cfg.Clock.NewTimer(shutdownLimit)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		drained = errors.Join(drained, errors.New("the disk did not answer in time"))
	}
	most := shutdownLimit
	if drained != nil {
		most = time.Second // the disk has had its time
	}
	end, cancelEnd := context.WithTimeout(context.WithoutCancel(ctx), most)
	defer cancelEnd()
	s.failRest(end)
	s.closeFiles()
	if drained != nil {
		s.noteEnds(end)
		return fault.Wrap(fault.Unavailable, "stop fragments", s.cfg.Dir, drained)
	}
	err := s.setClean(end, true)
	if errors.Is(err, context.DeadlineExceeded) { // all is stored: no reason to end in disorder
		s.cfg.Logger.Warn("the disk is too slow to write down that all is stored; the next start looks for itself, as after a crash", "err", err)
		return nil
	}
	return err
}

// openRoom makes room on a disk so full that not even a start could be written down.
func (s *Store) openRoom(ctx context.Context) {
	free, _, floor, err := s.space()
	if err == nil && free < floor {
		err = s.makeRoom(ctx)
	}
	if err != nil {
		s.sweepFailed(ctx, err)
	}
}

// drain waits until nothing is in the backlog: in steps, so that a machine that stands still
// meanwhile uses up one of them and not all.
func (s *Store) drain() error {
	const steps = 8
	for step := 0; ; {
		s.mu.Lock()
		left := s.backlog
		s.mu.Unlock()
		if left == 0 {
			return nil
		}
		if step == steps {
			return s.undrained(left)
		}
		timer := s.cfg.Clock.NewTimer(shutdownLimit / steps)
		select {
		case <-s.idleWake:
			timer.Stop()
		case <-timer.C:
			step++
		}
	}
}

// undrained says what a stop leaves in memory, and why. Its producers hear of each
// fragment, and the timeline shows a gap.
func (s *Store) undrained(left int64) error {
	st := s.Status()
	why, hint := "the disk did not take them within "+shutdownLimit.String(), "check the disk that holds "+s.cfg.Dir
	switch {
	case !st.FullSince.IsZero():
		why, hint = "the disk is full since "+st.FullSince.UTC().Format(time.RFC3339), "free space or shorten the retention of a stream"
	case !st.FailSince.IsZero():
		why = st.FailReason
	}
	return fault.New(fault.Unavailable, "", "",
		fmt.Sprintf("the last %s of media were not stored and are lost: %s", quantity.Bytes(left), why)).WithHint(hint)
}

// failRest tells the owners of what could not be written.
func (s *Store) failRest(ctx context.Context) {
	cause := CauseStorageBehind
	if !s.Status().FullSince.IsZero() {
		cause = CauseDiskFull
	}
	for _, l := range s.allLogs() {
		l.abandonAll(ctx, cause, fault.New(fault.Unavailable, "append fragment", l.id, "the server stopped before it could be written"))
	}
}

// closeFiles lets go of the open chunks.
func (s *Store) closeFiles() {
	for _, l := range s.allLogs() {
		l.mu.Lock()
		chunks := l.chunks
		l.chunks = nil
		l.mu.Unlock()
		for _, c := range chunks {
			c.release()
		}
	}
}

// Log returns the log of the stream with the given id, which is made of letters, digits,
// "-" and "_", at most MaxStream bytes; the id of a Log that is refused for its form
// answers every call with fault.Invalid. policy is asked at every use, must be cheap and
// may say something else at any time. Calls with the same id return the same Log; the
// newest policy that is not nil counts.
func (s *Store) Log(stream string, policy func() Policy) *Log {
	s.mu.Lock()
	l, ok := s.logs[stream]
	if !ok {
		l = &Log{s: s, id: stream}
		s.logs[stream] = l
	}
	s.mu.Unlock()
	if policy != nil {
		l.mu.Lock()
		l.policy = policy
		l.mu.Unlock()
	}
	return l
}

// MaxStream bounds a stream's id in bytes.
const MaxStream = 64

// Status reports the state of the Store; it does not wait for a disk.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{
		Backlog: s.backlog, Budget: s.cfg.Budget, Bytes: s.totals.Bytes, Fragments: s.totals.Fragments, Kept: s.totals.Kept,
		Spool: s.spool, FullSince: s.fullSince, FullKept: s.fullKept, FailSince: s.failSince, FailReason: s.failReason, UploadErr: s.uploadErr,
	}
}
