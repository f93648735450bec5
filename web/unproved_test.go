package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"penstock/auth"
	"penstock/internal/lobby"
)

// TestBodiesOfTheUnprovedAreBounded has sixty callers sign records of 16 MiB with a key that
// there is, and a secret that is not its own. Half of them never end what they send.
func TestBodiesOfTheUnprovedAreBounded(t *testing.T) {
	site := newSite(t)
	site.create(auth.DefaultAccount, "front")
	issued, err := site.server.c.Auth.CreateKey(t.Context(), auth.NewKey{Role: auth.RoleProducer})
	check(t, err)
	const size = 16 << 20
	sum := sha256.Sum256(nil)
	ask := func(secret, from, path string, n int64, body io.Reader) int {
		r := httptest.NewRequest(http.MethodPost, "http://penstock.test"+path, body)
		r.RemoteAddr, r.ContentLength = from, n
		if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: issued.ID, SecretAccessKey: secret},
			r, hex.EncodeToString(sum[:]), "kinesis", "eu-central-1", time.Now()); err != nil {
			t.Error(err)
		}
		rec := httptest.NewRecorder()
		site.server.ServeHTTP(rec, r)
		return rec.Code
	}
	synctest.Test(t, func(t *testing.T) {
		site.server.lobby = lobby.New(lobby.Config{}) // of this bubble
		ends := make([]*io.PipeWriter, 0, 60)
		answers := make(chan int, 60)
		for i := range 60 {
			r, w := io.Pipe()
			ends = append(ends, w)
			go func() {
				answers <- ask("not it", []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"}[i%3], "/v1/data/front", size, r)
			}()
		}
		synctest.Wait()
		if in := site.server.lobby.Inside(); in > lobby.Total || in < lobby.Total/2 {
			t.Errorf("room for %d bytes is taken", in)
		}
		if taken := bodiesMax - free(site.server); taken > lobby.Total {
			t.Errorf("%d bytes of bodies are held", taken)
		}
		time.Sleep(time.Minute)
		for _, w := range ends {
			w.Close()
		}
		got := map[int]int{}
		for range 60 {
			got[<-answers]++
		}
		if got[http.StatusTooManyRequests] < 50 || got[http.StatusUnauthorized] == 0 || len(got) != 2 || site.server.lobby.Inside() != 0 {
			t.Errorf("answers %v, %d bytes taken", got, site.server.lobby.Inside())
		}
	})
}

// free is how much of Server.bodies can be had.
func free(s *Server) (n int64) {
	for step := int64(bodiesMax); step > 0; step /= 2 {
		for s.bodies.TryAcquire(step) {
			n += step
		}
	}
	s.bodies.Release(n)
	return n
}
