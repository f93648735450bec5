package web

import "time"

// daily is what a bitrate in bits/s makes in a day, in bytes.
func daily(bitrate float64) int64 { return int64(bitrate / 8 * (24 * time.Hour).Seconds()) }
