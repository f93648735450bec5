package onvif

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"penstock/internal/fault"
	"penstock/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCamera is a fake camera: an HTTP server for SOAP and a UDP responder for discovery.
type fakeCamera struct {
	user, pass string
	ahead      time.Duration // its clock
	httpDigest bool          // asks by HTTP Digest instead of WS-Security
	broken     map[string]string
	encoder    func(body string) (status int, answer string) // answers what is about encoders
	http       *httptest.Server
	group      *net.UDPAddr
	mu         sync.Mutex
	probes     int
}

func newDevice(t *testing.T, d *fakeCamera) *fakeCamera {
	t.Helper()
	d.http = httptest.NewServer(http.HandlerFunc(d.soap))
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.group = pc.LocalAddr().(*net.UDPAddr)
	var wg sync.WaitGroup
	wg.Go(func() { d.discovery(pc) })
	t.Cleanup(func() {
		d.http.Close()
		pc.Close()
		wg.Wait()
	})
	return d
}

func (d *fakeCamera) xaddr() string { return d.http.URL + "/onvif/device_service" }

func (d *fakeCamera) discovery(pc net.PacketConn) {
	buf := make([]byte, 8192)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if !strings.Contains(string(buf[:n]), "NetworkVideoTransmitter") {
			continue
		}
		d.mu.Lock()
		d.probes++
		d.mu.Unlock()
		_, port, _ := net.SplitHostPort(d.http.Listener.Addr().String())
		// The address it believes in is not the one it answers from.
		_, _ = pc.WriteTo([]byte("<nonsense"), from)
		_, _ = pc.WriteTo([]byte(d.match("http://10.99.99.99:"+port+"/onvif/device_service http://[fe80::1]/x")), from)
	}
}

func (d *fakeCamera) match(xaddrs string) string {
	return `<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing">
<SOAP-ENV:Body><d:ProbeMatches><d:ProbeMatch><wsa:EndpointReference><wsa:Address>urn:uuid:1</wsa:Address></wsa:EndpointReference>
<d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/hardware/DS-2CD onvif://www.onvif.org/name/Front%20Door</d:Scopes>
<d:XAddrs>` + xaddrs + `</d:XAddrs></d:ProbeMatch></d:ProbeMatches></SOAP-ENV:Body></SOAP-ENV:Envelope>`
}

func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}

func (d *fakeCamera) allowed(r *http.Request, body string) bool {
	if d.user == "" {
		return true
	}
	if d.httpDigest {
		want, ok := digest([]string{`Digest realm="r", nonce="n"`}, "http://x"+r.URL.Path, Credentials{d.user, secret.New(d.pass)})
		return ok && r.Header.Get("Authorization") == want
	}
	nonce, err := base64.StdEncoding.DecodeString(between(between(body, "<Nonce", "/Nonce>"), ">", "<"))
	created := between(between(body, "<Created", "/Created>"), ">", "<")
	at, terr := time.Parse(time.RFC3339Nano, created)
	if err != nil || terr != nil || at.Sub(time.Now().Add(d.ahead)).Abs() > time.Minute {
		return false
	}
	sum := sha1.Sum([]byte(string(nonce) + created + d.pass))
	return between(body, "<Username>", "<") == d.user &&
		between(between(body, "<Password", "/Password>"), ">", "<") == base64.StdEncoding.EncodeToString(sum[:])
}

const head = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema"><s:Body>`
const tail = `</s:Body></s:Envelope>`

func (d *fakeCamera) soap(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	body := string(b)
	for call, answer := range d.broken {
		if strings.Contains(body, call) {
			io.WriteString(w, answer)
			return
		}
	}
	if strings.Contains(body, "GetSystemDateAndTime") {
		now := time.Now().Add(d.ahead).UTC()
		fmt.Fprintf(w, head+`<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:UTCDateTime><tt:Time><tt:Hour>%d</tt:Hour><tt:Minute>%d</tt:Minute><tt:Second>%d</tt:Second></tt:Time><tt:Date><tt:Year>%d</tt:Year><tt:Month>%d</tt:Month><tt:Day>%d</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>`+tail,
			now.Hour(), now.Minute(), now.Second(), now.Year(), now.Month(), now.Day())
		return
	}
	if !d.allowed(r, body) {
		if d.httpDigest {
			w.Header().Set("WWW-Authenticate", `Digest realm="r", nonce="n"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, head+`<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>ter:NotAuthorized</s:Value></s:Subcode></s:Code></s:Fault>`+tail)
		return
	}
	if d.encoder != nil && strings.Contains(body, "VideoEncoderConfiguration") {
		status, answer := d.encoder(body)
		w.WriteHeader(status)
		io.WriteString(w, answer)
		return
	}
	switch {
	case strings.Contains(body, "GetCapabilities"):
		io.WriteString(w, head+`<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media><tt:XAddr>http://10.99.99.99/onvif/media</tt:XAddr></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>`+tail)
	case strings.Contains(body, "GetProfiles") && r.URL.Path == "/onvif/media":
		io.WriteString(w, head+`<trt:GetProfilesResponse><trt:Profiles token="p1" fixed="true"><tt:Name>main</tt:Name><tt:VideoEncoderConfiguration token="v1"><tt:Name>v</tt:Name><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>2688</tt:Width><tt:Height>1520</tt:Height></tt:Resolution><tt:RateControl><tt:FrameRateLimit>25</tt:FrameRateLimit></tt:RateControl></tt:VideoEncoderConfiguration></trt:Profiles><trt:Profiles token="p2"><tt:Name>sub</tt:Name></trt:Profiles><trt:Profiles token="p3"><tt:Name>broken</tt:Name></trt:Profiles></trt:GetProfilesResponse>`+tail)
	case strings.Contains(body, "GetStreamUri") && !strings.Contains(body, ">p3<"):
		token := between(body, "<trt:ProfileToken>", "<")
		io.WriteString(w, head+`<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://u:p@10.99.99.99:554/`+token+`</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>`+tail)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestDiscoveryFindsACamera(t *testing.T) {
	d := newDevice(t, &fakeCamera{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found := &findings{seen: map[string]Camera{}}
	go func() { // it listens until its time is over: here, until all has come
		for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
			d.mu.Lock()
			probes := d.probes
			d.mu.Unlock()
			if probes == 2 && len(found.list()) > 0 {
				cancel()
			}
		}
	}()
	err := New(Config{Group: d.group, Wait: time.Hour}).discover(ctx, found)
	list := found.list()
	if err != nil || len(list) != 1 {
		t.Fatalf("got %+v, %v", list, err)
	}
	got := list[0]
	if got.Name != "Front Door" || got.Hardware != "DS-2CD" || got.Address != "127.0.0.1" || got.XAddr != d.xaddr() {
		t.Errorf("got %+v, want the address that it answered from: %s", got, d.xaddr())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.probes != 2 {
		t.Errorf("%d probes, want 2: datagrams get lost", d.probes)
	}
}

func TestDiscoveryEndsWithItsContext(t *testing.T) {
	d := newDevice(t, &fakeCamera{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := New(Config{Group: d.group, Wait: time.Hour}).Discover(ctx); err != nil {
		t.Error(err)
	}
}

func TestStreamsOfACamera(t *testing.T) {
	for _, c := range []struct {
		name string
		d    *fakeCamera
	}{
		{"open", &fakeCamera{}},
		{"with WS-Security", &fakeCamera{user: "admin", pass: `p<&"@ss`}},
		{"with a clock two hours ahead", &fakeCamera{user: "admin", pass: "x", ahead: 2 * time.Hour}},
		{"with HTTP Digest", &fakeCamera{user: "admin", pass: "x", httpDigest: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDevice(t, c.d)
			list, err := New(Config{Timeout: time.Minute}).Streams(t.Context(), d.xaddr(), Credentials{d.user, secret.New(d.pass)})
			if err != nil || len(list) != 2 {
				t.Fatalf("got %+v, %v", list, err)
			}
			want := URL{Profile: "main", URL: "rtsp://127.0.0.1:554/p1", Codec: "h264", Width: 2688, Height: 1520, FPS: 25}
			if list[0] != want || list[1].URL != "rtsp://127.0.0.1:554/p2" {
				t.Errorf("got %+v", list)
			}
		})
	}
}

func TestFaultsOfCameras(t *testing.T) {
	locked := newDevice(t, &fakeCamera{user: "a", pass: "b"})
	long := newDevice(t, &fakeCamera{broken: map[string]string{"GetProfiles": head + strings.Repeat("x", replyMax)}})
	xxe := newDevice(t, &fakeCamera{broken: map[string]string{"GetStreamUri": `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>` + head +
		`<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://x/&e;</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>` + tail}})
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, c := range []struct {
		name, xaddr string
		cred        Credentials
		want        fault.Kind
	}{
		{"wrong password", locked.xaddr(), Credentials{"a", secret.New("c")}, fault.Unauthentic},
		{"no password", locked.xaddr(), Credentials{}, fault.Unauthentic},
		{"not an address", "ftp://x/", Credentials{}, fault.Invalid},
		{"nothing there", gone.URL, Credentials{}, fault.Unavailable},
		{"endless answer", long.xaddr(), Credentials{}, fault.Unavailable},
		{"external entity", xxe.xaddr(), Credentials{}, fault.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			list, err := New(Config{Timeout: time.Minute}).Streams(t.Context(), c.xaddr, c.cred)
			if !fault.Is(err, c.want) {
				t.Errorf("got %+v, %v", list, err)
			}
		})
	}
}

// TestAHostileDeviceSendsUsNowhere has a device that answers with redirects, service
// addresses and stream addresses which all name somebody else.
func TestAHostileDeviceSendsUsNowhere(t *testing.T) {
	var calls atomic.Int64
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	defer victim.Close()
	at := strings.TrimPrefix(victim.URL, "http://")
	dialled := func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == at {
			t.Errorf("%s was dialled", address)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		device := httptest.NewServer(http.RedirectHandler(victim.URL+"/onvif/media", status))
		list, err := New(Config{Timeout: time.Minute, Dial: dialled}).Streams(t.Context(), device.URL, Credentials{"a", secret.New("b")})
		device.Close()
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("redirected with %d: %+v, %v", status, list, err)
		}
	}
	liar := newDevice(t, &fakeCamera{broken: map[string]string{
		"GetCapabilities": head + `<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Media><tt:XAddr>` + victim.URL + `/onvif/media</tt:XAddr></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>` + tail,
		"GetStreamUri":    head + `<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://` + at + `/secret</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>` + tail,
	}})
	list, err := New(Config{Timeout: time.Minute, Dial: dialled}).Streams(t.Context(), strings.Replace(liar.xaddr(), "127.0.0.1", "localhost", 1), Credentials{})
	if err != nil || len(list) == 0 {
		t.Fatalf("the rest of the device does not work: %v", err)
	}
	for _, u := range list {
		if !strings.HasPrefix(u.URL, "rtsp://localhost:") {
			t.Errorf("it has us call %s", u.URL)
		}
	}
	if calls.Load() != 0 {
		t.Errorf("%d requests reached the other server", calls.Load())
	}
}

func TestRequestsGoThroughTheDial(t *testing.T) {
	d := newDevice(t, &fakeCamera{})
	_, err := New(Config{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, os.ErrPermission }}).Streams(t.Context(), d.xaddr(), Credentials{})
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "permission") {
		t.Errorf("got %v", err)
	}
}

func FuzzProbeMatches(f *testing.F) {
	f.Add([]byte((&fakeCamera{}).match("http://10.0.0.1/onvif")))
	f.Add([]byte(`<a><Body><ProbeMatches><ProbeMatch><XAddrs>http://[::1]:x http://u:p@h:1/</XAddrs><Scopes>onvif://www.onvif.org/name/%zz</Scopes></ProbeMatch></ProbeMatches></Body></a>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		from := net.IPv4(192, 0, 2, 1)
		list, err := parseMatches(b, from)
		if err != nil {
			return
		}
		for _, c := range list {
			if c.Address != from.String() || !strings.HasPrefix(c.XAddr, "http") || !strings.Contains(c.XAddr, from.String()) || strings.Contains(c.XAddr, "@") && strings.Contains(c.XAddr, "u:p@") {
				t.Errorf("%+v", c)
			}
			if len(c.Name) > textMax || len(c.Hardware) > textMax {
				t.Errorf("name of %d bytes", len(c.Name))
			}
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add([]byte(head + `<trt:GetProfilesResponse><trt:Profiles token="p1"><tt:VideoEncoderConfiguration><tt:Resolution><tt:Width>-5</tt:Width></tt:Resolution></tt:VideoEncoderConfiguration></trt:Profiles></trt:GetProfilesResponse>` + tail))
	f.Add([]byte(head + `<GetSystemDateAndTimeResponse><SystemDateAndTime><UTCDateTime><Date><Year>99999</Year></Date></UTCDateTime></SystemDateAndTime></GetSystemDateAndTimeResponse>` + tail))
	f.Add([]byte(head + `<s:Fault><s:Code><s:Subcode><s:Value>ter:NotAuthorized</s:Value></s:Subcode></s:Code></s:Fault>` + tail))
	f.Fuzz(func(t *testing.T, b []byte) {
		var l profileList
		if unmarshal(b, &l) == nil {
			for _, p := range l.list() {
				if p.url.Width < 0 || p.url.Height < 0 || p.url.FPS < 0 || len(p.url.Profile) > textMax {
					t.Errorf("%+v", p)
				}
			}
		}
		var d dateTime
		if unmarshal(b, &d) == nil {
			if off := d.offset(time.Unix(1e9, 0)); off.Abs() > clockMax {
				t.Errorf("offset %v", off)
			}
		}
		var s streamURI
		if unmarshal(b, &s) == nil {
			if u, ok := usable(s.Body.GetStreamUriResponse.MediaUri.Uri, "192.0.2.1"); ok && !strings.Contains(u, "192.0.2.1") {
				t.Errorf("%q", u)
			}
		}
		_ = reply{200, nil, b}.read("x", &l)
	})
}

func FuzzDigest(f *testing.F) {
	f.Add(`Digest realm="r", nonce="n", qop="auth", opaque="o"`)
	f.Add(`digest nonce=n,realm="a`)
	f.Fuzz(func(t *testing.T, challenge string) {
		got, ok := digest([]string{challenge}, "http://192.0.2.1/x", Credentials{"u", secret.New("p")})
		if ok && (!strings.HasPrefix(got, "Digest ") || strings.ContainsAny(got, "\r\n")) {
			t.Errorf("%q", got)
		}
	})
}
