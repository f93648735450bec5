package acceptance

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	cdplog "github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// hostileTexts are n texts that would run in a page which takes them for markup.
func hostileTexts(n int) []string {
	const run = `window.__ran=1;alert(1)`
	shapes := []string{`<script>RUN</script>`, `<img src=x onerror="RUN">`, `"><svg onload="RUN">`, `'><img src=x onerror='RUN'>`, `<svg><script>RUN</script></svg>`, `javascript:RUN`, `" onmouseover="RUN" autofocus onfocus="RUN`,
		`<iframe srcdoc="<script>parent.RUN</script>">`, `<iframe src="javascript:RUN">`, `<body onload=RUN>`, `<details open ontoggle="RUN">`, `<video><source onerror="RUN">`, `<a href="javascript:RUN">x</a>`, `</title><script>RUN</script>`,
		`</script><script>RUN</script>`, `</textarea><script>RUN</script>`, "`;RUN;`", "${RUN}", `{{constructor.constructor('RUN')()}}`, `<math><mi//xlink:href="data:x,<script>RUN</script>">`, `<link rel=stylesheet href=//192.0.2.1/x.css>`,
		`<style>@import'//192.0.2.1/x'</style>`, `<p style="background:url(//192.0.2.1/x)">`, `<img src=//192.0.2.1/x.gif>`, `<form action=//192.0.2.1><input name=x autofocus onfocus=RUN>`, `<object data="data:text/html,<script>RUN</script>">`,
		`<embed src="javascript:RUN">`, `<base href=//192.0.2.1/>`, `<meta http-equiv=refresh content="0;url=javascript:RUN">`, `';RUN;//`, `";RUN;//`, `\u003cscript\u003eRUN\u003c/script\u003e`, `%3Cscript%3ERUN%3C/script%3E`, `&lt;script&gt;RUN&lt;/script&gt;`,
		`<scr<script>ipt>RUN</script>`, `<SCRIPT SRC=//192.0.2.1/x.js></SCRIPT>`, `<img src="x` + "`" + `<script>RUN</script>"` + "`" + `>`, `<input type=image src onerror=RUN>`, `<marquee onstart=RUN>`, `<xss style="animation-name:x" onanimationstart=RUN>`,
		`' or RUN or '`, `& RUN &`, `data:text/html,<script>RUN</script>`, `__proto__`, `constructor`, `<!--<script>RUN//-->`, `<?xml version="1.0"?><x onload=RUN/>`, `]]><script>RUN</script>`, `<template><script>RUN</script></template>`, `javascript-alert.1`}
	var out []string
	for i := 0; len(out) < n; i++ {
		out = append(out, strings.ReplaceAll(shapes[i%len(shapes)], "RUN", run)+strings.Repeat("x", i/len(shapes)))
	}
	return out
}

// watchdog notes what a page must not do.
type watchdog struct {
	mu   sync.Mutex
	seen []string
}

func (w *watchdog) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, fmt.Sprintf(format, args...))
}

func (w *watchdog) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

// guarded makes a page tell of dialogs, violations of its policy and exceptions, and
// loads it anew with that.
func guarded(p *page) *watchdog {
	p.t.Helper()
	w := &watchdog{}
	chromedp.ListenTarget(p.ctx, func(e any) {
		switch e := e.(type) {
		case *cdppage.EventJavascriptDialogOpening:
			w.note("dialog: %s", e.Message)
			go func() { _ = chromedp.Run(p.ctx, cdppage.HandleJavaScriptDialog(true)) }()
		case *audits.EventIssueAdded:
			if e.Issue.Details.ContentSecurityPolicyIssueDetails != nil {
				w.note("policy issue: %s", e.Issue.Details.ContentSecurityPolicyIssueDetails.ViolatedDirective)
			}
		case *cdplog.EventEntryAdded:
			if strings.Contains(e.Entry.Text, "Content Security Policy") {
				w.note("log: %s", e.Entry.Text)
			}
		case *runtime.EventConsoleAPICalled:
			for _, a := range e.Args {
				if strings.Contains(string(a.Value), "POLICY-VIOLATION") {
					w.note("%s", a.Value)
				}
			}
		}
	})
	p.do(audits.Enable(), cdplog.Enable(), chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := cdppage.AddScriptToEvaluateOnNewDocument(`addEventListener('securitypolicyviolation', e => console.error('POLICY-VIOLATION ' + e.violatedDirective + ' ' + e.blockedURI + ' ' + e.sample))`).Do(ctx)
		return err
	}))
	p.reload()
	return w
}

// hostile fills every place that the console shows with texts, and returns the names of
// the streams that it made.
func (s *server) hostile(t *testing.T, texts []string) (names []string) {
	t.Helper()
	// A camera whose answers are hostile, too: they come back as reasons and hints.
	port, _ := counting(t, "127.0.0.1:0", "RTSP/1.0 404 <img src=x onerror=alert(1)>\r\nCSeq: %CSEQ%\r\nServer: <script>alert(1)</script>\r\nWWW-Authenticate: Basic realm=\"<script>alert(1)</script>\"\r\n\r\n")
	named, tagged, users, keys, labels := 0, 0, 0, 0, 0
	const per = 5
	for i := 0; i < len(texts); i += per {
		name := fmt.Sprint("cam", i)
		tags := map[string]string{}
		for j, text := range texts[i : i+per] {
			if status, _, _ := s.do("POST", "/v1/streams", map[string]any{"name": text}); status == http.StatusCreated {
				names = append(names, text)
				named++
			}
			if status, _, _ := s.do("POST", "/v1/keys", map[string]any{"role": "viewer", "name": text}); status == http.StatusCreated {
				keys++
			}
			tags[fmt.Sprint("t", j)] = text
		}
		status, _, _ := s.do("POST", "/v1/streams", map[string]any{"name": name,
			"source": map[string]any{"url": "rtsp://127.0.0.1:" + port + "/" + url.PathEscape(texts[i]), "username": texts[i+1], "password": "x"}})
		if status == http.StatusCreated {
			users++
		} else if status, body, _ := s.do("POST", "/v1/streams", map[string]any{"name": name}); status != http.StatusCreated {
			t.Fatalf("create %s: %d %s", name, status, body)
		}
		names = append(names, name)
		for k, v := range tags { // some texts may be refused: each for itself
			if status, _, _ := s.do("PATCH", "/v1/streams/"+name, map[string]any{"tags": map[string]string{k: v, "constant": "x"}}); status == http.StatusOK {
				tagged++
			}
		}
		if status, _, _ := s.do("PATCH", "/v1/streams/"+name, map[string]any{"tags": tags}); status != http.StatusOK {
			s.do("PATCH", "/v1/streams/"+name, map[string]any{"tags": map[string]string{"t": texts[i]}})
		}
		for j, text := range texts[i : i+per] {
			body := map[string]any{"kind": []string{"mark", "person"}[j%2], "label": text, "start": fmt.Sprintf("-%ds", 1+j*40), "keep": "30d", "data": map[string]string{text: text}}
			if status, _, _ := s.do("POST", "/v1/streams/"+url.PathEscape(name)+"/events", body); status == http.StatusCreated {
				labels++
			}
		}
		if c, err := s.dialRTSP(); err == nil {
			// The push ends with its connection: its session name is what matters.
			_, _, _ = c.ask("ANNOUNCE", fmt.Sprintf("rtsp://%s/push%d", s.rtsp, i), []string{basic("key", s.token), "User-Agent: " + texts[i]}, sdp(texts[i+2]))
			_ = c.Close()
		}
	}
	t.Logf("%d texts: %d became names of streams, %d tags, %d user names and URLs, %d names of keys, %d labels of events", len(texts), named, tagged, users, keys, labels)
	if labels < 90 || tagged < 50 || keys < 5 || users < 10 {
		t.Error("too few of the texts were taken for this to prove anything")
	}
	return names
}

// hostileEvents looks at the events of the stream that is shown: beside its picture, in
// the list of all, under the pointer, and one by itself with its data.
func (p *page) hostileEvents(where string) {
	p.t.Helper()
	p.until(where+" shows its events", "document.querySelectorAll('.ev').length > 3", 20*time.Second)
	p.act(first(".tl canvas"), "e.dispatchEvent(new PointerEvent('pointermove', {clientX: 300, clientY: e.getBoundingClientRect().top + 91, pointerType: 'mouse', bubbles: true}))")
	for _, open := range []string{"[...document.querySelectorAll('.link')].find(b => b.innerText.startsWith('All '))", "document.querySelector('.ev .ico')"} {
		p.act(open, "e.click()")
		p.until("a dialog of "+where, "document.querySelector('dialog[open] pre, dialog[open] .ev')", 10*time.Second)
		p.breathe()
		p.click("dialog[open] button[aria-label=Close]")
		p.until("it is closed", "!document.querySelector('dialog[open]')", 5*time.Second)
	}
}

func TestHostileTextsDoNotRunInTheConsole(t *testing.T) {
	s := start(t)
	p := browse(t, s)
	w := guarded(p)
	texts := hostileTexts(100)
	names := s.hostile(t, texts)
	pages := []string{"", "cameras", "add", "health", "settings", "audit", "audit?object=" + url.QueryEscape(texts[0]), "lost"}
	for _, n := range names {
		pages = append(pages, "cameras/"+url.PathEscape(n))
	}
	for i := 0; i < len(texts); i += 10 { // streams that are not there: the text is in the address and the error
		pages = append(pages, "cameras/"+url.PathEscape(texts[i]), url.PathEscape(texts[i+1]))
	}
	for _, where := range pages {
		p.open(where)
		p.drawn()
		p.breathe()
		if strings.HasPrefix(where, "cameras/cam") {
			p.hostileEvents(where)
		}
		if seen := w.take(); len(seen) > 0 {
			t.Errorf("page %.80s: %q", where, seen)
		}
		if ran := p.eval("window.__ran"); ran != "undefined" {
			t.Errorf("page %.80s ran a text", where)
		}
	}
	t.Logf("%d pages", len(pages))
	if text := p.eval("document.title"); text == "" {
		t.Error("the last page has no title")
	}
	// What is watched for is seen when it happens.
	p.script(`(() => { const e = document.createElement('div'); e.innerHTML = '<img src="x" onerror="alert(1)">'; document.body.append(e);
		const s = document.createElement('script'); s.textContent = 'alert(2)'; document.body.append(s); setTimeout(() => alert('control'), 0); })()`)
	var seen []string
	s.until("the control shows", 10*time.Second, func() error {
		seen = append(seen, w.take()...)
		all := strings.Join(seen, "\n")
		if !strings.Contains(all, "dialog: control") || !strings.Contains(all, "POLICY-VIOLATION") || !strings.Contains(all, "policy issue") {
			return fmt.Errorf("seen %q", seen)
		}
		return nil
	})
	if strings.Contains(strings.Join(seen, "\n"), "dialog: 1") || strings.Contains(strings.Join(seen, "\n"), "dialog: 2") {
		t.Error("the policy lets inline script run")
	}
}
