package fragments

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"penstock/internal/fault"
)

// open reads the chunks that had no time to become objects: the next start takes them
// up. seen are the streams that were counted already.
func (v *verifier) open(ctx context.Context, seen []string) error {
	s := v.s
	rows, err := queryChunks(ctx, s.cfg.Meta.Read(), "WHERE state = 0 ORDER BY first")
	if err != nil {
		return readFault("verify", s.cfg.Dir, err)
	}
	listed, streams := map[string]bool{}, map[string]bool{}
	for _, r := range rows {
		listed[s.fileName(r.stream, r.chunkID)] = true // read with the stream's other chunks
	}
	for _, stream := range seen {
		streams[stream] = true
	}
	files, err := s.cfg.FS.ReadDir(s.cfg.Dir)
	if err != nil {
		return fault.Wrap(fault.Internal, "verify", s.cfg.Dir, err)
	}
	for _, f := range files {
		stream, id, ok := parseFileName(f.Name())
		name := s.fileName(stream, id)
		if !ok || listed[name] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		stale, err := s.uploaded(ctx, stream, id)
		if err != nil || stale {
			if err != nil {
				return err
			}
			continue
		}
		if !streams[stream] {
			streams[stream] = true
			v.sum.Streams++
		}
		if err := v.openFile(stream, id, name); err != nil {
			return err
		}
	}
	return nil
}

// openFile reads one of them. What is torn behind its last whole record is what a crash
// leaves, and no damage.
func (v *verifier) openFile(stream string, id chunkID, name string) error {
	file, err := v.s.cfg.FS.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "verify", name, err)
	}
	defer func() { _ = file.Close() }()
	size, err := file.Size()
	if err != nil {
		return fault.Wrap(fault.Internal, "verify", name, err)
	}
	if size <= headerLen+MaxStream {
		return nil // nothing was ever in it
	}
	v.sum.Chunks++
	sc, err := scan(file, size, scanAll)
	if err == nil && (sc.header.stream != stream || sc.header.salt != id.session) {
		err = errors.New("its header is another chunk's")
	}
	if err != nil {
		v.sum.Damaged++
		v.report(Finding{Stream: stream, Object: name, Offset: -1, Text: fmt.Sprintf("%v: the next start sets the file aside", err)})
		return nil
	}
	for _, e := range sc.entries {
		v.sum.Fragments++
		v.sum.Bytes += e.Size
	}
	damaged := false
	for _, f := range sc.flaws {
		if f.off >= sc.end && f.off >= sc.durable {
			continue
		}
		damaged = true
		v.report(Finding{Stream: stream, Object: name, Offset: f.off,
			Text: fmt.Sprintf("%d bytes cannot be read: %s; the next start hides them", f.len, f.why)})
	}
	if damaged {
		v.sum.Damaged++
	}
	return nil
}
