// Package auth knows who is calling and decides what they may do.
//
// People, access keys, sign-in sessions and media tokens turn into a Principal at
// a door; Authority.Authorize is the only place that says whether a principal may
// do an action to a resource. The package speaks no protocol: HTTP, RTSP and the
// rest hand it what their caller presented. Policies have the shape of AWS IAM's
// (IAM JSON policy reference), deny wins, and what nothing allows is denied.
package auth

import (
	"context"
	"database/sql"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"penstock/internal/host"
	"penstock/internal/secret"
)

// Secret is a string that prints as ***.
type Secret = secret.Text

// Defaults of Config.
const (
	DefaultAccount = "000000000000"
	DefaultRegion  = "us-east-1"
	// SessionLife is how long a sign-in lasts, from the sign-in on.
	SessionLife = 14 * 24 * time.Hour
	// SessionIdle ends a sign-in that nobody used.
	SessionIdle = 3 * 24 * time.Hour
	// LinkLife is how long a one-time sign-in link works.
	LinkLife = 15 * time.Minute
	// MediaLifeMax is the longest a media token lasts.
	MediaLifeMax = 12 * time.Hour
)

// Auditor hears each sign-in and change, allowed or not. *audit.Log satisfies it.
// It must not block for long and may be called at once from many goroutines.
type Auditor interface {
	Record(ctx context.Context, e AuditEvent)
}

// AuditEvent is one line of the audit log.
type AuditEvent struct {
	Action    string // "penstock:SignIn", "kinesisvideo:DeleteStream"
	Principal string // Principal.ARN, or the name that was tried
	Account   string
	Remote    string // address of the caller
	Object    string // ARN or name of what was touched
	Decision  string // "allow", "deny", "fail"
	Detail    string // reason, key id; never a secret
}

// DB is the part of the metadata store that an Authority needs; *meta.DB satisfies it.
type DB interface {
	// Write runs f in one transaction and returns when that is durable.
	Write(ctx context.Context, f func(*sql.Tx) error) error
	Read() *sql.DB
}

// Config says where an Authority keeps its people and keys. Meta and MasterKey are
// required; the zero value of the rest means the documented default.
type Config struct {
	Meta      DB
	MasterKey MasterKey     // seals secrets at rest; LoadMasterKey finds or makes it
	Account   string        // the default account; DefaultAccount
	Region    string        // DefaultRegion
	Clock     host.Clock    // host.System
	Rand      io.Reader     // crypto/rand
	Logger    *slog.Logger  // discards
	Audit     Auditor       // none
	Poll      time.Duration // how often Run looks for changes by other processes; 1 s

	// DigestPasswords also keeps, sealed, what RTSP Digest needs to check a person's
	// password. Off: people sign in to RTSP with Basic, keys with Basic or Digest.
	DigestPasswords bool

	Registerer prometheus.Registerer // none
}

// Kind says what sort of caller a Principal is.
type Kind uint8

// The kinds of principals. The zero Kind is nobody.
const (
	Nobody Kind = iota
	Person
	Key
)

// Principal is who is calling, as one door found out. The zero value is nobody and
// may do nothing. It is immutable and may be shared. It stays what it was when its
// key is revoked: Authorize looks again each time.
type Principal struct {
	Account string
	ID      string // stable: a person's or key's id
	Kind    Kind
	Name    string
	Role    string    // admin, operator, viewer, producer, worker, or "custom"
	Via     string    // "password", "link", "cookie", "bearer", "basic", "digest", "sigv4", "media"
	Expires time.Time // when this proof ends; zero: when revoked

	generation uint64      // of the person or key when the proof was made
	session    string      // hash of the cookie session, to end it
	media      *mediaGrant // narrows to one stream and window; nil: not narrowed
}

// Known reports whether the principal is somebody.
func (p Principal) Known() bool { return p.Kind != Nobody }

// ARN names the principal in AWS's shape: arn:aws:iam::ACCOUNT:user/NAME.
func (p Principal) ARN() string {
	if !p.Known() {
		return "anonymous"
	}
	return "arn:aws:iam::" + p.Account + ":user/" + p.Name
}

// Window is the time span that a media token is bound to; ok is false when the
// principal is not bound to one. A zero end is open.
func (p Principal) Window() (from, to time.Time, ok bool) {
	if p.media == nil || (p.media.from.IsZero() && p.media.to.IsZero()) {
		return time.Time{}, time.Time{}, false
	}
	return p.media.from, p.media.to, true
}

// Context is what conditions of a policy may ask about. Zero fields match no condition.
type Context struct {
	SourceIP string    // the caller's address, with or without port
	Time     time.Time // zero: now
	Secure   bool      // the request came over TLS
	Values   map[string]string
	From, To time.Time // the span of media asked for; zero: live
}

// Action names an operation in AWS's shape, "service:Operation".
type Action string

// The actions. Those of kinesisvideo are AWS's; where one native route does the
// work of an AWS operation it asks for that operation's action.
const (
	CreateStream        Action = "kinesisvideo:CreateStream"
	DescribeStream      Action = "kinesisvideo:DescribeStream"
	ListStreams         Action = "kinesisvideo:ListStreams" // to ask for a list; each entry needs DescribeStream
	UpdateStream        Action = "kinesisvideo:UpdateStream"
	UpdateDataRetention Action = "kinesisvideo:UpdateDataRetention"
	TagStream           Action = "kinesisvideo:TagStream"
	DeleteStream        Action = "kinesisvideo:DeleteStream"
	GetDataEndpoint     Action = "kinesisvideo:GetDataEndpoint"
	PutMedia            Action = "kinesisvideo:PutMedia"
	GetMedia            Action = "kinesisvideo:GetMedia" // live
	ListFragments       Action = "kinesisvideo:ListFragments"
	GetFragmentMedia    Action = "kinesisvideo:GetMediaForFragmentList"
	GetClip             Action = "kinesisvideo:GetClip"
	GetImages           Action = "kinesisvideo:GetImages"
	GetHLS              Action = "kinesisvideo:GetHLSStreamingSessionURL"
	GetDASH             Action = "kinesisvideo:GetDASHStreamingSessionURL"

	Probe       Action = "penstock:Probe"
	Discover    Action = "penstock:Discover"
	ManageKeys  Action = "penstock:ManageKeys" // keys, people, passwords of others
	SetOwn      Action = "penstock:SetOwnPassword"
	ReadSystem  Action = "penstock:ReadSystem"
	ReadMetrics Action = "penstock:ReadMetrics"
	Talk        Action = "penstock:Talk"      // into the loudspeaker of a stream's camera
	SetCamera   Action = "penstock:SetCamera" // change a setting of a camera itself
	ReadAudit   Action = "penstock:ReadAudit"
	ListEvents  Action = "penstock:ListEvents"  // what happened on a stream
	PutEvent    Action = "penstock:PutEvent"    // say what happened, and change what one said
	KeepVideo   Action = "penstock:KeepVideo"   // have an event's video outlive the stream's retention
	ChangeEvent Action = "penstock:ChangeEvent" // change and delete the events of others
)
