package kinesis

import (
	"errors"
	"fmt"
	"strings"

	"penstock/internal/fault"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

func invalidArgument(format string, args ...any) *awsjson.Error {
	return awsjson.NewError("InvalidArgumentException", format, args...)
}

func streamNotFound(stream, account string) *awsjson.Error {
	return awsjson.NewError("ResourceNotFoundException", "Stream %s under account %s not found.", stream, account)
}

func shardNotFound(shard, stream, account string) *awsjson.Error {
	return awsjson.NewError("ResourceNotFoundException", "Shard %s in stream %s under account %s does not exist", shard, stream, account)
}

// noSuchShard is for what cannot be a shard's id at all, and for shards to split or merge.
func noSuchShard(given, stream, account string) *awsjson.Error {
	return awsjson.NewError("ResourceNotFoundException", "Could not find shard %s in stream %s under account %s.", given, stream, account)
}

func consumerNotFound(consumer, account string) *awsjson.Error {
	return awsjson.NewError("ResourceNotFoundException", "Consumer %s, account %s not found.", consumer, account)
}

func rateExceeded(shard, stream, account string) *awsjson.Error {
	return awsjson.NewError("ProvisionedThroughputExceededException", "Rate exceeded for shard %s in stream %s under account %s.", shard, stream, account)
}

// refused words a datastream.Refusal; other errors stay as they are.
func refused(err error, s *datastream.Stream) error {
	var r *datastream.Refusal
	if !errors.As(err, &r) {
		return err
	}
	return wordRefusal(r, s.Name(), s.Account(), s.Region())
}

func wordRefusal(r *datastream.Refusal, stream, account, region string) error {
	switch r.Reason {
	case datastream.NotActive:
		return awsjson.NewError("ResourceInUseException", "Stream %s under account %s not ACTIVE, instead in state %s", stream, account, r.Status)
	case datastream.NoShard:
		return noSuchShard(r.Shard.String(), stream, account)
	case datastream.ShardClosed:
		return invalidArgument("Shard %s in stream %s under account %s has already been merged or split, and thus is not eligible for merging or splitting.", r.Shard, stream, account)
	case datastream.NotAdjacent:
		return invalidArgument("Shards %s and %s in stream %s under account %s are not an adjacent pair of shards eligible for merging", r.Shard, r.Other, stream, account)
	case datastream.ShardQuota:
		return awsjson.NewError("LimitExceededException", "This request would exceed the shard limit for the account %s in %s. Current shard count for the account: %d. Limit: %d. "+
			"Number of additional shards that would have resulted from this request: %d. "+
			"Refer to the AWS Service Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to request higher limits.",
			account, region, r.Count, r.Limit, r.More)
	case datastream.TooFar:
		why := "UpdateShardCount cannot scale down below half your current open shard count."
		switch {
		case r.More > r.Limit:
			why = fmt.Sprintf("Target shard count or number of open shards cannot be greater than %d.", r.Limit)
		case r.More > r.Count:
			why = "UpdateShardCount cannot scale up over double your current open shard count."
		}
		return awsjson.NewError("LimitExceededException", "%s Current open shard count: %d Target shard count: %d", why, r.Count, r.More)
	case datastream.StreamQuota:
		return awsjson.NewError("LimitExceededException", "This request would exceed the on-demand stream limit for the account %s in %s. Current on-demand stream count: %d. Limit: %d.", account, region, r.Count, r.Limit)
	case datastream.ConsumerQuota:
		return awsjson.NewError("LimitExceededException", "This request would exceed the number of registered consumers for stream %s under account %s. Current consumer count: %d. Limit: %d.", stream, account, r.Count, r.Limit)
	case datastream.HasConsumers:
		return awsjson.NewError("ResourceInUseException", "Stream %s under account %s has %d registered consumers; deregister them or set EnforceConsumerDeletion.", stream, account, r.Count)
	case datastream.IsOnDemand:
		return awsjson.NewError("ValidationException", "Request is invalid. Stream %s under account %s is in On-Demand mode.", stream, account)
	case datastream.TagQuota:
		return invalidArgument("Failed to add tags to stream %s under account %s because a given stream cannot have more than %d tags associated with it.", stream, account, r.Limit)
	case datastream.Taken:
		return awsjson.NewError("ResourceInUseException", "Stream %s under account %s already exists.", stream, account)
	}
	return invalidArgument("%s", r.Error())
}

// exception words what is no exception yet: faults of auth and of the floors below.
func exception(c *awsjson.Call, err error) *awsjson.Error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return internal(c)
	}
	text := cause(f)
	if within(err, "unseal") {
		return awsjson.NewError("KMSInvalidStateException", "The key of the stream cannot be opened: %s", text)
	}
	switch f.Kind {
	case fault.Unauthentic:
		if f.Op == "check access key" {
			return awsjson.NewError("UnrecognizedClientException", "The security token included in the request is invalid.")
		}
		if f.Op == "check signature" {
			return awsjson.NewError("InvalidSignatureException", "%s", text)
		}
		return awsjson.NewError("UnrecognizedClientException", "The security token included in the request is invalid.")
	case fault.Denied:
		return awsjson.NewError("AccessDeniedException", "%s", text)
	case fault.NotFound:
		return awsjson.NewError("ResourceNotFoundException", "%s", text)
	case fault.InUse:
		return awsjson.NewError("ResourceInUseException", "%s", text)
	case fault.Throttled:
		return awsjson.NewError("LimitExceededException", "%s", text)
	case fault.Invalid:
		if f.Op == "read signature" {
			return awsjson.NewError("IncompleteSignatureException", "%s", text)
		}
		return invalidArgument("%s", text)
	case fault.Unavailable:
		return &awsjson.Error{Type: "InternalFailure", Message: "", Status: 503}
	}
	return internal(c)
}

// within reports whether a fault in err's chain says that it was doing op.
func within(err error, op string) bool {
	var f *fault.Error
	for errors.As(err, &f) {
		if f.Op == op {
			return true
		}
		err = f.Err
	}
	return false
}

// internal is the 500 of an operation: the data operations model one.
func internal(c *awsjson.Call) *awsjson.Error {
	switch c.Operation {
	case "GetRecords", "GetShardIterator", "PutRecord", "PutRecords":
		return &awsjson.Error{Type: "InternalFailureException", Message: "Internal Service Failure", Status: 500}
	}
	return awsjson.Internal()
}

// cause is the innermost text of a fault.
func cause(f *fault.Error) string {
	var err error = f
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return strings.TrimSpace(err.Error())
		}
		err = next
	}
}

// wordCreate words what a stream that does not exist was refused for.
func wordCreate(err error, p place) error {
	var r *datastream.Refusal
	if !errors.As(err, &r) {
		return err
	}
	return wordRefusal(r, p.stream, p.account, p.region)
}

// shortCause is the text behind a fault, without what was being done.
func shortCause(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Err != nil {
		return f.Err.Error()
	}
	return err.Error()
}
