package awsjson

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
)

// field is a header by its canonical name, which Header.Get would make anew.
func field(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// greet sets the headers of all answers.
func (x *exchange) greet() {
	var id [16 + 72]byte // both are sent in text: 36 and 96 characters
	x.mu.Lock()
	_, _ = x.ids.Read(id[:]) // never fails
	x.mu.Unlock()
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562 §5.4
	var uuid [36 + 96]byte                          // and behind it the other one
	hex.Encode(uuid[:8], id[:4])
	hex.Encode(uuid[9:13], id[4:6])
	hex.Encode(uuid[14:18], id[6:8])
	hex.Encode(uuid[19:23], id[8:10])
	hex.Encode(uuid[24:], id[10:16])
	uuid[8], uuid[13], uuid[18], uuid[23] = '-', '-', '-', '-'
	base64.StdEncoding.Encode(uuid[36:], id[16:])
	both := string(uuid[:])
	values := []string{both[:36], both[36:]}
	x.call.RequestID = values[0]
	h := x.w.Header()
	h["x-amzn-RequestId"], h["x-amz-id-2"] = values[:1:1], values[1:]
	if field(x.r.Header, "Origin") != "" {
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date")
	}
}

// preflight answers a browser's question; that answer alone has no x-amz-id-2.
func (x *exchange) preflight() {
	h := x.w.Header()
	delete(h, "x-amz-id-2")
	if v := field(x.r.Header, "Access-Control-Request-Headers"); v != "" {
		h.Set("Access-Control-Allow-Headers", v)
	}
	if v := field(x.r.Header, "Access-Control-Request-Method"); v != "" {
		h.Set("Access-Control-Allow-Methods", v)
	}
	h.Set("Access-Control-Max-Age", "172800")
	x.send(http.StatusOK, "", nil)
}
