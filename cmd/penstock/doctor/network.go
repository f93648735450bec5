package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"penstock/internal/fault"
)

const (
	askPatience = 15 * time.Second // a port where nobody is refuses at once
	answerLimit = 4 << 20          // of a server, whose description is the longest answer
)

// server asks whether Penstock runs here already.
func (e *examination) server(ctx context.Context) {
	const check = "running server"
	status, _, err := e.get(ctx, "/livez")
	if err != nil || status != http.StatusOK {
		e.ok(check, "none at "+e.Server)
		return
	}
	_, text, err := e.get(ctx, "/openapi.json")
	var doc struct {
		Info struct{ Title, Version string }
	}
	if err != nil || json.Unmarshal(text, &doc) != nil || doc.Info.Title != "Penstock" {
		e.ok(check, "none at "+e.Server+": another program answers there")
		return
	}
	e.running = doc.Info.Version
	status, text, err = e.get(ctx, "/readyz")
	switch {
	case err != nil:
		e.fail(check, "it lives, and does not say whether it can persist media: "+err.Error(), "read its log")
	case status != http.StatusOK:
		e.fail(check, fmt.Sprintf("%s lives at %s, and cannot persist media: %s", e.running, e.Server, refusal(text)), "read its log; the rows on the disk below may tell why")
	case e.running != e.Version:
		e.warn(check, fmt.Sprintf("%s at %s takes and persists media; this program is %s", e.running, e.Server, e.Version), "restart the server after an update")
	default:
		e.ok(check, fmt.Sprintf("%s at %s takes and persists media", e.running, e.Server))
	}
}

// refusal is the message of an error of the native API.
func refusal(text []byte) string {
	var body struct{ Error struct{ Message string } }
	if json.Unmarshal(text, &body) != nil || body.Error.Message == "" {
		return "it does not say why"
	}
	return body.Error.Message
}

func (e *examination) get(ctx context.Context, path string) (status int, text []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.Server+path, nil)
	if err != nil {
		return 0, nil, err
	}
	res, err := e.HTTP.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	text, err = io.ReadAll(io.LimitReader(res.Body, answerLimit))
	return res.StatusCode, text, err
}

// ports tries each address that the server is to listen on.
func (e *examination) ports(ctx context.Context) {
	var lc net.ListenConfig
	for _, p := range e.Ports {
		check := "port of " + p.Setting
		l, err := lc.Listen(ctx, "tcp", p.Address)
		switch {
		case err == nil:
			_ = l.Close() // nobody came meanwhile
			e.ok(check, p.Address+" is free")
		case errors.Is(err, syscall.EADDRINUSE) && e.running != "":
			e.ok(check, p.Address+" is in use, as the server that runs here would")
		case errors.Is(err, syscall.EADDRINUSE):
			e.fail(check, p.Address+" is in use by another program", fmt.Sprintf("choose another address with --%s HOST:PORT; `ss -ltnp` names the program", p.Setting))
		case errors.Is(err, os.ErrPermission):
			e.fail(check, p.Address+": this user may not listen there", "choose a port from 1024 on, or give it CAP_NET_BIND_SERVICE")
		default:
			e.fail(check, err.Error(), "name an address of this machine, or 0.0.0.0 for all")
		}
	}
}

// certificateSoon is how long before its end a certificate is spoken of: half of what an
// ACME authority leaves between renewal and end.
const certificateSoon = 14 * 24 * time.Hour

func (e *examination) certificates(context.Context) {
	for _, c := range e.Certificates {
		e.certificate(c)
	}
}

func (e *examination) certificate(c Certificate) {
	check, try := "certificate of "+c.Setting, "renew it, and replace "+c.Cert+" and "+c.Key+": a running server reads them again"
	if c.SelfMade {
		try = "remove " + c.Cert + " and " + c.Key + ", and restart the server: it makes new ones"
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.SelfMade:
		e.ok(check, "made when the server starts")
		return
	case errors.Is(err, fs.ErrPermission):
		e.fail(check, err.Error(), asServer)
		return
	case err != nil:
		e.fail(check, err.Error(), "name PEM files that belong together")
		return
	}
	now, leaf := e.Clock.Now(), pair.Leaf
	words := "until " + leaf.NotAfter.UTC().Format(time.RFC3339)
	switch {
	case now.After(leaf.NotAfter):
		e.fail(check, "it ended on "+leaf.NotAfter.UTC().Format(time.RFC3339), try)
	case now.Before(leaf.NotBefore):
		e.fail(check, "it begins only on "+leaf.NotBefore.UTC().Format(time.RFC3339), "check the clock")
	case leaf.NotAfter.Sub(now) < certificateSoon:
		e.warn(check, words+", which is soon", try)
	case c.Host != "" && leaf.VerifyHostname(c.Host) != nil:
		e.warn(check, words+", and not for "+c.Host+", which public_url names", "get one for that name")
	default:
		e.ok(check, words)
	}
}

// storePatience is how long the S3 store may take for all that it is asked.
const storePatience = 20 * time.Second

func (e *examination) store(ctx context.Context) {
	const check = "S3 store"
	if e.Store == nil {
		e.ok(check, "none: recordings stay on the local disk")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	can, err := e.Store(ctx)
	if err != nil {
		try := fault.HintOf(err)
		if try == "" {
			try = "check s3.endpoint, s3.bucket and the keys; until it answers, recordings wait on the local disk"
		}
		e.fail(check, err.Error(), try)
		return
	}
	e.ok(check, can)
}
