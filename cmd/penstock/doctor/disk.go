package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"penstock/auth"
	"penstock/fragments"
	"penstock/internal/host"
	"penstock/internal/quantity"
)

// asServer is what to do when a file may not be looked at.
const asServer = "run this as the user that runs Penstock"

// probeName begins the names of files that are written to try a directory.
const probeName = ".penstock-doctor-"

// directory checks where data is kept. One that is not there yet is not made: the folder
// that it would be made in is tried.
func (e *examination) directory(ctx context.Context) {
	const check = "data directory"
	dir, err := filepath.Abs(e.Data)
	if err != nil {
		e.fail(check, err.Error(), "name another with --data DIR")
		return
	}
	st, err := e.FS.Stat(dir)
	where := dir
	switch {
	case errors.Is(err, fs.ErrNotExist):
		where = e.above(dir)
	case err != nil:
		e.fail(check, err.Error(), "let the user that runs Penstock into it, or name another with --data DIR")
		return
	case !st.IsDir():
		e.fail(check, dir+" is no directory", "name another with --data DIR")
		return
	}
	if err := e.writable(where); err != nil {
		e.fail(check, fmt.Sprintf("nothing can be written in %s: %v", where, err), "chown it to the user that runs Penstock, or name another with --data DIR")
		return
	}
	switch {
	case where != dir:
		e.ok(check, dir+" is not there yet, and can be made")
	case st.Mode().Perm()&0o077 != 0:
		e.warn(check, dir+" can be written, and be read by others on this machine", "chmod 700 "+dir)
	default:
		e.ok(check, dir+" can be written")
	}
	e.fileSystem(where)
	e.space(where)
	e.syncs(ctx, where)
	e.promises(where)
}

// above is the nearest folder above dir that is there.
func (e *examination) above(dir string) string {
	for up := filepath.Dir(dir); ; up = filepath.Dir(up) {
		if _, err := e.FS.Stat(up); err == nil || up == filepath.Dir(up) {
			return up
		}
	}
}

// temporary makes a file in dir that is removed by done.
func (e *examination) temporary(dir, suffix string) (f host.File, name string, done func() error, err error) {
	name = filepath.Join(dir, fmt.Sprintf("%s%d%s", probeName, os.Getpid(), suffix))
	f, err = e.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, "", nil, err
	}
	return f, name, func() error { return errors.Join(f.Close(), e.FS.Remove(name)) }, nil
}

func (e *examination) writable(dir string) error {
	f, _, done, err := e.temporary(dir, "")
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("penstock"), 0)
	return errors.Join(err, done())
}

func (e *examination) fileSystem(dir string) {
	const check = "file system"
	kind, err := e.Machine.FileSystem(dir)
	switch {
	case err != nil:
		e.ok(check, "not known here: "+err.Error())
	case kind == "tmpfs" || kind == "ramfs":
		e.warn(check, kind+": it is gone when the machine restarts", "put the data directory on a disk with --data DIR")
	case slices.Contains([]string{"nfs", "nfs4", "cifs", "smb2", "fuse", "9p", "ceph"}, kind):
		e.warn(check, kind+": a sync may promise more than it keeps, and locks may not hold between machines", "put the data directory on a local disk; an S3 store holds the recordings elsewhere")
	case kind == "overlay":
		e.warn(check, kind+": the inside of a container, which is gone with it", "mount a volume at the data directory")
	default:
		e.ok(check, kind)
	}
}

func (e *examination) space(dir string) {
	const check = "free space"
	total, free, err := e.FS.Space(dir)
	if err != nil {
		e.warn(check, err.Error(), "see `df "+dir+"`")
		return
	}
	if total <= 0 || free == total && total > 1<<60 {
		e.ok(check, "not known here")
		return
	}
	keep := fragments.KeepFree(total) + e.Owed
	words := fmt.Sprintf("%s of %s are free; below %s the oldest video is deleted", quantity.Bytes(free), quantity.Bytes(total), quantity.Bytes(keep))
	switch {
	case free < keep:
		e.fail(check, words, "make room on the disk, or shorten retention with `penstock stream`")
	case free < 4*keep:
		e.warn(check, words, "make room on the disk, or shorten retention")
	default:
		e.ok(check, words)
	}
}

// Syncs: a fragment counts as stored within half a second of its end, and one sync
// covers all that came meanwhile.
const (
	syncGood = 50 * time.Millisecond
	syncLate = 500 * time.Millisecond
	// syncsMost bounds what is measured: a disk that syncs at once is known after that.
	syncsMost = 5000
)

// syncs measures how long a block takes to be durable.
func (e *examination) syncs(ctx context.Context, dir string) {
	const check = "sync latency"
	f, _, done, err := e.temporary(dir, "-sync")
	if err != nil {
		e.fail(check, err.Error(), "see the row above")
		return
	}
	var took []time.Duration
	block := bytes.Repeat([]byte{'x'}, 4096)
	begin := e.Clock.Now()
	for at := begin; at.Sub(begin) < e.Measure && len(took) < syncsMost && ctx.Err() == nil; {
		if _, err = f.WriteAt(block, int64(len(took)*len(block))); err == nil {
			err = f.Sync()
		}
		if err != nil {
			break
		}
		now := e.Clock.Now()
		took, at = append(took, now.Sub(at)), now
	}
	if err := errors.Join(err, done()); err != nil {
		e.fail(check, "write and sync a file: "+err.Error(), "look at the disk: `dmesg` tells what the system met")
		return
	}
	slices.Sort(took)
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	words := fmt.Sprintf("p50 %s, p99 %s, over %d syncs of 4 KiB", short(p50), short(p99), len(took))
	switch {
	case p99 > syncLate:
		e.warn(check, words+": media will wait in memory, and producers for their answers", "use another disk, or stop what else writes to it")
	case p99 > syncGood:
		e.warn(check, words+": it will do for video; each put of data records waits as long", "an SSD syncs in a few milliseconds or less")
	default:
		e.ok(check, words)
	}
}

func short(d time.Duration) string {
	switch {
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// promises tries what durable files are made of.
func (e *examination) promises(dir string) {
	const check = "durable files"
	f, name, done, err := e.temporary(dir, "-file")
	if err != nil {
		e.fail(check, err.Error(), "see the rows above")
		return
	}
	var cannot []string
	try := func(what string, err error) {
		if err != nil {
			cannot = append(cannot, what+": "+err.Error())
		}
	}
	try("reserve space", f.Allocate(1<<20))
	_, err = f.WritevAt([][]byte{[]byte("pen"), []byte("stock")}, 0)
	try("write", err)
	try("sync", f.Sync())
	err = e.FS.Rename(name, name+".renamed")
	try("rename", err)
	if err == nil {
		try("rename back", e.FS.Rename(name+".renamed", name))
	}
	try("sync the directory", e.FS.SyncDir(dir))
	try("remove", done())
	if len(cannot) > 0 {
		e.fail(check, strings.Join(cannot, "; "), "put the data directory on a local file system such as ext4 or XFS")
		return
	}
	e.ok(check, "reserve, write, sync, rename, sync of the directory")
}

// masterKey looks for the key without which what is sealed cannot be opened.
func (e *examination) masterKey(context.Context) {
	const check = "master key"
	switch _, err := e.FS.Stat(filepath.Join(e.Data, "meta.db")); {
	case errors.Is(err, fs.ErrNotExist):
		e.ok(check, "not needed yet: there are no accounts")
		return
	case err != nil:
		e.fail(check, err.Error(), asServer)
		return
	}
	elsewhere := e.Getenv != nil && (e.Getenv(auth.MasterKeyEnv) != "" || e.Getenv("CREDENTIALS_DIRECTORY") != "")
	st, err := e.FS.Stat(filepath.Join(e.Data, auth.MasterKeyFile))
	switch {
	case elsewhere:
		e.ok(check, "from the environment")
	case errors.Is(err, fs.ErrNotExist):
		e.fail(check, "there are accounts, and no "+auth.MasterKeyFile+": camera passwords and key secrets cannot be opened", "bring it back from the backup, or from where it was set ("+auth.MasterKeyEnv+")")
	case err != nil:
		e.fail(check, err.Error(), asServer)
	case st.Mode().Perm()&0o077 != 0:
		e.fail(check, "others on this machine can read it", "chmod 600 "+filepath.Join(e.Data, auth.MasterKeyFile))
	default:
		e.ok(check, "there; keep a copy of it apart from the data")
	}
}
