package repotest

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// witness hears what a test would have failed with.
type witness struct {
	testing.TB
	said chan string
}

func (w *witness) Errorf(format string, args ...any) { w.said <- fmt.Sprintf(format, args...) }

func TestAToolThatHangsIsNamed(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		Missing(t, "there is no sleep to hang")
	}
	w := &witness{t, make(chan string, 1)}
	if err := commandWithin(w, 10*time.Millisecond, sleep, "3600").Run(); err == nil {
		t.Error("it ended by itself")
	}
	if said := <-w.said; !strings.Contains(said, `sleep hangs: killed after 10ms: [`) || !strings.Contains(said, `"3600"]`) {
		t.Errorf("the test says %q", said)
	}
	if err := Command(w, sleep, "0").Run(); err != nil || len(w.said) > 0 {
		t.Errorf("one that ends: %v", err)
	}
}
