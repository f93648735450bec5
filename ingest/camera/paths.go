package camera

// vendorPath is where a maker's cameras keep their main stream.
type vendorPath struct {
	Vendor string
	Path   string
}

// vendorPaths lists where common cameras keep their main stream, most common first.
func vendorPaths() []vendorPath {
	return []vendorPath{
		{"Hikvision, Annke", "/Streaming/Channels/101"},
		{"Dahua, Amcrest, Lorex", "/cam/realmonitor?channel=1&subtype=0"},
		{"Reolink", "/h264Preview_01_main"},
		{"TP-Link Tapo, VIGI", "/stream1"},
		{"Axis", "/axis-media/media.amp"},
		{"Uniview", "/media/video1"},
		{"Hanwha, Samsung", "/profile2/media.smp"},
		{"Bosch", "/rtsp_tunnel"},
		{"Vivotek, Ubiquiti airCam", "/live.sdp"},
		{"Foscam", "/videoMain"},
		{"Panasonic, i-PRO", "/MediaInput/h264/stream_1"},
		{"Sony", "/media/video1"},
		{"generic, XMeye", "/user=admin_password=_channel=1_stream=0.sdp"},
	}
}

// CommonPaths returns the first n of vendorPaths as "path (vendor)".
func CommonPaths(n int) []string {
	var out []string
	for _, v := range vendorPaths() {
		if len(out) == n {
			break
		}
		out = append(out, v.Path+" ("+v.Vendor+")")
	}
	return out
}
