package auth

import "strings"

// glob matches s against pattern, where * stands for any run of characters and ? for
// one. It takes at most len(pattern)*len(s) steps, whatever the pattern.
func glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// arnParts is arn:partition:service:region:account:resource.
const arnParts = 6

// matchARN matches segment by segment, so that a * never reaches over a colon into
// another account (IAM, "Specifying ARNs with wildcards"). "*" alone matches all.
func matchARN(pattern, arn string) bool {
	if pattern == "*" {
		return true
	}
	ps, as := strings.SplitN(pattern, ":", arnParts), strings.SplitN(arn, ":", arnParts)
	if len(ps) != arnParts || len(as) != arnParts {
		return pattern == arn
	}
	for i := range ps {
		if !glob(ps[i], as[i]) {
			return false
		}
	}
	return true
}

// arnAccount returns the account that an ARN belongs to, or "".
func arnAccount(arn string) string {
	parts := strings.SplitN(arn, ":", arnParts)
	if len(parts) != arnParts || parts[0] != "arn" {
		return ""
	}
	return parts[4]
}
