package kinesis

import (
	"errors"
	"fmt"
	"testing"

	"penstock/internal/fault"
	"penstock/wire/awsjson"
)

// TestFaultsOfTheFloorsBelowHaveWords is what clients hear of errors that no operation has
// words of its own for. A cause of ours is never shown.
func TestFaultsOfTheFloorsBelowHaveWords(t *testing.T) {
	unsealed := fault.Wrap(fault.Internal, "unseal", "data stream key x", errors.New("it was sealed under another master key"))
	for _, c := range []struct {
		err  error
		op   string
		want string
	}{
		{errors.New("disk on fire"), "CreateStream", "500 InternalFailure: "},
		{errors.New("disk on fire"), "PutRecord", "500 InternalFailureException: Internal Service Failure"},
		{fault.New(fault.Internal, "read segment", "secret/path", "bad block"), "GetRecords", "500 InternalFailureException: Internal Service Failure"},
		{fault.New(fault.Unavailable, "put", "s", "the disk is nearly full"), "PutRecords", "503 InternalFailure: "},
		{fault.New(fault.Invalid, "put", "s", "too much"), "PutRecords", "400 InvalidArgumentException: too much"},
		{fault.New(fault.NotFound, "find", "s", "no such thing"), "X", "400 ResourceNotFoundException: no such thing"},
		{fault.New(fault.InUse, "find", "s", "taken"), "X", "400 ResourceInUseException: taken"},
		{fault.New(fault.Throttled, "set", "s", "ten times"), "UpdateShardCount", "400 LimitExceededException: ten times"},
		{fault.New(fault.Denied, "x", "s", "no"), "X", "400 AccessDeniedException: no"},
		{fault.New(fault.Unauthentic, "check access key", "", "x"), "X", "400 UnrecognizedClientException: The security token included in the request is invalid."},
		{fault.New(fault.Unauthentic, "check signature", "", "Signature expired: now"), "X", "400 InvalidSignatureException: Signature expired: now"},
		{fault.New(fault.Invalid, "read signature", "", "no date"), "X", "400 IncompleteSignatureException: no date"},
		{fault.Wrap(fault.Internal, "put", "s", fault.Wrap(fault.Internal, "current key", "s", unsealed)), "PutRecord",
			"400 KMSInvalidStateException: The key of the stream cannot be opened: it was sealed under another master key"},
	} {
		e := exception(&awsjson.Call{Operation: c.op}, c.err)
		status := e.Status
		if status == 0 {
			status = 400
		}
		if got := fmt.Sprintf("%d %s: %s", status, e.Type, e.Message); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}
