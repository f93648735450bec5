package camera

import (
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/sdp"

	"penstock/internal/camsim"
)

func TestBackChannelIsDescribedOnlyToThoseWhoAsk(t *testing.T) {
	clip := camsim.Record(camsim.NewDemo(), time.Second)
	for _, c := range []struct {
		back  camsim.Back
		want  string
		cause Cause
		text  string
	}{
		{back: camsim.PCMU, want: "PCMU"},
		{back: camsim.PCMA, want: "PCMA"},
		{back: "", cause: NoBackChannel, text: "it describes none"},
		{back: camsim.PCMU16k, cause: BackChannelCodec, text: "G711 16 kHz"},
		{back: camsim.G726, cause: BackChannelCodec, text: "G726 8 kHz"},
		{back: camsim.BackAAC, cause: BackChannelCodec, text: "16 kHz"},
	} {
		t.Run(string(c.back), func(t *testing.T) {
			s := camera(t, camsim.ServerConfig{Back: c.back, Material: clip, Auth: camsim.Digest, Username: "u", Password: "p@:/"})
			tg := target(t, s.URL(0), "u", "p@:/")
			conn, err := Open(t.Context(), Config{Back: true, Look: true}, tg, nil)
			if c.cause != 0 {
				tr := TroubleOf(err)
				if tr == nil || tr.Cause != c.cause || !strings.Contains(tr.Detail, c.text) || tr.Try == "" {
					t.Fatalf("got %v, want %v", err, c.cause)
				}
			} else {
				if err != nil {
					t.Fatal(err)
				}
				conn.Close()
				if v := conn.Voice(); v.Codec != c.want || v.Rate != 8000 {
					t.Errorf("voice %+v", v)
				}
			}
			// Those who want the picture see the camera as it was.
			plain, err := Open(t.Context(), Config{}, tg, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer plain.Close()
			if n := len(plain.Session.Medias); n != 1 {
				t.Errorf("%d medias without asking for the back channel", n)
			}
		})
	}
}

func TestRefusalsOfTheBackChannelAreExplained(t *testing.T) {
	clip := camsim.Record(camsim.NewDemo(), time.Second)
	for _, c := range []struct {
		name   string
		faults camsim.Faults
		pass   string
		cause  Cause
		text   string
	}{
		{"551", camsim.Faults{RefuseRequire: 551}, "p", NoBackChannel, "551"},
		{"400", camsim.Faults{RefuseRequire: 400}, "p", NoBackChannel, "400"},
		{"404", camsim.Faults{RefuseRequire: 404}, "p", NoBackChannel, "404"},
		{"busy", camsim.Faults{BackBusy: true}, "p", Busy, "another voice"},
		{"password", camsim.Faults{}, "q", WrongPassword, "password"},
		{"neither way", camsim.Faults{RefuseTCP: true, RefuseUDP: true}, "p", NoTransport, "461"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := camera(t, camsim.ServerConfig{Back: camsim.PCMU, Material: clip, Auth: camsim.Basic, Username: "u", Password: "p", Faults: c.faults})
			_, err := Open(t.Context(), Config{Back: true}, target(t, s.URL(0), "u", c.pass), nil)
			tr := TroubleOf(err)
			if tr == nil || tr.Cause != c.cause || !strings.Contains(tr.Detail, c.text) || tr.Try == "" {
				t.Fatalf("got %v %v, want %v with %q", tr, err, c.cause, c.text)
			}
			if s.Talks() != 0 {
				t.Error("the camera was talked to")
			}
		})
	}
}

func TestBackChannelGoesOverUDPWhereTCPIsRefused(t *testing.T) {
	s := camera(t, camsim.ServerConfig{Back: camsim.PCMA, Faults: camsim.Faults{RefuseTCP: true}, Material: camsim.Record(camsim.NewDemo(), time.Second)})
	c, err := Open(t.Context(), Config{Back: true}, target(t, s.URL(0), "", ""), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Transport != UDP || c.Voice().Codec != "PCMA" {
		t.Errorf("over %s, %+v", c.Transport, c.Voice())
	}
}

func TestAnswersCannotAimAVoiceAtOthers(t *testing.T) {
	e := &exchange{back: true, method: base.Setup, answered: true}
	r := &base.Response{StatusCode: base.StatusOK, Header: base.Header{
		"Transport": {"RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001;source=192.0.2.9;destination=192.0.2.8"}}}
	e.response(r)
	var th headers.Transport
	if err := th.Unmarshal(r.Header["Transport"]); err != nil || th.Source != nil || th.Destination != nil || th.ServerPorts == nil || th.ServerPorts[0] != 6000 {
		t.Errorf("%v %v", r.Header["Transport"], err)
	}
}

func FuzzBackChannel(f *testing.F) {
	for _, b := range []camsim.Back{camsim.PCMU, camsim.PCMA, camsim.PCMU16k, camsim.G726, camsim.BackAAC} {
		f.Add("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=audio 0 RTP/AVP 98\r\na=rtpmap:98 "+string(b)+"\r\na=sendonly\r\n", "RTP/AVP/TCP;unicast;interleaved=0-1")
	}
	f.Add("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=audio 0 RTP/AVP 0 8\r\na=sendonly\r\n", "RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001;source=192.0.2.9")
	f.Fuzz(func(t *testing.T, text, transport string) {
		r := &base.Response{StatusCode: base.StatusOK, Header: base.Header{"Transport": {transport}}}
		stay(r)
		var th headers.Transport
		if th.Unmarshal(r.Header["Transport"]) == nil && (th.Source != nil || th.Destination != nil) {
			t.Errorf("%q still aims elsewhere", r.Header["Transport"])
		}
		var sd sdp.SessionDescription
		var d description.Session
		if sd.Unmarshal([]byte(text)) != nil || d.Unmarshal(&sd) != nil {
			return
		}
		for _, m := range PickBack(&d) {
			if v, ok := VoiceOf(m); !ok || v.Rate != 8000 || v.Codec != "PCMU" && v.Codec != "PCMA" {
				t.Errorf("picked %+v", v)
			}
		}
		var tr Trouble
		explainNoBack(&tr, &noBackError{&d})
		if tr.Detail == "" || tr.Try == "" {
			t.Error("no words")
		}
	})
}
