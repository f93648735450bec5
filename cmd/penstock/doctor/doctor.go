// Package doctor looks at the machine that Penstock is to run on, or runs on, and says of
// each thing that matters whether it will do, and what to do when it will not.
//
// It changes nothing that lasts: the files and objects that it writes to measure are
// removed again. What a check needs comes in through Config; what other packages know
// how to check (UDP buffers, the S3 store) is asked of them by its maker.
package doctor

import (
	"context"
	"net/http"
	"os/exec"
	"time"

	"penstock/internal/host"
)

// Status is how a check came out.
type Status string

// The statuses. Only Fail keeps Penstock from doing its work.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Row is what one check found.
type Row struct {
	Check  string `json:"check"` // its name, which is stable
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Try    string `json:"try,omitempty"` // what to do next; not empty unless OK
}

// Machine tells what only its system knows. What it cannot know is an error.
type Machine interface {
	Kernel() string                          // "Linux 6.1.0"; never empty
	FileSystem(dir string) (string, error)   // type of the file system: "ext4"
	OpenFiles() (limit uint64, err error)    // how many files this process may have open
	Memory() (total, limit int64, err error) // of the machine, and of this process's group; 0: none
	// Synced tells whether something keeps the clock right, and how far off it may be.
	Synced() (synced bool, off time.Duration, err error)
}

// Port is an address that the server listens on.
type Port struct {
	Setting string // "http"
	Address string // HOST:PORT
}

// Certificate is a certificate with its key, and the name that people use for it.
type Certificate struct {
	Setting   string // "tls.cert"
	Cert, Key string // PEM files
	Host      string // that it should be for; "": not known
	SelfMade  bool   // the server makes it when it is missing
}

// Config says what to look at. Data, FS, Clock and Machine are required.
type Config struct {
	Version  string // of this program
	Data     string // data directory
	Settings error  // what is wrong with the settings
	Cameras  int    // to be expected
	Budget   int64  // storage.stall_budget
	Owed     int64  // space kept for the metadata
	S3       string // name of the bucket; "": local disk

	Ports        []Port
	Server       string // base URL of a server on this machine
	Certificates []Certificate

	FS      host.FS
	Clock   host.Clock
	Machine Machine
	HTTP    *http.Client // asks Server, whatever its certificate is
	Getenv  func(string) string

	// Measure is how long syncs are measured: 1 s.
	Measure time.Duration
	// Store tries an S3 store out, and says in words what it can do; nil: there is none.
	Store func(context.Context) (string, error)
	// UDP takes ports as the server does, and returns what is wrong with their buffers;
	// nil: no RTP over UDP.
	UDP func(context.Context) (string, error)
	// LookPath finds a program; exec.LookPath.
	LookPath func(string) (string, error)
}

// examination is one run.
type examination struct {
	Config
	tell    func(Row)
	running string // version of the server on this machine; "": there is none
	failed  int
}

// Run makes all checks in order, telling each as it is made, and returns how many failed.
func Run(ctx context.Context, c Config, tell func(Row)) int {
	if c.Measure == 0 {
		c.Measure = time.Second
	}
	if c.LookPath == nil {
		c.LookPath = exec.LookPath
	}
	e := &examination{Config: c, tell: tell}
	for _, check := range []func(context.Context){
		e.machine, e.settings, e.server, e.directory, e.masterKey, e.files, e.memory, e.buffers, e.clock,
		e.ports, e.certificates, e.ffmpeg, e.store,
	} {
		if ctx.Err() != nil {
			break
		}
		check(ctx)
	}
	return e.failed
}

func (e *examination) ok(check, detail string) { e.tell(Row{check, OK, detail, ""}) }

func (e *examination) warn(check, detail, try string) { e.tell(Row{check, Warn, detail, try}) }

func (e *examination) fail(check, detail, try string) {
	e.failed++
	e.tell(Row{check, Fail, detail, try})
}
