package producer

import (
	"bytes"
	"crypto/md5"
	"fmt"
	"math/big"
)

// hash is a place in the key space of a stream: a 128-bit number, big-endian.
type hash [md5.Size]byte

func hashOf(key string) hash { return md5.Sum([]byte(key)) }

// digitsMax is the length of 2^128-1.
const digitsMax = 39

func parseHash(decimal string) (h hash, err error) {
	n, ok := new(big.Int), decimal != "" && len(decimal) <= digitsMax
	for _, c := range decimal {
		ok = ok && c >= '0' && c <= '9'
	}
	if ok {
		_, ok = n.SetString(decimal, 10)
	}
	if !ok || n.BitLen() > 128 || len(decimal) > 1 && decimal[0] == '0' {
		return h, fmt.Errorf("put record: hash key %.40q: not a number from 0 to 2^128-1", decimal)
	}
	n.FillBytes(h[:])
	return h, nil
}

func (h hash) compare(o hash) int { return bytes.Compare(h[:], o[:]) }
