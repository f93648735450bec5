// Package console holds the files of the web console: plain ES modules that a
// browser runs as they lie here, without a build step.
//
// The files talk to the native API of package web and to nothing else; README.md
// says how they are laid out and how the libraries in vendor are renewed.
package console

import (
	"embed"
	"io/fs"
)

// Only what a browser asks for is embedded: no tests, scripts or notes.
//
//go:embed index.html styles.css icon.svg manifest.webmanifest js vendor
var files embed.FS

// Files returns the console as a file system whose root holds index.html. It is
// read-only and may be used at once.
func Files() fs.FS { return files }
