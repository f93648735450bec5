package meta_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock/internal/crashfs"
	"penstock/internal/fault"
	"penstock/storage/meta"
)

// stepClock moves a minute on at every look, so that nothing waits for it.
type stepClock struct{ steps atomic.Int64 }

func (c *stepClock) Now() time.Time {
	return time.Unix(1_700_000_000, 0).Add(time.Duration(c.steps.Add(1)) * time.Minute)
}

func (c *stepClock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// spared opens a store whose reserve of 1 MiB is on a disk of its own, of 10 MiB.
func spared(t *testing.T, p string, disk *crashfs.FS) *meta.DB {
	t.Helper()
	return open(t, p, func(c *meta.Config) { c.Reserve, c.FS, c.Clock = 1<<20, disk, &stepClock{} })
}

// The reserve lies where its name says, on the disk that Config.FS is.
func diskFor(t *testing.T, p string, capacity int64) *crashfs.FS {
	t.Helper()
	disk := crashfs.New(crashfs.Config{})
	disk.SetCapacity(capacity)
	if err := disk.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		t.Fatal(err)
	}
	return disk
}

func held(t *testing.T, p string, disk *crashfs.FS) bool {
	t.Helper()
	_, err := disk.Stat(p + "-reserve")
	return err == nil
}

func TestTheReserveIsTakenGivenUpAndTakenBack(t *testing.T) {
	p := path(t)
	disk := diskFor(t, p, 10<<20)
	db := spared(t, p, disk)
	if !held(t, p, disk) || db.Owed() != 0 {
		t.Fatalf("no reserve was taken; %d bytes are owed", db.Owed())
	}
	disk.SetCapacity(1<<20 + 100<<10)
	write(t, db, put("a", 1))
	if held(t, p, disk) || db.Owed() != 1<<20 {
		t.Errorf("the reserve is kept on a full disk; %d bytes are owed", db.Owed())
	}
	write(t, db, put("b", 1))
	if held(t, p, disk) {
		t.Error("the reserve was taken back though there is not twice the room")
	}
	disk.SetCapacity(10 << 20)
	write(t, db, put("c", 1))
	if !held(t, p, disk) || db.Owed() != 0 {
		t.Errorf("the reserve was not taken back; %d bytes are owed", db.Owed())
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	disk.SetCapacity(1<<20 + 100<<10)
	again := spared(t, p, disk)
	if held(t, p, disk) {
		t.Error("opened on a full disk: the reserve of the run before is kept")
	}
	if got := keys(t, again); got != "a b c" {
		t.Errorf("there is %q", got)
	}
}

func TestAFullDiskIsMetFromTheReserve(t *testing.T) {
	p := path(t)
	disk := diskFor(t, p, 10<<20)
	db := spared(t, p, disk)
	// What SQLite says when it has no page left, without a disk that is full: the room
	// that it lacks is what giving the reserve up provides.
	runs := 0
	err := db.Write(t.Context(), func(tx *sql.Tx) error {
		runs++
		if held(t, p, disk) {
			return fullError(t)
		}
		return put("a", 1)(tx)
	})
	if err != nil || runs != 2 {
		t.Errorf("%d runs: %v", runs, err)
	}
	if got := keys(t, db); got != "a" {
		t.Errorf("there is %q", got)
	}
}

func TestAFullDiskWithoutAReserveIsToldAsSuch(t *testing.T) {
	db := open(t, path(t), func(c *meta.Config) { c.Reserve = -1 })
	if db.Owed() != 0 {
		t.Errorf("%d bytes are owed for no reserve", db.Owed())
	}
	if _, err := db.Read().Exec("PRAGMA query_only"); err != nil {
		t.Fatal(err)
	}
	err := db.Write(t.Context(), fillUp)
	if !meta.IsFull(err) {
		t.Errorf("Write = %v", err)
	}
	write(t, db, func(tx *sql.Tx) error {
		_, err := tx.Exec("PRAGMA max_page_count = 4294967294")
		return err
	})
	write(t, db, put("after", 1))
	if got := keys(t, db); got != "after" {
		t.Errorf("there is %q", got)
	}
}

// fillUp writes more than the database is allowed to hold, so that SQLite says "database
// or disk is full (13)".
func fillUp(tx *sql.Tx) error {
	if _, err := tx.Exec("PRAGMA max_page_count = 1"); err != nil {
		return err
	}
	for i := range 1000 {
		if err := put(fmt.Sprint(i, strings.Repeat("x", 4000)), i)(tx); err != nil {
			return err
		}
	}
	return nil
}

// fullError is SQLite's own error for a full disk.
func fullError(t *testing.T) error {
	t.Helper()
	db := open(t, filepath.Join(t.TempDir(), "small.db"), func(c *meta.Config) { c.Reserve = -1 })
	err := db.Write(t.Context(), fillUp)
	if !meta.IsFull(err) {
		t.Errorf("filling up = %v", err)
	}
	return err
}

func TestOthersOfAWriteWithoutRoomAreWrittenFromTheReserve(t *testing.T) {
	p := path(t)
	disk := diskFor(t, p, 10<<20)
	db := spared(t, p, disk)
	full := fullError(t)
	entered, gate, done := make(chan struct{}, 2), make(chan struct{}), make(chan error, 4)
	go func() {
		done <- db.Write(t.Context(), func(*sql.Tx) error { entered <- struct{}{}; <-gate; return nil })
	}()
	<-entered
	go func() { done <- db.Write(t.Context(), put("a", 1)) }()
	go func() {
		done <- db.Write(t.Context(), func(*sql.Tx) error { return full }) // for good
	}()
	go func() { done <- db.Write(t.Context(), put("b", 1)) }()
	for db.Waiting() < 3 {
		time.Sleep(time.Millisecond) // the callers' goroutines tell nobody that they wait
	}
	close(gate)
	failed := 0
	for range 4 {
		if err := <-done; err != nil {
			failed++
			if !meta.IsFull(err) {
				t.Error(err)
			}
		}
	}
	if got := keys(t, db); got != "a b" || failed != 1 {
		t.Errorf("there is %q, %d writes failed", got, failed)
	}
	if err := os.Remove(p + "-reserve"); !os.IsNotExist(err) {
		t.Errorf("the reserve is not where FS says: %v", err)
	}
}

func TestAReserveThatAnotherProcessGaveUpIsTakenBack(t *testing.T) {
	p := path(t)
	disk := diskFor(t, p, 10<<20)
	db := spared(t, p, disk)
	if err := disk.Remove(p + "-reserve"); err != nil {
		t.Fatal(err)
	}
	write(t, db, put("a", 1))
	if !held(t, p, disk) || db.Owed() != 0 {
		t.Errorf("it is not there again; %d bytes are owed", db.Owed())
	}
}

func TestAReserveThatCannotBeMadeIsOwed(t *testing.T) {
	p := path(t)
	disk := diskFor(t, p, 10<<20)
	disk.Fail(crashfs.Allocate, 1, 1000, fault.New(fault.Internal, "allocate", "", "no"))
	db := spared(t, p, disk)
	write(t, db, put("a", 1))
	if held(t, p, disk) || db.Owed() != 1<<20 {
		t.Errorf("a reserve is said to be held that could not be made; %d bytes are owed", db.Owed())
	}
}
