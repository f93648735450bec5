package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"penstock/internal/quantity"
	"penstock/playback"
)

// moment is a flag that holds an instant as the server reads it: RFC 3339, now, or -10m.
type moment string

// Set refuses what is no instant.
func (m *moment) Set(s string) error {
	if _, err := playback.ParseTime(s, time.Now()); err != nil {
		return err
	}
	*m = moment(s)
	return nil
}

// String is the instant as it was typed.
func (m *moment) String() string { return string(*m) }

// Type is what help calls it.
func (m *moment) Type() string { return "time" }

// duration is a flag that holds a duration as the server reads it: 36h, 30d.
type duration string

// Set refuses what is no duration.
func (d *duration) Set(s string) error {
	if _, err := quantity.Duration(s); err != nil {
		return err
	}
	*d = duration(s)
	return nil
}

// String is the duration as it was typed.
func (d *duration) String() string { return string(*d) }

// Type is what help calls it.
func (d *duration) Type() string { return "duration" }

// length is the duration itself; 0 when there is none.
func (d duration) length() time.Duration {
	v, err := quantity.Duration(string(d))
	if err != nil {
		return 0
	}
	return v
}

// bytesize is a flag that holds a number of bytes: 64MiB.
type bytesize int64

// Set refuses what is no size.
func (b *bytesize) Set(s string) error {
	n, err := quantity.Size(s)
	if err == nil {
		*b = bytesize(n)
	}
	return err
}

// String is the size for people.
func (b *bytesize) String() string {
	if *b == 0 {
		return ""
	}
	return quantity.Bytes(int64(*b))
}

// Type is what help calls it.
func (b *bytesize) Type() string { return "size" }

// bitrate is a flag that holds bits a second: 3Mbit, 800kbit.
type bitrate int

// Set refuses what is no rate.
func (b *bitrate) Set(s string) error {
	number, factor := strings.ToLower(strings.TrimSpace(s)), 1.0
	for _, tail := range []string{"/s", "bps", "bit"} {
		number = strings.TrimSuffix(number, tail)
	}
	if n := len(number) - 1; n > 0 {
		if f, ok := map[byte]float64{'k': 1e3, 'm': 1e6, 'g': 1e9}[number[n]]; ok {
			number, factor = strings.TrimSpace(number[:n]), f
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || v*factor < bitrateLeast || v*factor > bitrateMost {
		return fmt.Errorf("bit rate %q: write it as 3Mbit or 800kbit, from 16kbit to 100Mbit", s)
	}
	*b = bitrate(v * factor)
	return nil
}

// Bounds of a bit rate: below it no camera sends pictures, above it none does yet.
const (
	bitrateLeast = 16_000
	bitrateMost  = 100_000_000
)

// String is the rate for people.
func (b *bitrate) String() string {
	switch {
	case *b >= 1_000_000:
		return strconv.FormatFloat(float64(*b)/1e6, 'g', 4, 64) + "Mbit"
	case *b >= 1000:
		return strconv.FormatFloat(float64(*b)/1e3, 'g', 4, 64) + "kbit"
	}
	return strconv.Itoa(int(*b)) + "bit"
}

// Type is what help calls it.
func (b *bitrate) Type() string { return "rate" }
