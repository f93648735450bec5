package awsjson

import (
	"errors"
	"net/http"
	"strconv"
)

// unparsed answers a body that is none.
func (x *exchange) unparsed() {
	if x.op == nil {
		x.fail(&Error{Type: "UnknownOperationException"})
		return
	}
	x.fail(serialization(""))
}

func accessDenied() *Error {
	return &Error{Type: "AccessDeniedException", Message: "Unable to determine service/operation name to be authorized", Status: http.StatusForbidden}
}

// stranger answers a body of a type that is not known, in XML.
func (x *exchange) stranger(service, name string) {
	if e := unsigned(x.r); e != nil {
		e.Status = http.StatusForbidden
		x.xml(e)
		return
	}
	switch {
	case service == "" || name == "":
		x.xml(accessDenied())
	case !x.known:
		x.xml(&Error{Type: "UnrecognizedClientException", Status: http.StatusForbidden,
			Message: "No authorization strategy was found for service: " + service + ", operation: " + name})
	default:
		x.xml(&Error{Type: "UnknownOperationException", Status: http.StatusNotFound})
	}
}

// unread answers when the body could not be read.
func (x *exchange) unread(err error) {
	switch {
	case errors.Is(err, errTooLarge):
		x.w.Header().Set("Connection", "close")
		x.drain()
		x.fail(&Error{Type: "RequestEntityTooLargeException", Status: http.StatusRequestEntityTooLarge,
			Message: "The body of a request has at most " + strconv.FormatInt(x.config.MaxBody, 10) + " bytes."})
	case errors.Is(err, errBudget):
		x.w.Header().Set("Connection", "close")
		x.fail(&Error{Type: "ServiceUnavailableException", Status: http.StatusServiceUnavailable, Message: "Slow down."})
	default:
		x.out.Err = err
		x.fail(&Error{Type: "RequestTimeoutException", Status: http.StatusRequestTimeout, Message: "The body of the request did not arrive."})
	}
}

// strange answers who is not known and sent more than is kept of a stranger's body. Whether
// that is one of its type is not looked at, else the order is that of dispatch.
func (x *exchange) strange(content string, err error) {
	if content == TypeCBOR {
		x.call.Format = CBOR
	}
	switch {
	case content == typeCoral:
		x.coral = true
		x.fail(&Error{Type: "UnknownOperationException", Status: http.StatusNotFound})
	case x.op == nil:
		x.fail(&Error{Type: "UnknownOperationException"})
	default:
		x.out.Err = err
		x.fail(x.exception(err))
	}
}
