package auth

import (
	"crypto/sha256"
	_ "embed" // the list
	"sort"
	"strings"
)

// commonSums are the 3,000 passwords of eight characters and more that leaked lists have
// most often, counted in the list of zxcvbn: the first five bytes of the SHA-256 of each, in
// lower case, sorted. Five bytes tell all others apart but for one in 300 million.
//
//go:embed common.bin
var commonSums string

// commonSum is how much of a hash the list has.
const commonSum = 5

// common reports whether a password is on the list, in any case, by itself or with digits and
// signs behind it.
func common(password string) bool {
	text := strings.ToLower(password)
	word := strings.TrimRight(text, "0123456789!?.,;:+-*/#$%&@_=~^()[]{}<>|\\\"' ")
	return listed(text) || len(word) >= passwordMin && listed(word)
}

func listed(text string) bool {
	sum := sha256.Sum256([]byte(text))
	want := string(sum[:commonSum])
	at := func(i int) string { return commonSums[i*commonSum : (i+1)*commonSum] }
	n := len(commonSums) / commonSum
	i := sort.Search(n, func(i int) bool { return at(i) >= want })
	return i < n && at(i) == want
}
