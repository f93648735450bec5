package streams

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"unicode/utf8"

	"penstock/internal/fault"
)

// CheckName checks a stream's name: [a-zA-Z0-9_.-]{1,256} (KVS CreateStream). "." and
// ".." are refused as well, because clients that join URLs would swallow them.
func CheckName(name string) error {
	ok := name != "" && len(name) <= NameMax && name != "." && name != ".."
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
	}
	if ok {
		return nil
	}
	shown := name
	if len(shown) > 40 {
		shown = shown[:40] + "..."
	}
	return fault.New(fault.Invalid, "name stream", fmt.Sprintf("%q", shown),
		fmt.Sprintf("want 1 to %d of the characters a-z A-Z 0-9 _ . -", NameMax))
}

// Check tells what is wrong with what a caller may set. fault.Invalid names the field.
func (s Stream) Check() error {
	s = s.clone()
	return s.normal()
}

// normal checks what a caller may set and brings it into one form.
func (s *Stream) normal() error {
	if err := CheckName(s.Name); err != nil {
		return err
	}
	s.Retention = cmp.Or(s.Retention, RetentionDefault)
	if s.Retention < RetentionMin || s.Retention > RetentionMax {
		return fault.New(fault.Invalid, "set retention of stream", s.Name,
			fmt.Sprintf("%v is outside of 1h to 87600h", s.Retention))
	}
	if s.RetentionBytes != 0 && (s.RetentionBytes < RetentionBytesMin || s.RetentionBytes > RetentionBytesMax) {
		return fault.New(fault.Invalid, "set retention_bytes of stream", s.Name, fmt.Sprintf("%d bytes is outside of 1 MiB to 1 EiB", s.RetentionBytes)).
			WithHint("0 sets no bound; 500GiB is a bound")
	}
	if err := checkTags(s.Name, s.Tags); err != nil {
		return err
	}
	if s.Source == nil {
		return nil
	}
	src, err := s.Source.normal()
	if err != nil {
		return fault.Wrap(fault.Invalid, "set source of stream", s.Name, err)
	}
	s.Source = src
	return nil
}

func checkTags(name string, tags map[string]string) error {
	if len(tags) > TagsMax {
		return fault.New(fault.Invalid, "tag stream", name, fmt.Sprintf("%d tags, at most %d", len(tags), TagsMax))
	}
	for k, v := range tags {
		if k == "" || utf8.RuneCountInString(k) > TagKeyMax || utf8.RuneCountInString(v) > TagValueMax ||
			!utf8.ValidString(k) || !utf8.ValidString(v) {
			return fault.New(fault.Invalid, "tag stream", name,
				fmt.Sprintf("a key of 1 to %d characters and a value of up to %d are wanted", TagKeyMax, TagValueMax))
		}
	}
	return nil
}

// normal returns a copy in which user and password have left the URL.
func (s Source) normal() (*Source, error) {
	s.Transport = cmp.Or(s.Transport, Auto)
	if s.Transport != Auto && s.Transport != TCP && s.Transport != UDP {
		return nil, fault.New(fault.Invalid, "", "", fmt.Sprintf("transport %q; write auto, tcp or udp", s.Transport))
	}
	s.URL = strings.TrimSpace(s.URL)
	if len(s.URL) > SourceURLMax {
		return nil, fault.New(fault.Invalid, "", "", fmt.Sprintf("the URL has %d characters, at most %d", len(s.URL), SourceURLMax))
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		// The error repeats the URL, which may hold a password.
		return nil, fault.New(fault.Invalid, "", "", "this is no URL").
			WithHint("give user and password in their own fields, and the URL as rtsp://HOST/PATH")
	}
	if u.Scheme != "rtsp" && u.Scheme != "rtsps" {
		return nil, fault.New(fault.Invalid, "", "", fmt.Sprintf("scheme %q; write rtsp:// or rtsps://", u.Scheme))
	}
	if u.Hostname() == "" {
		return nil, fault.New(fault.Invalid, "", "", "the URL names no host")
	}
	if u.User != nil {
		password, _ := u.User.Password()
		if s.Username == "" && s.Password.Empty() {
			s.Username, s.Password = u.User.Username(), newSecret(password)
		}
		u.User = nil
		s.URL = u.String()
	}
	if len(s.Username) > NameMax || len(s.Password.Reveal()) > TagValueMax {
		return nil, fault.New(fault.Invalid, "", "", "user or password is too long")
	}
	return &s, nil
}

// clone copies what a Stream shares.
func (s Stream) clone() Stream {
	if s.Source != nil {
		src := *s.Source
		s.Source = &src
	}
	s.Tags = maps.Clone(s.Tags)
	return s
}
