package auth

import "strings"

// glob matches s against pattern, where * stands for any run of characters and ? for
// one. It takes at most len(pattern)*len(s) steps, whatever the pattern.
func glob(pattern, s string) bool { return match(pattern, s, false) }

// globFold is glob without case, in ASCII.
func globFold(pattern, s string) bool { return match(pattern, s, true) }

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func match(pattern, s string, fold bool) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			if p++; p == len(pattern) {
				return true
			}
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i] || fold && lower(pattern[p]) == lower(s[i])):
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
	if strings.Count(pattern, ":") < arnParts-1 || strings.Count(arn, ":") < arnParts-1 {
		return pattern == arn
	}
	for range arnParts - 1 {
		var p, a string
		p, pattern, _ = strings.Cut(pattern, ":")
		if a, arn, _ = strings.Cut(arn, ":"); !glob(p, a) {
			return false
		}
	}
	return glob(pattern, arn)
}

// arnAccount returns the account that an ARN belongs to, or "".
func arnAccount(arn string) string {
	prefix, rest, _ := strings.Cut(arn, ":")
	if prefix != "arn" || strings.Count(rest, ":") < arnParts-2 {
		return ""
	}
	for range 3 {
		_, rest, _ = strings.Cut(rest, ":")
	}
	account, _, _ := strings.Cut(rest, ":")
	return account
}
