package web

import (
	"time"

	"penstock/fragments"
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
	Total       int64 `json:"total"`
	Free        int64 `json:"free"`
	UsedByMedia int64 `json:"used_by_media"`
	// FullAt is when the oldest video will have to go before its time, at today's bitrates
	// and retentions; absent: never, or not within a year.
	FullAt      *time.Time `json:"full_at,omitempty"`
	DailyBytes  int64      `json:"daily_bytes"`  // what all streams store in a day at today's bitrates
	SteadyBytes int64      `json:"steady_bytes"` // what they take once each has its retention
	KeptBytes   int64      `json:"kept_bytes"`   // what events alone keep
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
	f := s.foresee(c.r.Context(), max(0, free-fragments.KeepFree(total)))
	v.Disk = diskView{Total: total, Free: free, UsedByMedia: s.c.Store.Status().Bytes, FullAt: f.full, DailyBytes: f.daily, SteadyBytes: f.steady, KeptBytes: f.kept}
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
