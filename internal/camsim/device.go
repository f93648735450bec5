package camsim

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Device is the ONVIF side of a camera with one profile, as far as its encoder goes: an
// http.Handler that speaks SOAP (ONVIF Media §5.2, §5.5). The zero value asks nobody for a
// password and makes a key frame every 250 frames at 25 frames a second.
type Device struct {
	Path string // of its RTSP stream; "/cam0"

	mu  sync.Mutex
	gov int // frames from one key frame to the next; 0: 250
}

// GOV is how many frames the encoder makes from one key frame to the next.
func (d *Device) GOV() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gov == 0 {
		return 250
	}
	return d.gov
}

// ServeHTTP answers one call.
func (d *Device) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	body := string(b)
	for _, a := range []struct{ call, answer string }{
		{"GetSystemDateAndTime", `<GetSystemDateAndTimeResponse/>`},
		{"GetProfiles", `<GetProfilesResponse><Profiles token="p1"><Name>main</Name><VideoEncoderConfiguration token="v1"><Encoding>H264</Encoding></VideoEncoderConfiguration></Profiles></GetProfilesResponse>`},
		{"GetStreamUri", `<GetStreamUriResponse><MediaUri><Uri>rtsp://10.0.0.9` + d.path() + `</Uri></MediaUri></GetStreamUriResponse>`},
		{"SetVideoEncoderConfiguration", `<SetVideoEncoderConfigurationResponse/>`},
		{"GetVideoEncoderConfigurationOptions", `<GetVideoEncoderConfigurationOptionsResponse><Options><H264><GovLengthRange><Min>1</Min><Max>400</Max></GovLengthRange></H264></Options></GetVideoEncoderConfigurationOptionsResponse>`},
		{"GetVideoEncoderConfiguration", fmt.Sprintf(`<GetVideoEncoderConfigurationResponse><Configuration token="v1"><Encoding>H264</Encoding><RateControl><FrameRateLimit>25</FrameRateLimit></RateControl><H264><GovLength>%d</GovLength></H264></Configuration></GetVideoEncoderConfigurationResponse>`, d.GOV())},
	} {
		if !strings.Contains(body, a.call) {
			continue
		}
		if a.call == "SetVideoEncoderConfiguration" {
			d.set(body)
		}
		_, _ = io.WriteString(w, `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>`+a.answer+`</s:Body></s:Envelope>`) // the caller tells
		return
	}
	w.WriteHeader(http.StatusNotFound)
}

func (d *Device) path() string {
	if d.Path == "" {
		return "/cam0"
	}
	return d.Path
}

func (d *Device) set(body string) {
	m := regexp.MustCompile(`GovLength[^>]*>(\d+)<`).FindStringSubmatch(body)
	if m == nil {
		return
	}
	if n, err := strconv.Atoi(m[1]); err == nil {
		d.mu.Lock()
		d.gov = n
		d.mu.Unlock()
	}
}
