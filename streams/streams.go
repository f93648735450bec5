// Package streams holds the catalogue of named streams and the Hub, where the one
// producer of a stream meets its log and its live listeners.
//
// Samples come in through a Session, go to fragments.Log for good and to Listeners
// at once; neither a viewer nor a disk ever holds a producer up. What a fragment is
// and how it is stored is package fragments'; who may do what is package auth's.
package streams

import (
	"strconv"
	"time"

	"penstock/internal/secret"
)

// Limits on what the catalogue holds, against growth from outside.
const (
	NameMax      = 256 // characters of a stream's name (KVS CreateStream)
	TagsMax      = 50  // tags of a stream (KVS TagStream)
	TagKeyMax    = 128
	TagValueMax  = 1024
	SourceURLMax = 2048
	RetentionMin = time.Hour
	RetentionMax = 87600 * time.Hour // ten years (KVS)
	// RetentionDefault is used when a stream is created without one.
	RetentionDefault = 24 * time.Hour
	// RetentionBytesMin is the least that a stream may be bounded to: some fragments of any
	// camera. RetentionBytesMax is an exbibyte.
	RetentionBytesMin = 1 << 20
	RetentionBytesMax = 1 << 60
)

// Secret is a string that prints as ***.
type Secret = secret.Text

// Transport says how media of a pulled camera travels.
type Transport string

// The transports: Auto tries TCP first and UDP when that is refused.
const (
	Auto Transport = "auto"
	TCP  Transport = "tcp"
	UDP  Transport = "udp"
)

// Source is the camera that a stream is pulled from.
type Source struct {
	URL       string // rtsp:// or rtsps://, without user and password
	Username  string
	Password  Secret // sealed at rest
	Transport Transport
}

// Stream is one entry of the catalogue. It is a value: changing a copy changes
// nothing. Source and Tags are shared and read-only.
type Stream struct {
	ID        string // 12 characters, random, for ever; the only name that becomes a path
	Account   string
	Region    string
	Name      string // unique in the account
	Created   time.Time
	Version   string // changes with every update (KVS optimistic locking)
	Retention time.Duration
	// RetentionBytes is how much of its video is kept at most, the newest; 0: as much as
	// comes within Retention.
	RetentionBytes int64
	Source         *Source // nil: media is pushed
	Tags           map[string]string
}

// ARN is arn:aws:kinesisvideo:REGION:ACCOUNT:stream/NAME/CREATED, created in ms.
func (s Stream) ARN() string {
	return "arn:aws:kinesisvideo:" + s.Region + ":" + s.Account + ":stream/" + s.Name + "/" +
		strconv.FormatInt(s.Created.UnixMilli(), 10)
}

// ChangeKind says what happened to a stream.
type ChangeKind uint8

// The kinds of changes.
const (
	Created ChangeKind = iota + 1
	Updated
	Deleted
)

// Change is one change of the catalogue.
type Change struct {
	Kind   ChangeKind
	Stream Stream // as it is now; Deleted: as it was
}

// Sealer keeps secrets safe at rest. *auth.Authority satisfies it. context binds a
// sealed secret to its place: it opens only with the context that it was sealed with.
type Sealer interface {
	Seal(context string, plain []byte) ([]byte, error)
	Unseal(context string, sealed []byte) ([]byte, error)
}
