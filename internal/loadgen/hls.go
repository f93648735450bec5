package loadgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// bodyMax bounds a playlist, a segment or a message.
const bodyMax = 64 << 20

// errNoMedia is a playlist that nothing can be played of.
var errNoMedia = errors.New("a playlist without media")

// PlayHLS does what a player does: the playlist, the initialization section, the newest
// part, or else segment, that begins with a key frame, and, for as long as seen says so,
// the parts that follow, by reloads that the server holds until there is one. The end of ctx
// is an error.
func (v Viewer) PlayHLS(ctx context.Context, path string, seen func(Arrival) bool) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar}
	if v.Client != nil && v.Client.Transport != nil {
		client.Transport = v.Client.Transport
	} else {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		client.Transport = transport
	}
	p := &player{v: v, client: client, seen: seen}
	at, err := url.Parse(v.HTTP + path)
	if err != nil {
		return err
	}
	list, at, err := p.playlist(ctx, at)
	if err != nil {
		return err
	}
	if err := p.fetch(ctx, at, list.init, Arrival{}); err != nil || p.done {
		return err
	}
	newest := list.newestKey()
	if newest < 0 {
		return errNoMedia
	}
	for {
		for _, m := range list.media[newest:] {
			if err := p.fetch(ctx, at, m.uri, Arrival{Media: true, Key: m.key, Made: m.at}); err != nil || p.done {
				return err
			}
		}
		last := list.media[len(list.media)-1]
		if list, at, err = p.reload(ctx, at, list); err != nil || p.done {
			return err
		}
		newest = list.after(last)
	}
}

// player is one viewer's HLS.
type player struct {
	v      Viewer
	client *http.Client
	seen   func(Arrival) bool
	done   bool // seen had enough
}

// tell hands an arrival on.
func (p *player) tell(a Arrival) { p.done = p.done || !p.seen(a) }

// playlist gets one, by way of a multivariant one where there is one.
func (p *player) playlist(ctx context.Context, at *url.URL) (playlist, *url.URL, error) {
	text, at, err := p.get(ctx, at)
	if err != nil {
		return playlist{}, at, err
	}
	const variantsDeep = 4
	for range variantsDeep {
		_, rest, found := strings.Cut(text, "#EXT-X-STREAM-INF")
		if !found {
			break
		}
		lines := strings.SplitN(rest, "\n", 3)
		if len(lines) < 3 {
			return playlist{}, at, errors.New("a multivariant playlist without a variant")
		}
		if at, err = at.Parse(strings.TrimSpace(lines[1])); err != nil {
			return playlist{}, at, err
		}
		if text, at, err = p.get(ctx, at); err != nil {
			return playlist{}, at, err
		}
	}
	p.tell(Arrival{Bytes: len(text)})
	list := parsePlaylist(text)
	if list.init == "" && len(list.media) == 0 {
		return list, at, fmt.Errorf("%w:\n%.500s", errNoMedia, text)
	}
	return list, at, nil
}

// reload asks for the playlist that has the next part.
func (p *player) reload(ctx context.Context, at *url.URL, list playlist) (playlist, *url.URL, error) {
	q := at.Query()
	q.Set("_HLS_msn", strconv.FormatInt(list.nextSegment, 10))
	q.Set("_HLS_part", strconv.Itoa(list.nextPart))
	next := *at
	next.RawQuery = q.Encode()
	return p.playlist(ctx, &next)
}

// fetch gets what a playlist names and tells of it.
func (p *player) fetch(ctx context.Context, at *url.URL, uri string, a Arrival) error {
	if uri == "" {
		return errNoMedia
	}
	next, err := at.Parse(uri)
	if err != nil {
		return err
	}
	body, _, err := p.get(ctx, next)
	if err != nil {
		return err
	}
	a.Bytes = len(body)
	p.tell(a)
	return nil
}

// get returns a body and where it came from in the end.
func (p *player) get(ctx context.Context, at *url.URL) (string, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "", nil, err
	}
	if p.v.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.v.Token)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, bodyMax))
	if err == nil && res.StatusCode != http.StatusOK {
		err = &Answered{Path: at.Path, Status: res.Status, Code: res.StatusCode}
	}
	return string(body), res.Request.URL, err
}

// piece is a part, or a segment whose parts are not listed.
type piece struct {
	uri string
	key bool
	at  time.Time // of its first picture; zero: the playlist tells no time
}

// playlist is what a player takes of one.
type playlist struct {
	init        string
	media       []piece
	nextSegment int64 // media sequence number
	nextPart    int
}

// newestKey is the index of the newest piece that a decoder can start from; -1: none.
func (l playlist) newestKey() int {
	for i := len(l.media) - 1; i >= 0; i-- {
		if l.media[i].key {
			return i
		}
	}
	return -1
}

// after is the index of the piece that follows m; of the newest key frame when m is gone.
func (l playlist) after(m piece) int {
	for i := len(l.media) - 1; i >= 0; i-- {
		if l.media[i].uri == m.uri {
			return i + 1
		}
	}
	return max(0, l.newestKey())
}

// parsePlaylist reads a media playlist of RFC 8216bis; lines that it does not know say nothing.
func parsePlaylist(text string) (l playlist) {
	var at time.Time // where the next piece begins
	parts := 0       // listed of the segment that is read
	duration := time.Duration(0)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		tag, value, _ := strings.Cut(line, ":")
		switch {
		case tag == "#EXT-X-MEDIA-SEQUENCE":
			l.nextSegment, _ = strconv.ParseInt(value, 10, 64)
		case tag == "#EXT-X-MAP":
			l.init = attribute(value, "URI")
		case tag == "#EXT-X-PROGRAM-DATE-TIME":
			at, _ = time.Parse(time.RFC3339Nano, value)
		case tag == "#EXT-X-PART":
			parts++
			l.media = append(l.media, piece{attribute(value, "URI"), attribute(value, "INDEPENDENT") == "YES", at})
			at = later(at, seconds(attribute(value, "DURATION")))
		case tag == "#EXTINF":
			duration = seconds(strings.TrimRight(value, ","))
		case line != "" && line[0] != '#':
			l.nextSegment++
			if parts == 0 {
				l.media = append(l.media, piece{line, true, at})
				at = later(at, duration)
			}
			parts = 0
		}
	}
	l.nextPart = parts
	return l
}

func later(t time.Time, d time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(d)
}

// seconds reads a decimal number of them; what is none is 0.
func seconds(s string) time.Duration {
	s, _, _ = strings.Cut(s, ",")
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 || v > 1e6 {
		return 0
	}
	return time.Duration(v * float64(time.Second))
}

// attribute is one of an attribute list (RFC 8216 §4.2), without its quotes.
func attribute(list, name string) string {
	for list != "" {
		key, rest, ok := strings.Cut(list, "=")
		if !ok {
			return ""
		}
		var value string
		if quoted, found := strings.CutPrefix(rest, `"`); found {
			value, rest, _ = strings.Cut(quoted, `"`)
			rest = strings.TrimPrefix(rest, ",")
		} else {
			value, rest, _ = strings.Cut(rest, ",")
		}
		if strings.TrimSpace(key) == name {
			return value
		}
		list = rest
	}
	return ""
}
