package console

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The budgets of the console, in gzipped bytes, each file by itself as it is served.
const (
	firstBudget = 60_000
	allBudget   = 250_000
	lineBudget  = 300 // of a module of ours
)

// first is what a browser asks for to show the start page to someone who signs in by
// link, and then the wall: everything that these import, too.
var first = []string{"js/app.js", "js/pages/start.js", "js/pages/cameras.js"}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(Files(), name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func everyFile(t *testing.T) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(Files(), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func gzipped(t *testing.T, name string) int {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write([]byte(read(t, name))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

var (
	staticImport  = regexp.MustCompile(`(?:\bfrom|\bimport) ?['"]([^'"\s]+)['"]`)
	dynamicImport = regexp.MustCompile(`\bimport\(['"]([^'"]+)['"]\)`)
)

// modules returns name and all that it imports before it runs.
func modules(t *testing.T, seen []string, name string) []string {
	t.Helper()
	if slices.Contains(seen, name) {
		return seen
	}
	seen = append(seen, name)
	for _, m := range staticImport.FindAllStringSubmatch(read(t, name), -1) {
		seen = modules(t, seen, path.Join(path.Dir(name), m[1]))
	}
	return seen
}

func TestBudgets(t *testing.T) {
	needed := []string{"index.html", "styles.css", "icon.svg", "js/theme.js"}
	for _, name := range first {
		needed = modules(t, needed, name)
	}
	sum := 0
	for _, name := range needed {
		sum += gzipped(t, name)
	}
	t.Logf("first load: %d files, %d bytes gzipped", len(needed), sum)
	if sum > firstBudget {
		t.Errorf("first load is %d bytes gzipped, more than %d: fetch later what the first page does not show", sum, firstBudget)
	}
	sum = 0
	for _, name := range everyFile(t) {
		sum += gzipped(t, name)
	}
	t.Logf("everything: %d bytes gzipped", sum)
	if sum > allBudget {
		t.Errorf("the console is %d bytes gzipped, more than %d", sum, allBudget)
	}
}

func TestImportsAreRelativeAndThere(t *testing.T) {
	for _, name := range everyFile(t) {
		if path.Ext(name) != ".js" {
			continue
		}
		text := read(t, name)
		found := append(staticImport.FindAllStringSubmatch(text, -1), dynamicImport.FindAllStringSubmatch(text, -1)...)
		for _, m := range found {
			if !strings.HasPrefix(m[1], "./") && !strings.HasPrefix(m[1], "../") {
				t.Errorf("%s imports %q: a bare name needs an import map, which is an inline script", name, m[1])
				continue
			}
			read(t, path.Join(path.Dir(name), m[1]))
		}
	}
}

// TestPreloads holds index.html to the modules that every visit needs, so that they
// are fetched together and not one behind the other.
func TestPreloads(t *testing.T) {
	var hinted []string
	for _, m := range regexp.MustCompile(`<link rel="modulepreload" href="([^"]+)">`).FindAllStringSubmatch(read(t, "index.html"), -1) {
		hinted = append(hinted, m[1])
	}
	var needed []string
	for _, name := range first {
		needed = modules(t, needed, name)
	}
	for _, name := range needed {
		if name != "js/app.js" && !slices.Contains(hinted, name) {
			t.Errorf(`index.html lacks <link rel="modulepreload" href="%s">`, name)
		}
	}
	for _, name := range hinted {
		if !slices.Contains(needed, name) {
			t.Errorf("index.html preloads %s, which the first pages do not import", name)
		}
	}
}

// TestContentPolicy finds what `default-src 'self'` would refuse.
func TestContentPolicy(t *testing.T) {
	page := read(t, "index.html")
	for what, pattern := range map[string]string{
		"inline script":   `<script(?:\s[^>]*)?>[^<]`,
		"inline style":    `<style|\sstyle=`,
		"event attribute": `\son[a-z]+=`,
	} {
		if hit := regexp.MustCompile(pattern).FindString(page); hit != "" {
			t.Errorf("index.html has an %s: %q", what, hit)
		}
	}
	for _, name := range everyFile(t) {
		if path.Ext(name) != ".js" {
			continue
		}
		text := read(t, name)
		for what, pattern := range map[string]string{
			"eval":            `\beval\(|new Function\(`,
			"markup as text":  `insertAdjacentHTML|document\.write\(|outerHTML`,
			"style attribute": `\sstyle="|setAttribute\(['"]style`,
			"string handler":  `\son[a-z]+="`,
		} {
			if hit := regexp.MustCompile(pattern).FindString(text); hit != "" {
				t.Errorf("%s has %s: %q", name, what, hit)
			}
		}
		// Preact keeps its own door for markup; nothing of ours goes through it.
		if !strings.HasPrefix(name, "vendor/") && regexp.MustCompile(`innerHTML|dangerouslySetInnerHTML`).MatchString(text) {
			t.Errorf("%s sets markup: what the server sends is inserted as text", name)
		}
	}
}

// TestNoOutsideAddress finds addresses of other servers. XML namespaces are names,
// not places.
func TestNoOutsideAddress(t *testing.T) {
	address := regexp.MustCompile(`(?:https?|wss?)://[^\s"'\x60)<>]+`)
	for _, name := range everyFile(t) {
		if strings.HasSuffix(name, ".LICENSE.txt") {
			continue
		}
		for _, hit := range address.FindAllString(read(t, name), -1) {
			if !strings.HasPrefix(hit, "http://www.w3.org/") {
				t.Errorf("%s names %s", name, hit)
			}
		}
	}
}

func TestModulesStaySmall(t *testing.T) {
	for _, name := range everyFile(t) {
		if strings.HasPrefix(name, "js/") {
			if n := strings.Count(read(t, name), "\n"); n > lineBudget {
				t.Errorf("%s has %d lines, more than %d", name, n, lineBudget)
			}
		}
	}
}

// TestContrast holds both themes to WCAG 2.2 AA: 4.5 to 1 for text, 3 to 1 for what is drawn.
func TestContrast(t *testing.T) {
	css := read(t, "styles.css")
	for _, theme := range []string{":root", "[data-theme=light]"} {
		_, rule, ok := strings.Cut(css, theme+"{")
		if !ok {
			t.Fatalf("styles.css has no rule %s", theme)
		}
		rule, _, _ = strings.Cut(rule, "}")
		light := map[string]float64{}
		for _, m := range regexp.MustCompile(`--(\w+):#([0-9a-f]{3}(?:[0-9a-f]{3})?)(?:;|$)`).FindAllStringSubmatch(rule, -1) {
			light[m[1]] = luminance(t, m[2])
		}
		for _, pair := range []struct {
			front, behind string
			least         float64
		}{
			{"text", "bg panel panel2", 4.5}, {"mut", "bg panel panel2", 4.5}, {"accText", "bg panel panel2", 4.5},
			{"ok", "panel panel2", 3}, {"warn", "panel panel2", 3}, {"bad", "panel panel2", 4.5}, {"ink", "acc", 4.5}, {"bg", "bad", 4.5},
			{"acc", "bg panel panel2", 3}, {"rec", "panel2", 2}, {"bad", "gap", 3},
			{"p1", "panel panel2", 3}, {"p2", "panel panel2", 3}, {"p3", "panel panel2", 3}, {"bg", "p1 p2 p3", 4.5}, {"text", "rec", 3}, // events, their words, and what keeps
		} {
			for behind := range strings.FieldsSeq(pair.behind) {
				a, okA := light[pair.front]
				b, okB := light[behind]
				if !okA || !okB {
					t.Fatalf("%s lacks --%s or --%s", theme, pair.front, behind)
				}
				if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < pair.least {
					t.Errorf("%s: --%s on --%s has a contrast of %.2f, want %.1f", theme, pair.front, behind, got, pair.least)
				}
			}
		}
	}
}

// luminance is that of WCAG 2.2, 0 to 1, of hexadecimal digits.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		v := float64(n) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}
