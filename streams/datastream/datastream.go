// Package datastream is the catalogue of named data streams: what each is called, how
// long it keeps records, who reads it, how much may be put into it, and the states it
// goes through (KDS, "Amazon Kinesis Data Streams API Reference").
//
// The records themselves are package records'; a stream here is a name and settings over
// one records.Log. Every change is durable in the metadata store before it is answered
// and is finished after a crash. Doors (the AWS API, HTTP, MQTT) translate names, words
// and faults; they decide nothing that this package or auth decides.
package datastream

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"penstock/internal/fault"
	"penstock/records"
)

// Limits of the service model.
const (
	NameMax          = 128
	TagsMax          = 50
	RetentionMin     = 24 * time.Hour
	RetentionMax     = 8760 * time.Hour
	MaxRecordDefault = 1 << 20  // bytes of data and key together
	MaxRecordMax     = 10 << 20 // what UpdateMaxRecordSize can raise it to
	ShardsMax        = 10_000   // open shards of one stream
	OnDemandShards   = 4        // what an on-demand stream begins with
	ConsumersMax     = 20       // registered consumers of a stream
	ConsumersMaxPlus = 50       // of an account with the throughput commitment
)

// Status is the state of a stream or consumer, in the words of the service.
type Status string

// The states.
const (
	Creating Status = "CREATING"
	Active   Status = "ACTIVE"
	Updating Status = "UPDATING"
	Deleting Status = "DELETING"
)

// Mode says who decides about the number of shards.
type Mode string

// The modes: in Provisioned the user does, in OnDemand the stream follows its traffic.
const (
	Provisioned Mode = "PROVISIONED"
	OnDemand    Mode = "ON_DEMAND"
)

// Info is what a data stream is at one moment. It is immutable, maps and slices included.
type Info struct {
	ID        string // of its log: short, random, never reused; the only name that becomes a path
	Account   string
	Region    string
	Name      string // unique in account and region
	StreamID  string // the service's StreamId
	Created   time.Time
	Status    Status
	Mode      Mode
	Retention time.Duration
	MaxRecord int      // bytes of data and key together
	Warm      int      // MiB/s asked for ahead of use; 0: none
	KeyID     string   // as given when encryption was started; empty: not encrypted
	Metrics   []string // shard level metrics switched on, sorted as the model has them
	Tags      map[string]string
	Policy    string // resource policy, as given; empty: none
}

// ARN is arn:aws:kinesis:REGION:ACCOUNT:stream/NAME.
func (i *Info) ARN() string { return ARN(i.Account, i.Region, i.Name) }

// Encrypted reports whether records put now are encrypted at rest.
func (i *Info) Encrypted() bool { return i.KeyID != "" }

// ARN is the ARN of a data stream.
func ARN(account, region, name string) string {
	return "arn:aws:kinesis:" + region + ":" + account + ":stream/" + name
}

// Consumer is a registered reader of a stream. It is a value.
type Consumer struct {
	Name    string
	Created time.Time // whole seconds
	Status  Status
	Tags    map[string]string // read-only
	Policy  string            // resource policy, as given; empty: none
	stream  string            // ARN
}

// ARN is STREAM-ARN/consumer/NAME:SECONDS.
func (c Consumer) ARN() string {
	return c.stream + "/consumer/" + c.Name + ":" + strconv.FormatInt(c.Created.Unix(), 10)
}

// StreamARN is the ARN of the stream that it reads.
func (c Consumer) StreamARN() string { return c.stream }

// Reason says what a Refusal is about.
type Reason uint8

// The reasons. Doors have words for each.
const (
	NotActive       Reason = iota + 1 // fault.InUse: the stream is in Refusal.Status
	NoShard                           // fault.NotFound: there is no shard Refusal.Shard
	ShardClosed                       // fault.Invalid: Refusal.Shard was split or merged already
	BadSplit                          // fault.Invalid: the hash key is not inside Refusal.Shard
	NotAdjacent                       // fault.Invalid: Refusal.Shard and Refusal.Other cannot be merged
	ShardQuota                        // fault.Throttled: Refusal.More on top of Refusal.Count passes Refusal.Limit
	TooFar                            // fault.Invalid: Refusal.More is not between half and double of Refusal.Count, or past Refusal.Limit
	StreamQuota                       // fault.Throttled: Refusal.Count on-demand streams are Refusal.Limit
	ConsumerQuota                     // fault.Throttled: Refusal.Count consumers are Refusal.Limit
	HasConsumers                      // fault.InUse: Refusal.Count consumers are registered
	IsOnDemand                        // fault.Invalid: the stream decides about its shards itself
	TagQuota                          // fault.Invalid: more than Refusal.Limit tags
	RecordTooBig                      // fault.Invalid: Refusal.Count bytes, Refusal.Limit may be
	Taken                             // fault.InUse: the name exists
	RetentionBounds                   // fault.Invalid: not between RetentionMin and RetentionMax
	RetentionWrong                    // fault.Invalid: the other of increase and decrease is meant
	NeedsCommitment                   // fault.Invalid: warm throughput without the account's commitment
)

// Refusal is the cause of a fault that a door may want to word in its own way.
type Refusal struct {
	Reason       Reason
	Status       Status
	Shard, Other records.ShardID
	Count        int
	Limit        int
	More         int
}

// Error says it in words for people.
func (r *Refusal) Error() string {
	switch r.Reason {
	case NotActive:
		return "it is " + string(r.Status) + ", not ACTIVE; try again soon"
	case NoShard:
		return "there is no shard " + r.Shard.String()
	case ShardClosed:
		return r.Shard.String() + " was split or merged already"
	case BadSplit:
		return "the hash key is not inside the range of " + r.Shard.String()
	case NotAdjacent:
		return r.Shard.String() + " and " + r.Other.String() + " are not neighbours in this order"
	case ShardQuota:
		return fmt.Sprintf("%d shards are open, %d more would pass the limit of %d", r.Count, r.More, r.Limit)
	case TooFar:
		return fmt.Sprintf("from %d open shards, a step goes to between half and double, at most %d; not to %d", r.Count, r.Limit, r.More)
	case StreamQuota:
		return fmt.Sprintf("there are %d on-demand streams, the limit", r.Count)
	case ConsumerQuota:
		return fmt.Sprintf("there are %d consumers, the limit", r.Count)
	case HasConsumers:
		return fmt.Sprintf("%d consumers are registered", r.Count)
	case IsOnDemand:
		return "it is in on-demand mode and decides about its shards itself"
	case TagQuota:
		return fmt.Sprintf("more than %d tags", r.Limit)
	case RecordTooBig:
		return fmt.Sprintf("a record of %d bytes; the stream takes %d", r.Count, r.Limit)
	case Taken:
		return "the name is taken"
	case RetentionBounds:
		return "records are kept between 24 hours and 8760 hours"
	case RetentionWrong:
		return "the change goes the other way"
	case NeedsCommitment:
		return "warm throughput needs the account's throughput commitment"
	}
	return "refused"
}

// kind is the fault that goes with the reason.
func (r *Refusal) kind() fault.Kind {
	switch r.Reason {
	case NotActive, HasConsumers, Taken:
		return fault.InUse
	case NoShard:
		return fault.NotFound
	case ShardQuota, StreamQuota, ConsumerQuota:
		return fault.Throttled
	}
	return fault.Invalid
}

// refuse makes the fault.
func refuse(op, stream string, r *Refusal) error { return fault.Wrap(r.kind(), op, stream, r) }

// CheckName reports whether a stream or consumer can be called name:
// [a-zA-Z0-9_.-]{1,128}. fault.Invalid: no.
func CheckName(name string) error {
	if name == "" || len(name) > NameMax ||
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
		return fault.New(fault.Invalid, "name data stream", strconv.Quote(name), "want 1 to 128 letters, digits, _ . -")
	}
	return nil
}
