package auth

import (
	"fmt"
	"strings"
	"testing"

	"penstock/internal/fault"
)

// TestTheRightGuessIsRefusedToo has somebody signed in while another guesses: what is
// remembered of the right password must not answer the guesser's.
func TestTheRightGuessIsRefusedToo(t *testing.T) {
	r := newRig(t)
	if err := r.a.SetPassword(t.Context(), AdminName, "correct horse"); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"192.0.2.1:1", "198.51.100.9:1"} {
		if _, err := r.a.Password(t.Context(), AdminName, "correct horse", from); err != nil {
			t.Fatal(err)
		}
	}
	guesser := "198.51.100.9:2" // behind the same address as one who signed in
	for i := range addressBurst {
		if _, err := r.a.Password(t.Context(), AdminName, fmt.Sprint("guess ", i), guesser); !fault.Is(err, fault.Unauthentic) {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	elsewhere := "203.0.113.7:1"
	for i := range addressBurst {
		if _, err := r.a.Password(t.Context(), "nobody", fmt.Sprint("guess ", i), elsewhere); !fault.Is(err, fault.Unauthentic) {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	for _, from := range []string{guesser, elsewhere} {
		_, right := r.a.Password(t.Context(), AdminName, "correct horse", from)
		_, wrong := r.a.Password(t.Context(), AdminName, "wrong horse", from)
		if !fault.Is(right, fault.Throttled) || !fault.Is(wrong, fault.Throttled) {
			t.Errorf("from %s, who guesses too much: right %v, wrong %v", from, right, wrong)
		}
	}
	if _, err := r.a.Password(t.Context(), AdminName, "correct horse", "192.0.2.1:3"); err != nil {
		t.Errorf("who signed in before from an address of their own: %v", err)
	}
}

// TestAnAccountOfOnesOwnBuysNoGuesses signs in between guesses at another's password.
func TestAnAccountOfOnesOwnBuysNoGuesses(t *testing.T) {
	r := newRig(t)
	if err := r.a.AddPerson(t.Context(), "", "mallory", RoleViewer, nil); err != nil {
		t.Fatal(err)
	}
	guesses := 0
	for i := range 3 * addressBurst {
		own := fmt.Sprint("mallory's own ", i)
		if err := r.a.SetPassword(t.Context(), "mallory", own); err != nil {
			t.Fatal(err)
		}
		if _, err := r.a.Password(t.Context(), "mallory", own, remote); err != nil {
			break
		}
		if _, err := r.a.Password(t.Context(), AdminName, own, remote); fault.Is(err, fault.Throttled) {
			break
		}
		guesses++
	}
	if guesses > addressBurst {
		t.Errorf("%d guesses from one address, want %d", guesses, addressBurst)
	}
}

func TestGuessesDoNotFillTheAuditLog(t *testing.T) {
	r := newRig(t)
	for i := range 2000 {
		if _, err := r.a.Password(t.Context(), fmt.Sprint("user", i%7), "wrong password", remote); err == nil {
			t.Fatal("let in")
		}
		if _, err := r.a.Password(t.Context(), strings.Repeat("u", passwordMax+1), fmt.Sprint("wrong ", i), "192.0.2.77:1"); err == nil {
			t.Fatal("let in")
		}
		if _, err := r.a.RedeemLink(t.Context(), fmt.Sprint("psl_", i), remote); err == nil {
			t.Fatal("let in")
		}
	}
	lines := 0
	for _, e := range r.noted() {
		if e.Action == "penstock:SignIn" {
			lines++
		}
	}
	if most := 2*addressBurst + 3; lines > most || lines < addressBurst {
		t.Errorf("%d lines on 6000 refused sign-ins, want at most %d", lines, most)
	}
}

// TestWrongDigestsDoNotKeepTheServerBusy counts the keys that a guesser has tried for them.
func TestWrongDigestsDoNotKeepTheServerBusy(t *testing.T) {
	r := newRig(t)
	k, _ := r.key(NewKey{Role: RoleViewer, Name: "wall"})
	for range 9 {
		r.key(NewKey{Role: RoleViewer})
	}
	tried := 0
	wrong := func(string) bool { tried++; return false }
	for i := range 1000 {
		if _, err := r.a.DigestKey(t.Context(), "anybody", "192.0.2.7:1", wrong); !fault.Is(err, fault.Unauthentic) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if most := 10 * searchBurst; tried > most {
		t.Errorf("%d keys tried for 1000 wrong answers, want %d at most", tried, most)
	}
	right := func(password string) bool { return password == k.Token.Reveal() }
	for who, want := range map[[2]string]bool{
		{"anybody", "192.0.2.8:1"}: true, {"wall", "192.0.2.7:1"}: true, {k.ID, "192.0.2.7:1"}: true, {"anybody", "192.0.2.7:1"}: false,
	} {
		for range 2 * searchBurst { // what is right is not counted
			if _, err := r.a.DigestKey(t.Context(), who[0], who[1], right); (err == nil) != want {
				t.Errorf("the right answer of %v: %v", who, err)
				break
			}
		}
	}
	r.clock.Add(searchInterval)
	if _, err := r.a.DigestKey(t.Context(), "anybody", "192.0.2.7:1", right); err != nil {
		t.Errorf("after the interval: %v", err)
	}
}
