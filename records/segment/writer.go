package segment

import (
	"crypto/cipher"
	"errors"
	"io"
)

// Config says how a segment is written.
type Config struct {
	Name      Name        // Day is not needed
	BlockSize int         // bytes of rows in a block; 0: DefaultBlock
	Plain     bool        // no compression
	AEAD      cipher.AEAD // seals every block; nil: no encryption
	KeyID     string      // names AEAD's key to readers; needed with AEAD
	Rand      io.Reader   // nonces; nil: crypto/rand
}

// Writer writes one segment in bounded memory: one block, and some 40 bytes for each
// block written. Not for concurrent use.
type Writer struct{}

// NewWriter returns a Writer that writes a segment to w, which is neither synced nor
// closed. fault.Invalid: the Config cannot be.
func NewWriter(w io.Writer, c Config) (*Writer, error) { return nil, errors.ErrUnsupported }

// Reset makes the Writer begin another segment, keeping its buffers.
func (w *Writer) Reset(to io.Writer, c Config) error { return errors.ErrUnsupported }

// Begin says whose the next records are. Shards come in ascending order of ID; one
// without records leaves no trace. s.About is copied.
func (w *Writer) Begin(s Shard) error { return errors.ErrUnsupported }

// Add appends a record to the shard of the last Begin; it copies Key and Data.
// fault.Invalid: the index does not rise, the arrival runs backwards, or a limit is
// passed; nothing was added. After any other error the segment is lost.
func (w *Writer) Add(r *Record) error { return errors.ErrUnsupported }

// Size returns the bytes written so far and those of the open block, uncompressed.
func (w *Writer) Size() int64 { return 0 }

// Finish writes what is left and the footer. fault.Invalid: there is no record.
func (w *Writer) Finish() (Info, error) { return Info{}, errors.ErrUnsupported }
