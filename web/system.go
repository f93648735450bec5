package web

import (
	"time"

	"penstock/internal/fault"
)

type systemView struct {
	Version     string    `json:"version"`
	Started     time.Time `json:"started"`
	UptimeS     float64   `json:"uptime_s"`
	DataDir     string    `json:"data_dir"`
	Store       string    `json:"store"`
	Disk        diskView  `json:"disk"`
	HTTP        string    `json:"http"`
	RTSP        string    `json:"rtsp"`
	LocalOnly   bool      `json:"local_only"`
	PasswordSet bool      `json:"password_set"`
	FFmpeg      bool      `json:"ffmpeg"`
	Demo        bool      `json:"demo"`
	Problems    []string  `json:"problems"`
}

type diskView struct {
	Total       int64      `json:"total"`
	Free        int64      `json:"free"`
	UsedByMedia int64      `json:"used_by_media"`
	FullAt      *time.Time `json:"full_at,omitempty"` // at today's bitrates, before retention frees anything; absent: not within a year
}

func showSystem(c *call) error {
	s := c.s
	now := s.c.Clock.Now()
	v := systemView{
		Version: s.c.Version, Started: s.c.Started.UTC(), UptimeS: now.Sub(s.c.Started).Seconds(),
		DataDir: s.c.DataDir, Store: s.c.StoreName, HTTP: s.c.PublicURL, RTSP: s.c.RTSPAddress, LocalOnly: s.c.LocalOnly,
		PasswordSet: s.c.Auth.HasPassword(c.r.Context()), FFmpeg: s.c.Still.Available(), Demo: s.c.Demo, Problems: []string{},
	}
	total, free, err := s.c.FS.Space(s.c.DataDir)
	if err != nil {
		return fault.Wrap(fault.Internal, "measure the disk of", s.c.DataDir, err)
	}
	v.Disk = diskView{Total: total, Free: free, UsedByMedia: s.c.Store.Status().Bytes}
	rate := 0.0
	for _, st := range s.allStreams() {
		rate += s.c.Hub.State(st.ID).Bitrate / 8
	}
	if rate > 0 && float64(free)/rate < (365*24*time.Hour).Seconds() {
		v.Disk.FullAt = instant(now.Add(time.Duration(float64(free) / rate * float64(time.Second))))
	}
	v.Problems = append(v.Problems, s.problems()...)
	return c.json(v)
}

// problems lists in words what an operator should know of now.
func (s *Server) problems() []string {
	var out []string
	for _, p := range s.c.Problems {
		if text := p(); text != "" {
			out = append(out, text)
		}
	}
	return out
}

func alive(c *call) error {
	c.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := c.w.Write([]byte("ok\n"))
	return fault.Wrap(fault.Internal, "answer", "livez", err)
}

// ready answers 200 when media can be taken and persisted. It names no stream and
// no path: the question is open to everyone.
func ready(c *call) error {
	if err := c.s.c.Ready(); err != nil {
		return fault.New(fault.Unavailable, "be ready", "", "media cannot be persisted now").WithHint("see the server's log, or GET /v1/system")
	}
	return alive(c)
}

func metrics(c *call) error {
	c.s.metrics.ServeHTTP(c.w, c.r)
	return nil
}
