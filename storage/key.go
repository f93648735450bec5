package storage

import (
	"fmt"
	"strings"

	"penstock/internal/fault"
)

// MaxKey bounds a key in bytes: with a prefix of the operator's choosing it stays
// under S3's 1,024, and with a data directory under a file system's 4,096.
const MaxKey = 512

// MaxSegment bounds one part of a key between slashes: file names end at 255 bytes,
// and a store may add a suffix of its own.
const MaxSegment = 200

// MaxDepth bounds the parts of a key, and so the directories a store nests.
const MaxDepth = 16

// CheckKey returns nil when key may name an object: 1 to MaxDepth parts of 1 to
// MaxSegment bytes joined by single slashes, each of ASCII letters, digits and
// "-", "_", "=", "." with no dot first or last. Such a key is the same in every store, needs no
// escaping in a URL or a file name, and can never lead out of a directory. Any other
// key is fault.Invalid, naming op.
func CheckKey(op, key string) error {
	if why := keyFlaw(key); why != "" {
		return fault.New(fault.Invalid, op, fmt.Sprintf("%.80q", key), why)
	}
	return nil
}

// CheckPrefix returns nil when some key may begin with prefix; "" is allowed.
func CheckPrefix(op, prefix string) error {
	why := ""
	switch last := prefix[strings.LastIndexByte(prefix, '/')+1:]; {
	case prefix == "":
	case last == "": // ends in a slash: all of one directory
		why = keyFlaw(prefix + "x")
	case strings.HasSuffix(last, ".") && last != ".":
		why = keyFlaw(prefix + "x") // the dot need not be the last of its part
	default:
		why = keyFlaw(prefix)
	}
	if why != "" {
		return fault.New(fault.Invalid, op, fmt.Sprintf("%.80q", prefix), why)
	}
	return nil
}

// keyFlaw says what is wrong with key, or "".
func keyFlaw(key string) string {
	if len(key) > MaxKey {
		return fmt.Sprintf("the key has %d bytes, the limit is %d", len(key), MaxKey)
	}
	depth := 0
	for part := range strings.SplitSeq(key, "/") {
		if depth++; depth > MaxDepth {
			return fmt.Sprintf("the key has more than %d parts", MaxDepth)
		}
		switch {
		case part == "":
			return "the key has an empty part"
		case len(part) > MaxSegment:
			return fmt.Sprintf("a part of the key has %d bytes, the limit is %d", len(part), MaxSegment)
		case part[0] == '.' || part[len(part)-1] == '.':
			return "a part of the key begins or ends with a dot"
		}
		for i := range len(part) {
			if !keyByte(part[i]) {
				return fmt.Sprintf("the key holds %q; letters, digits, - _ = . are allowed", part[i])
			}
		}
	}
	return ""
}

func keyByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '_' || c == '=' || c == '.'
}
