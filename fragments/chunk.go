package fragments

import (
	"path"
	"strconv"
	"strings"
	"time"

	"penstock/internal/host"
)

// pending is a fragment that was appended and is not yet durable.
type pending struct {
	f      *Fragment
	size   int64 // its share of the budget
	since  time.Time
	done   func(Head, error)
	tracks []byte // marshalled
	entry  entry  // where it was written
}

// chunk is a chunk that no row lists yet. Its fields are under its log's mu, except where
// they say otherwise.
type chunk struct {
	log     *Log
	id      chunkID   // its session is the salt of its CRCs
	name    string    // of the file, fixed
	file    host.File // fixed; closed with the last hold
	holds   int       // readers and writers of file
	created time.Time // server time; fixed
	dirGen  uint64    // the directory change that made it; fixed

	size    int64      // bytes written
	entries []entry    // durable fragments
	flying  []*pending // written and not durable
	synced  int        // so many of flying are durable and wait for an older chunk
	acked   int        // entries that left flying since the chunk was opened
	durable int64      // bytes known durable

	inHand         bool  // a writer is writing to it
	dirty, syncing bool  // waits for a sync; is being synced
	full           bool  // takes no more
	dead           error // a write or sync failed: never to be synced again
	sealing        bool  // given to the sealer
	footer         int64 // length of the footer behind size, once durable; the sealer's own
	ended          Cause // of the gap after a recovered chunk; fixed
	recovered      bool  // found by Open: may have a torn tail, is not known to be durable
}

// hold keeps the file open; l.mu is held.
func (c *chunk) hold() { c.holds++ }

// release lets go of the file.
func (c *chunk) release() { c.releaseMany(1) }

// releaseMany lets go of n holds.
func (c *chunk) releaseMany(n int) {
	c.log.mu.Lock()
	c.holds -= n
	last := c.holds == 0
	c.log.mu.Unlock()
	if last && c.file != nil {
		if err := c.file.Close(); err != nil {
			c.log.s.cfg.Logger.Debug("a chunk file did not close well", "stream", c.log.id, "err", err)
		}
	}
}

const openSuffix = ".open"

// fileName is the local name of a chunk.
func (s *Store) fileName(stream string, id chunkID) string {
	return path.Join(s.cfg.Dir, stream+"."+id.String()+openSuffix)
}

// parseFileName reads what fileName made.
func parseFileName(name string) (stream string, id chunkID, ok bool) {
	base, ok := strings.CutSuffix(name, openSuffix)
	if !ok {
		return "", id, false
	}
	stream, rest, ok := strings.Cut(base, ".")
	if !ok || !validStream(stream) {
		return "", id, false
	}
	ms, session, ok := strings.Cut(rest, "-")
	if !ok {
		return "", id, false
	}
	at, err1 := strconv.ParseInt(ms, 10, 63)
	n, err2 := strconv.ParseUint(session, 16, 32)
	id = chunkID{at, uint32(n)}
	return stream, id, err1 == nil && err2 == nil && id.String() == rest
}

// parseKey reads what chunkID.key made.
func parseKey(key string) (stream string, id chunkID, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 || parts[0] != "v" {
		return "", id, false
	}
	stream, id, ok = parseFileName(parts[1] + "." + strings.TrimSuffix(parts[3], ".chk") + openSuffix)
	return stream, id, ok && id.key(stream) == key
}

func validStream(stream string) bool {
	if stream == "" || len(stream) > MaxStream {
		return false
	}
	for i := range len(stream) {
		switch c := stream[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
