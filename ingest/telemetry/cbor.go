package telemetry

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/fxamacker/cbor/v2"
)

// cborMode bounds what a body can ask for. It is made at each use: there is no state.
func cborMode() (cbor.DecMode, error) {
	return cbor.DecOptions{MaxNestedLevels: nestedMax, MaxArrayElements: 131072, MaxMapPairs: 131072}.DecMode()
}

func cborParts(body []byte) ([][]byte, error) {
	mode, err := cborMode()
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for rest := body; len(rest) > 0; {
		var item cbor.RawMessage
		after, err := mode.UnmarshalFirst(rest, &item)
		if err != nil {
			return nil, bad(fmt.Sprintf("byte %d: it is not CBOR: %v", len(body)-len(rest), err))
		}
		if len(out) == RecordsMax {
			return nil, tooMany()
		}
		n := len(rest) - len(after)
		out, rest = append(out, rest[:n:n]), after
	}
	if len(out) != 1 || out[0][0]>>5 != 4 { // RFC 8949 §3.1: major type 4 is an array
		return out, nil
	}
	var items []cbor.RawMessage
	if err := mode.Unmarshal(out[0], &items); err != nil {
		return nil, bad("it is not CBOR: " + err.Error())
	}
	if len(items) > RecordsMax {
		return nil, tooMany()
	}
	out = out[:0]
	for _, item := range items {
		out = append(out, item)
	}
	return out, nil
}

// cborKey follows a pointer through maps with text keys, and arrays.
func cborKey(data []byte, steps []string) (string, error) {
	mode, err := cborMode()
	if err != nil {
		return "", err
	}
	for _, s := range steps {
		if len(data) == 0 {
			return "", errors.New("there is nothing")
		}
		switch data[0] >> 5 {
		case 5: // a map
			var m map[string]cbor.RawMessage
			if err := mode.Unmarshal(data, &m); err != nil {
				return "", errors.New("a map on the way has keys that are no text")
			}
			data = m[s]
		case 4:
			var list []cbor.RawMessage
			i, err := strconv.ParseUint(s, 10, 31)
			if err != nil || mode.Unmarshal(data, &list) != nil || i >= uint64(len(list)) {
				return "", errors.New("there is nothing")
			}
			data = list[i]
		default:
			return "", errors.New("there is nothing")
		}
	}
	if len(data) == 0 {
		return "", errors.New("there is nothing")
	}
	var v any
	if err := mode.Unmarshal(data, &v); err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, checkKey(v)
	case uint64, int64, float64, bool:
		key := fmt.Sprint(v)
		return key, checkKey(key)
	}
	return "", errors.New("it is neither text nor a number")
}
