package main

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"penstock/cmd/penstock/doctor"
)

// rowsOf runs the doctor and returns its rows by name.
func rowsOf(t *testing.T, env map[string]string, want int, args ...string) map[string]doctor.Row {
	t.Helper()
	code, out, errs := atHome(t, t.TempDir(), env)("", append([]string{"doctor", "-o", "json"}, args...)...)
	var list []doctor.Row
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != want {
		t.Fatalf("exit %d, want %d: %v\n%s%s", code, want, err, out, errs)
	}
	rows := map[string]doctor.Row{}
	for _, r := range list {
		rows[r.Check] = r
	}
	return rows
}

func TestDoctorBesideAServer(t *testing.T) {
	d, _ := served(t)
	if err := os.Chmod(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"PENSTOCK_DATA": d.dir, "PENSTOCK_HTTP": d.listener.Addr().String(), "PENSTOCK_RTSP": "off"}
	rows := rowsOf(t, env, 0)
	for check, words := range map[string]string{
		"running server": "devel at http://localhost:", "port of http": "as the server that runs here would", "master key": "there;",
		"sync latency": "syncs of 4 KiB", "UDP buffers": "off", "S3 store": "none",
	} {
		// How fast the disk is under the other tests is not the matter here.
		if r := rows[check]; r.Status != doctor.OK && check != "sync latency" || !strings.Contains(r.Detail, words) {
			t.Errorf("%s: %+v", check, r)
		}
	}
	code, out, errs := atHome(t, t.TempDir(), env)("", "doctor")
	if code != 0 || !strings.Contains(out, "ok    data directory") || errs != "" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

func TestDoctorFindsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"PENSTOCK_DATA": dir, "PENSTOCK_HTTP": "127.0.0.1:0", "PENSTOCK_RTSP": "127.0.0.1:0", "PENSTOCK_LOG_LEVEL": "loud",
		"PENSTOCK_S3_ENDPOINT": "http://127.0.0.1:1", "PENSTOCK_S3_BUCKET": "b", "PENSTOCK_S3_ACCESS_KEY": "k", "PENSTOCK_S3_SECRET_KEY": "very-secret",
		"PENSTOCK_TLS_CERT": dir + "/none.pem", "PENSTOCK_TLS_KEY": dir + "/none.key"}
	rows := rowsOf(t, env, exitFailed, "--cameras", "5")
	for check, words := range map[string]string{"settings": "loud", "S3 store": "127.0.0.1:1", "certificate of tls.cert": "none.pem"} {
		if r := rows[check]; r.Status != doctor.Fail || !strings.Contains(r.Detail, words) || r.Try == "" || strings.Contains(r.Detail, "very-secret") {
			t.Errorf("%s: %+v", check, r)
		}
	}
	if r := rows["port of rtsp"]; r.Status != doctor.OK {
		t.Errorf("%+v", r)
	}
	if r := rows["open files"]; !strings.Contains(r.Detail, "5 cameras need about 296") {
		t.Errorf("%+v", r)
	}
	code, out, errs := atHome(t, t.TempDir(), env)("", "doctor")
	if code != exitFailed || !strings.Contains(out, "FAIL  settings") || !strings.Contains(errs, "checks failed\ntry: ") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}

func TestDoctorSaysWhatTheS3StoreCanDo(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(gofakes3.New(backend).Server())
	defer s.Close()
	env := map[string]string{"PENSTOCK_DATA": t.TempDir(), "PENSTOCK_HTTP": "127.0.0.1:0", "PENSTOCK_RTSP": "off",
		"PENSTOCK_S3_ENDPOINT": s.URL, "PENSTOCK_S3_BUCKET": "bucket", "PENSTOCK_S3_ACCESS_KEY": "k", "PENSTOCK_S3_SECRET_KEY": "secret"}
	if r := rowsOf(t, env, 0)["S3 store"]; r.Status != doctor.OK || !strings.Contains(r.Detail, "get a range: a part of an object can be read") {
		t.Errorf("%+v", r)
	}
	left, err := backend.ListBucket("bucket", nil, gofakes3.ListBucketPage{})
	if err != nil || len(left.Contents) > 0 {
		t.Errorf("left behind %v %v", left, err)
	}
	env["PENSTOCK_S3_BUCKET"] = "none"
	if r := rowsOf(t, env, exitFailed)["S3 store"]; r.Status != doctor.Fail || r.Try == "" {
		t.Errorf("%+v", r)
	}
}
