package camera

import (
	"encoding/hex"
	"net/url"
	"strings"
	"testing"

	"penstock/internal/fault"
	"penstock/internal/secret"
)

func TestAddressesAreReadTheWayPeoplePasteThem(t *testing.T) {
	for _, c := range []struct{ raw, url, user, pass string }{
		{"rtsp://10.0.0.5/stream1", "rtsp://10.0.0.5:554/stream1", "", ""},
		{"  10.0.0.5:8554/a  ", "rtsp://10.0.0.5:8554/a", "", ""},
		{"RTSPS://cam.local/a", "rtsps://cam.local:322/a", "", ""},
		{"rtsp://admin:secret@10.0.0.5/a", "rtsp://10.0.0.5:554/a", "admin", "secret"},
		{"rtsp://admin:p@ss/w#rd?1@10.0.0.5:554/a?x=1", "rtsp://10.0.0.5:554/a?x=1", "admin", "p@ss/w#rd?1"},
		{"rtsp://admin:50%25@10.0.0.5/a", "rtsp://10.0.0.5:554/a", "admin", "50%"},
		{"rtsp://admin:50%@10.0.0.5/a", "rtsp://10.0.0.5:554/a", "admin", "50%"},
		{"rtsp://admin:a:b@10.0.0.5/a", "rtsp://10.0.0.5:554/a", "admin", "a:b"},
		{"rtsp://admin@10.0.0.5/a", "rtsp://10.0.0.5:554/a", "admin", ""},
		{"rtsp://admin:gr\u00fc\u00df@[fe80::1]:554/a", "rtsp://[fe80::1]:554/a", "admin", "gr\u00fc\u00df"},
		{"rtsp://10.0.0.5/user=admin_password=x_channel=1_stream=0.sdp?real_stream", "rtsp://10.0.0.5:554/user=admin_password=x_channel=1_stream=0.sdp?real_stream", "", ""},
		{"rtsp://10.0.0.5:554/mail?to=a@b.org", "rtsp://10.0.0.5:554/mail?to=a@b.org", "", ""},
		{"rtsp://10.0.0.5/100%", "rtsp://10.0.0.5:554/100%25", "", ""},
		{"rtsp://10.0.0.5/cam/realmonitor?channel=1&subtype=0", "rtsp://10.0.0.5:554/cam/realmonitor?channel=1&subtype=0", "", ""},
	} {
		got, err := ParseTarget(c.raw, "", secret.Text{})
		if err != nil {
			t.Errorf("%s: %v", c.raw, err)
			continue
		}
		if got.URL.String() != c.url || got.Username != c.user || got.Password.Reveal() != c.pass {
			t.Errorf("%s: got %s, %q, %q; want %s, %q, %q", c.raw, got.URL, got.Username, got.Password.Reveal(), c.url, c.user, c.pass)
		}
	}
}

func TestSeparateCredentialsWinOverThoseInTheAddress(t *testing.T) {
	got, err := ParseTarget("rtsp://admin:old@cam/a", "viewer", secret.New("new"))
	if err != nil || got.Username != "viewer" || got.Password.Reveal() != "new" || got.URL.User != nil {
		t.Errorf("got %v, %q, %v", got.URL, got.Username, err)
	}
}

func TestBadAddressesAreRefusedWithAHintAndWithoutThePassword(t *testing.T) {
	for _, raw := range []string{
		"", "http://cam/", "rtsp://", "rtsp://admin:hunter2@", "rtsp://admin:hunter2@cam:99999/", "rtsp://cam/#x=y",
		"rtsp://admin:hunter2@cam/#certificate=sha256:12", "rtsp://[::1/a", "rtsp://" + strings.Repeat("a", URLMax), "rtsp://cam:port/",
	} {
		_, err := ParseTarget(raw, "", secret.Text{})
		if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
			t.Errorf("%.60q: got %v, hint %q", raw, err, fault.HintOf(err))
		}
		if err != nil && strings.Contains(err.Error()+fault.HintOf(err), "hunter2") {
			t.Errorf("%q: the error tells the password: %v", raw, err)
		}
	}
}

func TestCertificatePolicyRidesInTheFragment(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	got, err := ParseTarget("rtsps://cam/a#certificate=sha256:"+sum, "", secret.Text{})
	if err != nil || hex.EncodeToString(got.Certificate.SHA256) != sum || strings.Contains(got.URL.String(), "#") {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = ParseTarget("rtsps://cam/a#certificate=any", "", secret.Text{})
	if err != nil || !got.Certificate.Any {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"rtsp://a:b@c/d", "10.0.0.1", "rtsps://[::1]:1/#certificate=any", "rtsp://%zz@/%", "rtsp://a/b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := ParseTarget(raw, "", secret.Text{})
		if err != nil {
			return
		}
		if got.URL.User != nil || got.URL.Hostname() == "" || got.URL.Port() == "" || got.URL.Fragment != "" {
			t.Errorf("%q became %q", raw, got.URL)
		}
		if _, err := url.Parse(got.URL.String()); err != nil {
			t.Errorf("%q became %q, which cannot be read back: %v", raw, got.URL, err)
		}
	})
}
