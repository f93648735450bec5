package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// contentPolicy lets the console load nothing but its own files, play what it put
// together itself, and be framed by nobody.
const contentPolicy = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// asset is one file of the console, compressed once.
type asset struct {
	kind    string
	etag    string
	plain   []byte
	gzipped []byte // nil: not worth it
}

// assets are the console's files by URL path.
type assets map[string]*asset

func loadAssets(files fs.FS) (assets, error) {
	out := assets{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		a := &asset{kind: contentType(name), plain: text, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
		if a.gzipped, err = compress(text); err != nil {
			return err
		}
		out["/"+name] = a
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load console files: %w", err)
	}
	if index, ok := out["/index.html"]; ok {
		out["/"] = index
	}
	return out, nil
}

func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".webmanifest":
		return "application/manifest+json"
	default:
		if t := mime.TypeByExtension(ext); t != "" {
			return t
		}
	}
	return "application/octet-stream"
}

func compress(text []byte) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(text); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if b.Len() >= len(text) {
		return nil, nil
	}
	return b.Bytes(), nil
}

// serve answers with the file at the request's path; pages of the console that
// exist only in the browser get its one document. It reports whether it answered.
func (as assets) serve(w http.ResponseWriter, r *http.Request) bool {
	a, ok := as[r.URL.Path]
	if !ok {
		if path.Ext(r.URL.Path) != "" || !strings.Contains(r.Header.Get("Accept"), "text/html") {
			return false
		}
		if a, ok = as["/"]; !ok {
			return false
		}
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache")
	h.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	body := a.plain
	if a.gzipped != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.gzipped
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the browser left: nothing to do about it
	}
	return true
}
