package onvif

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/internal/fault"
	"penstock/internal/secret"
)

// coder is the encoder of a camera that can be set.
type coder struct {
	gov, least, most int
	h265, stubborn   bool
	refuse           string // the reason of a SOAP fault

	mu   sync.Mutex
	sets []string // what it was sent
}

const unknown = `<tt:Extension><vendor:Smart xmlns:vendor="http://vendor.example/x" vendor:mode="2" level="a&amp;b">on &lt;1&gt;</vendor:Smart></tt:Extension>`

// answer plays ONVIF Media §5.5.
func (c *coder) answer(body string) (int, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case strings.Contains(body, "SetVideoEncoderConfiguration"):
		if c.refuse != "" {
			return http.StatusBadRequest, head + `<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text xml:lang="en">` + c.refuse + `</s:Text></s:Reason></s:Fault>` + tail
		}
		c.sets = append(c.sets, body)
		if !c.stubborn {
			_, number, _ := strings.Cut(between(body, "<GovLength", "</GovLength"), ">")
			c.gov, _ = strconv.Atoi(number)
		}
		return http.StatusOK, head + `<trt:SetVideoEncoderConfigurationResponse/>` + tail
	case strings.Contains(body, "GetVideoEncoderConfigurationOptions"):
		if c.most == 0 {
			return http.StatusNotFound, ""
		}
		return http.StatusOK, head + fmt.Sprintf(`<trt:GetVideoEncoderConfigurationOptionsResponse><trt:Options><tt:H264><tt:GovLengthRange><tt:Min>%d</tt:Min><tt:Max>%d</tt:Max></tt:GovLengthRange></tt:H264></trt:Options></trt:GetVideoEncoderConfigurationOptionsResponse>`, c.least, c.most) + tail
	}
	codec := fmt.Sprintf(`<tt:H264><tt:GovLength>%d</tt:GovLength><tt:H264Profile>Main</tt:H264Profile></tt:H264>`, c.gov)
	if c.h265 {
		codec = ""
	}
	return http.StatusOK, head + `<trt:GetVideoEncoderConfigurationResponse><trt:Configuration token="v1"><tt:Name>v &amp; w</tt:Name><tt:UseCount>2</tt:UseCount><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>2688</tt:Width><tt:Height>1520</tt:Height></tt:Resolution><tt:Quality>5</tt:Quality><tt:RateControl><tt:FrameRateLimit>25</tt:FrameRateLimit><tt:EncodingInterval>1</tt:EncodingInterval><tt:BitrateLimit>4096</tt:BitrateLimit></tt:RateControl>` +
		codec + `<tt:SessionTimeout>PT60S</tt:SessionTimeout>` + unknown + `</trt:Configuration></trt:GetVideoEncoderConfigurationResponse>` + tail
}

func TestTheKeyFrameIntervalIsSetAndNothingElse(t *testing.T) {
	for _, c := range []struct {
		name    string
		coder   *coder
		address string
		profile string
		want    time.Duration
		frames  int
	}{
		{"two seconds", &coder{gov: 250}, "rtsp://127.0.0.1/p1", "", 2 * time.Second, 50},
		{"as the camera's range has it", &coder{gov: 250, least: 1, most: 100}, "rtsp://127.0.0.1/p1", "", 10 * time.Second, 100},
		{"by the profile's name", &coder{gov: 10}, "rtsp://127.0.0.1/elsewhere", "main", time.Second, 25},
		{"by the profile's token", &coder{gov: 10}, "rtsp://127.0.0.1/elsewhere", "p1", time.Second, 25},
		{"the only encoder there is", &coder{gov: 10}, "rtsp://127.0.0.1/elsewhere", "", time.Second, 25},
	} {
		t.Run(c.name, func(t *testing.T) {
			was := c.coder.gov
			d := newDevice(t, &fakeCamera{user: "admin", pass: `p<&"@ss`, encoder: c.coder.answer})
			before, after, err := New(Config{Timeout: time.Minute}).SetKeyInterval(t.Context(), d.xaddr(), Credentials{d.user, secret.New(d.pass)}, c.address, c.profile, c.want)
			if err != nil {
				t.Fatal(err)
			}
			if before != (Keys{"main", was, 25, float64(was) / 25}) || after != (Keys{"main", c.frames, 25, float64(c.frames) / 25}) {
				t.Errorf("was %+v, is %+v", before, after)
			}
			if len(c.coder.sets) != 1 {
				t.Fatalf("set %d times", len(c.coder.sets))
			}
			var sent struct {
				Body struct {
					Set struct {
						XMLName          xml.Name
						Configuration    node
						ForcePersistence bool
					} `xml:"SetVideoEncoderConfiguration"`
				}
			}
			if err := xml.Unmarshal([]byte(c.coder.sets[0]), &sent); err != nil {
				t.Fatal(err)
			}
			set := sent.Body.Set
			if set.XMLName.Space != mediaSpace || set.Configuration.XMLName.Space != mediaSpace || !set.ForcePersistence {
				t.Errorf("sent %+v", set)
			}
			// What came back is what was there, but for the one number.
			_, text := (&coder{gov: c.frames}).answer("GetVideoEncoderConfiguration")
			var was2 encoderAnswer
			if err := xml.Unmarshal([]byte(text), &was2); err != nil {
				t.Fatal(err)
			}
			want, got := was2.Body.GetVideoEncoderConfigurationResponse.Configuration, set.Configuration
			want.tidy()
			got.tidy()
			if fmt.Sprintf("%+v", want) != fmt.Sprintf("%+v", got) {
				t.Errorf("sent\n%+v, want\n%+v", got, want)
			}
		})
	}
}

func TestCamerasThatCannotBeSetSayWhy(t *testing.T) {
	for _, c := range []struct {
		name  string
		coder *coder
		pass  string
		at    string
		want  time.Duration
		kind  fault.Kind
		text  string
	}{
		{"wrong password", &coder{gov: 10}, "no", "", time.Second, fault.Unauthentic, "refuses user"},
		{"H.265", &coder{gov: 10, h265: true}, "p", "", time.Second, fault.Unavailable, "does not tell it for H264"},
		{"a fault", &coder{gov: 10, refuse: "Parameters &lt;bad&gt;"}, "p", "", time.Second, fault.Unavailable, "status 400: Parameters <bad>"},
		{"says yes and does nothing", &coder{gov: 10, stubborn: true}, "p", "", time.Second, fault.Unavailable, "said yes and has 10"},
		{"no such profile", &coder{gov: 10}, "p", "other", time.Second, fault.NotFound, "no such profile"},
		{"too often", &coder{gov: 10}, "p", "", time.Millisecond, fault.Invalid, "not between"},
		{"too seldom", &coder{gov: 10}, "p", "", time.Hour, fault.Invalid, "not between"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDevice(t, &fakeCamera{user: "admin", pass: "p", encoder: c.coder.answer})
			_, _, err := New(Config{Timeout: time.Minute}).SetKeyInterval(t.Context(), d.xaddr(), Credentials{"admin", secret.New(c.pass)}, "rtsp://127.0.0.1/p1", c.at, c.want)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %v with %q", err, c.kind, c.text)
			}
			if c.name != "a fault" && fault.HintOf(err) == "" {
				t.Error("no next step")
			}
		})
	}
}

func TestWhichProfileIsWatched(t *testing.T) {
	for _, c := range []struct {
		watched, offered string
		same             bool
	}{
		{"rtsp://192.0.2.1/Streaming/Channels/101", "rtsp://10.0.0.9:554/Streaming/Channels/101?transportmode=unicast&profile=Profile_1", true},
		{"rtsp://192.0.2.1/Streaming/Channels/101", "rtsp://10.0.0.9/Streaming/Channels/102", false},
		{"rtsp://192.0.2.1/cam/realmonitor?channel=1&subtype=0", "rtsp://x/cam/realmonitor?channel=1&subtype=0&unicast=true&proto=Onvif", true},
		{"rtsp://192.0.2.1/cam/realmonitor?channel=1&subtype=0", "rtsp://x/cam/realmonitor?channel=1&subtype=1&unicast=true&proto=Onvif", false},
		{"rtsp://192.0.2.1/stream1/", "rtsp://x/stream1", true},
		{"::", "rtsp://x/stream1", false},
	} {
		if got := sameStream(c.watched, c.offered); got != c.same {
			t.Errorf("%s is %s: %v", c.watched, c.offered, got)
		}
	}
}

func FuzzEncoder(f *testing.F) {
	_, text := (&coder{gov: 50}).answer("GetVideoEncoderConfiguration")
	f.Add([]byte(text))
	f.Add([]byte(head + `<GetVideoEncoderConfigurationResponse><Configuration token="a" xmlns:x="y" x:z="1"><MPEG4><GovLength>NaN</GovLength></MPEG4><RateControl><FrameRateLimit>1e9</FrameRateLimit></RateControl></Configuration></GetVideoEncoderConfigurationResponse>` + tail))
	f.Fuzz(func(t *testing.T, b []byte) {
		var a encoderAnswer
		if unmarshal(b, &a) != nil {
			return
		}
		e := encoder{a.Body.GetVideoEncoderConfigurationResponse.Configuration}
		e.tidy()
		k := keysOf(profile{}, e)
		if k.Frames < 0 || k.Frames >= 1<<16 || k.FPS < 0 || k.FPS >= 1<<16 || k.Seconds < 0 {
			t.Errorf("%+v", k)
		}
		if e.gov() == nil {
			return
		}
		e.gov().Text = "7"
		e.XMLName = xml.Name{Space: mediaSpace, Local: "Configuration"}
		text, err := xml.Marshal(e.node)
		if err != nil {
			return // a name that is no name: nothing is sent
		}
		var back node
		if err := unmarshal(text, &back); err == nil && (&encoder{back}).frames() != 7 {
			t.Errorf("%s", text)
		}
	})
}
