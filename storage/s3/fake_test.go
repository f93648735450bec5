package s3_test

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"penstock/internal/fault"
	"penstock/internal/secret"
	"penstock/storage"
	"penstock/storage/s3"
	"penstock/storage/storagetest"
)

// fakeStore is a second, independent server, in this process. It keeps an object "a"
// beside "a/b", as Amazon does, and refuses a body of unknown length. Without conditions
// it overwrites as if If-None-Match had not been said.
func fakeStore(t *testing.T, conditions bool) s3.Config {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("penstock"); err != nil {
		t.Fatal(err)
	}
	handler := gofakes3.New(backend).Server()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !conditions {
			r.Header.Del("If-None-Match") // it does not check signatures
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return s3.Config{Endpoint: srv.URL, Bucket: "penstock", PathStyle: true, AccessKey: "test", SecretKey: secret.New("test")}
}

func TestBucketOnASecondServer(t *testing.T) {
	cfg := fakeStore(t, true)
	n := 0
	storagetest.Run(t, func(t *testing.T) storage.Bucket {
		n++
		cfg.Prefix = fmt.Sprintf("case-%d", n)
		return open(t, cfg)
	})
}

func TestTheProbeTellsAServerThatOverwrites(t *testing.T) {
	for conditions, words := range map[bool]string{true: "If-None-Match is honoured", false: "the server overwrites"} {
		b := open(t, fakeStore(t, conditions))
		rep, err := b.Probe(t.Context())
		if err != nil || rep.Err() != nil || rep.Conditional != conditions || !strings.Contains(rep.String(), words) {
			t.Errorf("conditions %v: %v, %v\n%s", conditions, err, rep.Err(), rep)
		}
		storagetest.Put(t, b, "k", []byte("first"))
		storagetest.Want(t, "second Put", b.Put(t.Context(), "k", strings.NewReader("other"), 5), fault.InUse)
		if got := storagetest.Get(t, b, "k", 0, -1); string(got) != "first" {
			t.Errorf("conditions %v: the object is %q", conditions, got)
		}
	}
}

func TestTLSWithAnAuthorityOfOnesOwn(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("penstock"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(gofakes3.New(backend).Server())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the client that does not trust it
	srv.StartTLS()
	t.Cleanup(srv.Close)
	cfg := s3.Config{Endpoint: srv.URL, Bucket: "penstock", PathStyle: true, AccessKey: "test", SecretKey: secret.New("test")}
	err := open(t, cfg).Put(t.Context(), "k", strings.NewReader("x"), 1)
	storagetest.Want(t, "Put to an unknown authority", err, fault.Unavailable)
	if !strings.Contains(fault.HintOf(err), "CAFile") {
		t.Errorf("hint %q", fault.HintOf(err))
	}
	cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if _, err := s3.Open(t.Context(), cfg); !fault.Is(err, fault.Invalid) {
		t.Errorf("Open without the file = %v", err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(cfg.CAFile, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, cfg)
	data := storagetest.Bytes(1, 1<<20)
	storagetest.Put(t, b, "k", data)
	storagetest.Put(t, b, "empty", nil)
	if got := storagetest.Get(t, b, "k", 100, -1); !bytes.Equal(got, data[100:]) {
		t.Error("other bytes came back")
	}
}
