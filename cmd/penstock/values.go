package main

import (
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
