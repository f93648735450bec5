package pull

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/ingest/camera"
	"penstock/internal/host"
)

func TestOneLinePerCauseAndMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		q := newQuietLog(slog.New(slog.NewTextHandler(&b, nil)), host.System{})
		refused := &camera.Trouble{Cause: camera.Refused, Detail: "refused"}
		for second := range 150 {
			for i := range 100 {
				q.trouble(fmt.Sprint("cam", i), "10.0.0.1:554", refused)
			}
			if second == 30 {
				q.trouble("cam1", "10.0.0.1:554", &camera.Trouble{Cause: camera.BadTLS, Detail: "tls"})
			}
			time.Sleep(time.Second)
			q.tick(time.Now())
		}
		q.flush()
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		if len(lines) != 5 {
			t.Fatalf("%d lines for 15,001 troubles of two kinds in 150 s:\n%s", len(lines), b.String())
		}
		total := 0
		for _, l := range lines {
			var n int
			_, after, _ := strings.Cut(l, "count=")
			if _, err := fmt.Sscan(after, &n); err != nil {
				t.Errorf("%q: %v", l, err)
			}
			total += n
		}
		if total != 15001 {
			t.Errorf("%d counted", total)
		}
	})
}
