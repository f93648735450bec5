package auth

import (
	"strings"
	"testing"
)

func TestObviousPasswordsAreToldFromOthers(t *testing.T) {
	for _, p := range strings.Split(`password|Password1|P@ssw0rd|passw0rd!|password123|Welcome1!|welcome2026|letmein!!|Admin123|administrator|adminadmin|root1234|changeme|
12345678|123456789|87654321|11111111|12341234|121212121|00000000|11223344|123123123|147258369|qwertyui|qwerty123|1qaz2wsx|zaq12wsx|asdfghjkl|qweasdzxc|abcdefgh|abcd1234|aaaaaaaa|
iloveyou|ILoveYou2|sunshine1|princess|football99|baseball|superman|batman123|trustno1|starwars|dragon12|monkey!!!|michael1|jordan23|Summer2026|winter24!|penstock|Penstock2026|camera01|hikvision|
testtest|test1234|passpass|hello123|computer1|gatekeeper|gatekeeper1|GateKeeper!`, "|") {
		if p = strings.TrimSpace(p); !obvious(p, "gatekeeper") {
			t.Errorf("%q is let through", p)
		}
	}
	for _, p := range []string{"correct horse", "battery staple", "Plant-password-5309", "se:cr@t/?", "p:a@s:s/w?rd%", "pass wörd @#/?:%", "t7Gk29xQ", "83614027",
		"dragonmonkeyfootball", "der Mond ist weit", "Überfall um acht", "a stranger's", "naïveté", "third one here", "x9x9k2k2", "20061987aa", "пароль на весну", "        x", "mallory's own 3"} {
		if obvious(p, "admin") {
			t.Errorf("%q is refused", p)
		}
	}
}

func TestCommonPasswordsAreOnTheList(t *testing.T) {
	if n := len(commonSums); n != 3000*commonSum {
		t.Errorf("the list has %d bytes", n)
	}
	for _, p := range strings.Fields(`slipknot wolverine 1q2w3e4r5t 01012011 rammstein rhbcnbyf qawsedrf california werewolf excalibur inuyasha konstantin Metallica
		IRONMAIDEN Rammstein1 wolverine2026! slipknot#1 sweetheart evangelion q1q2q3q4 sasha_007 daughter evolution green123`) {
		if !common(p) {
			t.Errorf("%q is let through", p)
		}
	}
	for _, p := range []string{"correct horse", "battery staple", "Plant-password-5309", "t7Gk29xQ", "der Mond ist weit", "third one here", "", "1234567", "!!!!!!!!!!", "пароль на весну"} {
		if common(p) {
			t.Errorf("%q is refused", p)
		}
	}
}

func FuzzObvious(f *testing.F) {
	f.Add("password1", "admin")
	f.Add("\xff\x00ü123", "")
	f.Fuzz(func(t *testing.T, password, name string) {
		if len(password) <= passwordMax {
			obvious(password, name)
			common(password)
		}
	})
}
