package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"

	"github.com/minio/minio-go/v7"

	"penstock/internal/fault"
)

// answer is what an S3 error code or status means to us.
type answer struct {
	kind fault.Kind
	hint string
}

// meaning goes by the code; servers agree on few statuses.
func meaning(e minio.ErrorResponse) answer {
	switch e.Code {
	case "NoSuchKey", "NotFound":
		return answer{fault.NotFound, ""}
	case "NoSuchBucket":
		return answer{fault.Unavailable, "make the bucket, or correct its name"}
	case "PreconditionFailed":
		return answer{fault.InUse, ""}
	case "ObjectParentIsFile": // stores that keep files
		return answer{fault.InUse, ""}
	case "ExistingObjectIsDirectory":
		// versitygw 1.8.0 answers this too when it removes an empty directory beside a put
		// into it: the next try works.
		return answer{fault.Throttled, ""}
	case "AccessDenied", "AllAccessDisabled":
		return answer{fault.Denied, "check the secret key, and allow this key to put, get, list and delete in the bucket"}
	case "InvalidAccessKeyId", "XAdminUserNotFound", "SignatureDoesNotMatch", "InvalidSecurity", "AuthorizationHeaderMalformed":
		return answer{fault.Unauthentic, "check the access key, the secret key and the region"}
	case "RequestTimeTooSkewed":
		return answer{fault.Unavailable, "the clocks of this machine and the store differ: set them by NTP"}
	case "SlowDown", "TooManyRequests", "RequestLimitExceeded", "ConditionalRequestConflict", "OperationAborted":
		return answer{fault.Throttled, ""}
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage":
		return answer{fault.Unavailable, "the store is full: free space or shorten the retention of a stream"}
	case "EntityTooLarge":
		return answer{fault.Invalid, "the store takes no object of this size: lower the chunk size"}
	}
	switch s := e.StatusCode; {
	case s == http.StatusNotFound && e.Code == "":
		return answer{fault.NotFound, ""}
	case s == http.StatusPreconditionFailed:
		return answer{fault.InUse, ""}
	case s == http.StatusForbidden:
		return answer{fault.Denied, "check the secret key, and allow this key to put, get, list and delete in the bucket"}
	case s == http.StatusUnauthorized:
		return answer{fault.Unauthentic, "check the access key and the secret key"}
	case s == http.StatusTooManyRequests, s == http.StatusServiceUnavailable:
		return answer{fault.Throttled, ""}
	case s == http.StatusInsufficientStorage:
		return answer{fault.Unavailable, "the store is full: free space or shorten the retention of a stream"}
	case s >= 500:
		return answer{fault.Unavailable, "look at the log of the object store"}
	}
	return answer{fault.Internal, ""}
}

// classify gives a failed request its kind and says what to do.
func (b *Bucket) classify(ctx context.Context, op, key string, err error) error {
	if err == nil {
		return nil
	}
	if cerr := ctx.Err(); cerr != nil {
		return fault.Wrap(fault.Unavailable, op, key, cerr)
	}
	e := &fault.Error{Kind: fault.Unavailable, Op: op, Resource: key, Err: err,
		Hint: "check that " + b.String() + " can be reached from this machine"}
	var (
		resp      minio.ErrorResponse
		authority x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &resp):
		a := meaning(resp)
		e.Kind, e.Hint = a.kind, a.hint
	case errors.As(err, &authority):
		e.Hint = "give the certificate of the store's authority as CAFile"
	}
	return e
}
