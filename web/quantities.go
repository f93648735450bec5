package web

import (
	"encoding/json"
	"fmt"
	"strconv"

	"penstock/internal/fault"
	"penstock/internal/quantity"
)

// byteCount is a number of bytes, which people may write as "500GiB".
type byteCount int64

// UnmarshalJSON takes a whole number and a text with a unit.
func (b *byteCount) UnmarshalJSON(text []byte) error {
	bad := func(why string) error {
		return fault.New(fault.Invalid, "read bytes", fmt.Sprintf("%.40s", text), why).WithHint(`write 0 for no bound, a whole number, or a text such as "500GiB"`)
	}
	var words string
	if json.Unmarshal(text, &words) == nil && string(text) != "null" {
		n, err := quantity.Size(words)
		if err != nil {
			return bad(err.Error())
		}
		*b = byteCount(n)
		return nil
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 {
		return bad("it is no number of bytes")
	}
	*b = byteCount(n)
	return nil
}
