package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/internal/quantity"
	"penstock/internal/secret"
	"penstock/streams"
)

// listMax is how many streams one answer holds.
const listMax = 1000

func listStreams(c *call) error {
	q := c.r.URL.Query()
	limit, err := number(q.Get("limit"), listMax)
	if err != nil {
		return err
	}
	views := []streamView{}
	next := q.Get("next")
	ctx, cancel := context.WithTimeout(c.r.Context(), storedWait)
	defer cancel()
	for len(views) < limit {
		page, more := c.s.c.Catalogue.List(c.principal.Account, q.Get("prefix"), next, limit-len(views))
		for _, st := range page {
			if c.may(auth.DescribeStream, st.ARN()) == nil {
				views = append(views, c.s.view(ctx, st))
			}
		}
		if next = more; more == "" {
			break
		}
	}
	answer := map[string]any{"streams": views}
	if next != "" {
		answer["next"] = next
	}
	return c.json(answer)
}

// number reads a positive count with an upper bound, which is also its default.
func number(text string, most int) (int, error) {
	if text == "" {
		return most, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fault.New(fault.Invalid, "read limit", text, "not a positive number")
	}
	return min(n, most), nil
}

type sourceBody struct {
	URL       string  `json:"url"`
	Username  string  `json:"username"`
	Password  *string `json:"password"` // absent: as it was
	Transport string  `json:"transport"`
}

type streamBody struct {
	Name      string            `json:"name"`
	Retention string            `json:"retention"`
	Bytes     byteCount         `json:"retention_bytes"`
	Source    *sourceBody       `json:"source"`
	Tags      map[string]string `json:"tags"`
}

func (b *sourceBody) source(old *streams.Source) *streams.Source {
	src := &streams.Source{URL: b.URL, Username: b.Username, Transport: streams.Transport(b.Transport)}
	if src.Transport == "" {
		src.Transport = streams.Auto
	}
	switch {
	case b.Password != nil:
		src.Password = secret.New(*b.Password)
	case old != nil:
		src.Password = old.Password
	}
	return src
}

func createStream(c *call) error {
	var body streamBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	st := streams.Stream{Account: c.principal.Account, Region: c.s.c.Region, Name: body.Name, Tags: body.Tags, Created: c.s.c.Clock.Now()}
	c.object = st.ARN()
	if err := c.may(auth.CreateStream, st.ARN()); err != nil {
		return err
	}
	var err error
	if st.Retention, err = retention(body.Retention); err != nil {
		return err
	}
	st.RetentionBytes = int64(body.Bytes)
	if body.Source != nil {
		st.Source = body.Source.source(nil)
	}
	if st, err = c.s.c.Catalogue.Create(c.r.Context(), st); err != nil {
		return err
	}
	c.object = st.ARN()
	c.w.Header().Set("Location", "/v1/streams/"+st.Name)
	c.s.answer(c.w, http.StatusCreated, c.s.view(c.r.Context(), st))
	return nil
}

// retention reads a retention; empty means the default.
func retention(text string) (time.Duration, error) {
	if text == "" {
		return streams.RetentionDefault, nil
	}
	d, err := quantity.Duration(text)
	if err == nil && (d < streams.RetentionMin || d > streams.RetentionMax) {
		err = fault.New(fault.Invalid, "", "", "it must lie between 1h and 87600h (ten years)")
	}
	return d, fault.Wrap(fault.Invalid, "set retention", text, err)
}

func showStream(c *call) error { return c.json(c.s.view(c.r.Context(), c.stream)) }

// patchBody changes what it names and leaves the rest.
type patchBody struct {
	Retention *string            `json:"retention"`
	Bytes     *byteCount         `json:"retention_bytes"` // 0: no bound
	Source    *sourceBody        `json:"source"`
	Push      bool               `json:"push"` // true: stop pulling, wait to be pushed to
	Tags      *map[string]string `json:"tags"`
}

// apply changes a stream as the body says.
func (b patchBody) apply(st *streams.Stream) error {
	if b.Push && b.Source != nil {
		return fault.New(fault.Invalid, "change stream", st.Name, "push and source exclude each other")
	}
	if b.Retention != nil {
		if *b.Retention == "" { // a form that was not filled in must not shorten what is kept
			return fault.New(fault.Invalid, "change stream", st.Name, "retention is empty").WithHint("leave it out, or write 36h or 30d")
		}
		d, err := retention(*b.Retention)
		if err != nil {
			return err
		}
		st.Retention = d
	}
	if b.Bytes != nil {
		st.RetentionBytes = int64(*b.Bytes)
	}
	switch {
	case b.Push:
		st.Source = nil
	case b.Source != nil:
		st.Source = b.Source.source(st.Source)
	}
	if b.Tags != nil {
		st.Tags = *b.Tags
	}
	return nil
}

func changeStream(c *call) error {
	var body patchBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	switch text := c.r.URL.Query().Get("preview"); text {
	case "", "false":
	case "true":
		return c.preview(body)
	default:
		return fault.New(fault.Invalid, "read preview", fmt.Sprintf("%.40q", text), "it is true or false") // not to change what was to be looked at
	}
	st, err := c.s.c.Catalogue.Update(c.r.Context(), c.stream.Account, c.stream.Name, body.apply)
	if err != nil {
		return err
	}
	return c.json(c.s.view(c.r.Context(), st))
}

// previewView is what a change would do.
type previewView struct {
	Delete    lossView `json:"delete"`
	KeptBytes int64    `json:"kept_bytes"` // what events alone would keep
}

type lossView struct {
	Fragments int64      `json:"fragments"`
	Bytes     int64      `json:"bytes"`
	First     *time.Time `json:"first"` // null: nothing
	Last      *time.Time `json:"last"`
}

// preview tells what video a change of the retention would delete. It changes nothing.
func (c *call) preview(body patchBody) error {
	c.every, c.aside = auth.ViewEvery, " preview" // a form asks with each key that is pressed
	st := c.stream
	if err := body.apply(&st); err != nil {
		return err
	}
	if err := st.Check(); err != nil {
		return err
	}
	lost, kept, err := c.s.c.Hub.Preview(c.r.Context(), st)
	if err != nil {
		return err
	}
	return c.json(previewView{lossView{lost.Fragments, lost.Bytes, instant(lost.First), instant(lost.Last)}, kept})
}

func deleteStream(c *call) error {
	if err := c.s.c.Catalogue.Delete(c.r.Context(), c.stream.Account, c.stream.Name); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

type tokenBody struct {
	TTL   string    `json:"ttl"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// mintToken makes a short-lived token for this stream's media, no wider than what
// its maker may see.
func mintToken(c *call) error {
	body := tokenBody{TTL: "10m"}
	if c.r.ContentLength != 0 {
		if err := decode(c.w, c.r, &body); err != nil {
			return err
		}
	}
	ttl, err := quantity.Duration(body.TTL)
	if err != nil {
		return fault.Wrap(fault.Invalid, "mint media token", c.stream.Name, err)
	}
	token, until, err := c.s.c.Auth.MintMedia(c.principal, c.stream.ARN(), ttl, body.Start, body.End)
	if err != nil {
		return err
	}
	return c.json(map[string]any{"token": token.Reveal(), "expires": until.UTC()})
}

type oldTokenBody struct {
	Token string `json:"token"`
}

// revokeToken takes a token of this stream back.
func revokeToken(c *call) error {
	var body oldTokenBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	if err := c.s.c.Auth.RevokeMedia(c.r.Context(), body.Token, c.stream.ARN()); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// allStreams is every stream of every account, for totals that name none of them.
func (s *Server) allStreams() []streams.Stream { return s.c.Catalogue.All() }
