package awsjson

import (
	"net/http"
	"net/url"
	"strings"
)

// unsigned says what is missing of a request's signature before anybody looks at it:
// nothing at all, a part of it, or that there are two. nil: it has all its parts.
func unsigned(r *http.Request) *Error {
	header := field(r.Header, "Authorization")
	if r.URL.RawQuery == "" && complete(header) && field(r.Header, "X-Amz-Date") != "" {
		return nil
	}
	query := r.URL.Query()
	_, inQuery := query["X-Amz-Algorithm"]
	switch {
	case header != "" && inQuery:
		return NewError("InvalidSignatureException", "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
	case header != "":
		return incompleteHeader(r, header)
	case inQuery:
		return incompleteQuery(query)
	}
	return NewError("MissingAuthenticationTokenException", "Missing Authentication Token")
}

// complete reports whether a header plainly has all its parts; what is not plain is looked
// at closely.
func complete(header string) bool {
	for _, p := range [...]string{"Credential=", "SignedHeaders=", "Signature="} {
		i := strings.Index(header, p)
		if i < 1 || header[i-1] != ' ' && header[i-1] != ',' {
			return false
		}
		if i += len(p); i >= len(header) || header[i] == ',' || header[i] == ' ' {
			return false
		}
	}
	return strings.HasPrefix(header, "AWS4-HMAC-SHA256 ")
}

func incompleteHeader(r *http.Request, header string) *Error {
	has := make(map[string]bool)
	_, params, _ := strings.Cut(header, " ")
	for _, p := range strings.FieldsFunc(params, func(c rune) bool { return c == ',' || c == ' ' }) {
		name, value, _ := strings.Cut(p, "=")
		has[name] = value != ""
	}
	var b strings.Builder
	for _, p := range []string{"Credential", "Signature", "SignedHeaders"} {
		if !has[p] {
			b.WriteString("Authorization header requires '" + p + "' parameter. ")
		}
	}
	if field(r.Header, "X-Amz-Date") == "" && field(r.Header, "Date") == "" {
		b.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	if b.Len() == 0 {
		return nil
	}
	// What AWS says back is a signature at most. Here clients have tokens too, and print errors.
	if scheme, _, _ := strings.Cut(header, " "); strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "Basic") {
		header = scheme + " ***"
	}
	return &Error{Type: "IncompleteSignatureException", Message: b.String() + "Authorization=" + header}
}

func incompleteQuery(query url.Values) *Error {
	var b strings.Builder
	for _, p := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date"} {
		if query.Get(p) == "" {
			b.WriteString("AWS query-string parameters must include '" + p + "'. ")
		}
	}
	if b.Len() == 0 {
		return nil
	}
	return &Error{Type: "IncompleteSignatureException", Message: b.String() + "Re-examine the query-string parameters."}
}
