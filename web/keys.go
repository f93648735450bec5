package web

import (
	"encoding/json"
	"net/http"
	"time"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/internal/quantity"
)

type keyView struct {
	ID       string          `json:"id"`
	Name     string          `json:"name"`
	Role     string          `json:"role"`
	Streams  []string        `json:"streams,omitempty"`
	Policy   json.RawMessage `json:"policy,omitempty"`
	Created  time.Time       `json:"created"`
	Expires  *time.Time      `json:"expires,omitempty"`
	LastUsed *time.Time      `json:"last_used,omitempty"`
}

func viewKey(k auth.KeyInfo) keyView {
	return keyView{ID: k.ID, Name: k.Name, Role: k.Role, Streams: k.Streams, Policy: k.Policy,
		Created: k.Created.UTC(), Expires: instant(k.Expires), LastUsed: instant(k.LastUsed)}
}

func listKeys(c *call) error {
	views := []keyView{}
	for _, k := range c.s.c.Auth.KeysOf(c.principal.Account) {
		views = append(views, viewKey(k))
	}
	return c.json(map[string]any{"keys": views})
}

type newKeyBody struct {
	Name    string          `json:"name"`
	Role    string          `json:"role"`
	Streams []string        `json:"streams"`
	Policy  json.RawMessage `json:"policy"`
	TTL     string          `json:"ttl"`
}

type issuedView struct {
	keyView
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	Token           string `json:"token"`
}

// createKey answers with the secret and the token, which are shown this once.
func createKey(c *call) error {
	var body newKeyBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	k := auth.NewKey{Account: c.principal.Account, Name: body.Name, Role: body.Role, Streams: body.Streams, Policy: body.Policy}
	if body.TTL != "" {
		ttl, err := quantity.Duration(body.TTL)
		if err != nil {
			return fault.Wrap(fault.Invalid, "create key", body.Name, err)
		}
		k.Expires = c.s.c.Clock.Now().Add(ttl)
	}
	issued, err := c.s.c.Auth.CreateKey(c.r.Context(), k)
	if err != nil {
		return err
	}
	c.object = issued.ID
	c.s.answer(c.w, http.StatusCreated, issuedView{keyView: viewKey(issued.KeyInfo), AccessKeyID: issued.ID,
		SecretAccessKey: issued.Secret.Reveal(), Token: issued.Token.Reveal()})
	return nil
}

func removeKey(c *call) error {
	c.object = c.r.PathValue("id")
	if err := c.s.c.Auth.RemoveKeyOf(c.r.Context(), c.principal.Account, c.r.PathValue("id")); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
