package auth

import (
	"slices"
	"strings"
)

// rows are what fingers run along, on keyboards and in the alphabet, forwards and back.
func rows() []string {
	out := []string{"1234567890", "0123456789", "qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "zxcvbnm", "yxcvbnm", "abcdefghijklmnopqrstuvwxyz",
		"1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "qaz", "wsx", "edc", "rfv", "tgb", "yhn", "ujm", "qwe", "asd", "zxc", "147", "258", "369"}
	for _, r := range out {
		back := []byte(r)
		slices.Reverse(back)
		out = append(out, string(back))
	}
	return out
}

// familiar are words that passwords are made of more often than of others: what everybody
// thinks of first, of people, and of this program's kind.
func familiar() []string {
	return strings.Fields(`password passwort passw0rd passwd pass word kennwort contrasena motdepasse secret geheim welcome willkommen hello hallo letmein login logon open sesame
		admin administrator root user guest operator default system test testing demo temp change changeme master super server service support manager owner
		penstock camera cameras kamera video stream kinesis amazon security surveillance hikvision dahua axis ubnt nvr dvr cctv
		love iloveyou lover loveme baby babygirl angel angels princess prince queen king sweet sweetie honey sunshine flower butterfly rainbow smile
		monkey dragon tiger lion eagle falcon wolf bear shadow hunter killer ninja warrior knight wizard phantom ghost magic merlin gandalf pokemon naruto
		batman superman spiderman ironman starwars matrix trustno whatever nothing forever freedom fuckyou asshole bitch pussy
		football baseball basketball soccer hockey golf tennis chelsea arsenal liverpool barcelona juventus realmadrid yankees cowboys steelers lakers
		michael jordan jennifer jessica daniel andrew joshua matthew ashley nicole amanda robert thomas charlie thunder maggie ginger buster harley
		michelle samantha elizabeth alexander christian christopher jonathan nicholas patrick william richard anthony victoria stephanie
		summer winter spring autumn monday friday january february march april june july august september october november december sommer winter
		computer internet google apple samsung microsoft windows linux android iphone facebook youtube oracle cisco dell qwerty azerty
		london berlin paris america canada australia england germany mexico
		chocolate cookie banana orange cheese pepper coffee chicken mustang ferrari porsche mercedes corvette yamaha honda toyota
		access mypassword mypass newpass private money success business office company house family mother father sister brother friend friends`)
}

// obvious reports whether a password is among the first that anybody would try: the name,
// a run along the keyboard, something said again and again, or one or two familiar words
// with digits, signs and the usual swaps (@ for a, 0 for o). It looks at nothing that a
// guesser would not: any characters may be used, in any mix.
func obvious(password, name string) bool {
	text := strings.ToLower(password)
	words := append(familiar(), strings.ToLower(name))
	for _, t := range []string{text, strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i").Replace(text)} {
		if repeats(t) || pieces(t, words, rows()) {
			return true
		}
	}
	return runsOnly(string(slices.Compact([]byte(text))), rows()) // 11223344
}

// repeats reports whether a text is one to four characters again and again.
func repeats(t string) bool {
	for n := 1; n <= 4; n++ {
		if len(t) >= 2*n && strings.HasPrefix(strings.Repeat(t[:n], len(t)/n+1), t) {
			return true
		}
	}
	return false
}

// wordsMost is how many familiar words make an obvious password; three begin to be a phrase.
const wordsMost = 2

// pieces reports whether t is made of familiar words and runs, at most wordsMost of them
// besides digits and signs, and at least one.
func pieces(t string, words, rows []string) bool {
	const none = wordsMost + 1
	best := make([]int, len(t)+1) // words that it takes to get to each byte
	for i := range best[1:] {
		best[i+1] = none
	}
	run := make([]bool, len(t)+1) // a run was on the way
	reach := func(from, to, cost int) {
		if n := best[from] + cost; n < best[to] || n == best[to] && run[from] {
			best[to], run[to] = n, run[from]
		}
	}
	for i := range t {
		if best[i] > wordsMost {
			continue
		}
		if c := t[i]; c < 'a' || c > 'z' {
			if c < 0x80 {
				reach(i, i+1, 0)
			}
		}
		for _, w := range words {
			if w != "" && strings.HasPrefix(t[i:], w) {
				reach(i, i+len(w), 1)
			}
		}
		for _, r := range rows {
			for n := 3; n <= len(t)-i && strings.Contains(r, t[i:i+n]); n++ {
				if best[i] <= best[i+n] {
					best[i+n], run[i+n] = best[i], true
				}
			}
		}
	}
	end := best[len(t)]
	return end >= 1 && end <= wordsMost || end == 0 && run[len(t)] && runsOnly(t, rows)
}

// runsOnly reports whether t is nothing but runs of three and more, and what repeats.
func runsOnly(t string, rows []string) bool {
	ok := make([]bool, len(t)+1)
	ok[0] = true
	for i := range t {
		if !ok[i] {
			continue
		}
		for n := 1; i+n <= len(t) && t[i+n-1] == t[i]; n++ {
			ok[i+n] = ok[i+n] || n > 2
		}
		for _, r := range rows {
			for n := 3; n <= len(t)-i && strings.Contains(r, t[i:i+n]); n++ {
				ok[i+n] = true
			}
		}
		if i == len(t)-1 && i > 0 { // 12345678! and abcdefg1
			ok[i+1] = true
		}
	}
	return ok[len(t)]
}
