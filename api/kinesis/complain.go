package kinesis

import (
	"log/slog"
	"sync"
	"time"

	"penstock/internal/fault"
)

// complainEvery is how often one cause is logged: a full disk under busy producers is one
// line a minute, with how many requests met it.
const complainEvery = time.Minute

// complaints logs failures by cause. The zero value is ready. Its keys are operations of
// the model and kinds of faults, which bounds them.
type complaints struct {
	mu   sync.Mutex
	said map[complaintKey]*complaint
}

type complaintKey struct {
	operation string
	kind      fault.Kind
}

type complaint struct {
	at     time.Time // when it was last logged
	silent int       // how many came since
}

// log writes one line for err unless its cause had one lately; the next line counts those
// that had none.
func (c *complaints) log(l *slog.Logger, now time.Time, operation, request string, err error) {
	key := complaintKey{operation, fault.KindOf(err)}
	c.mu.Lock()
	if c.said == nil {
		c.said = map[complaintKey]*complaint{}
	}
	k := c.said[key]
	if k != nil && now.Sub(k.at) < complainEvery && now.After(k.at.Add(-complainEvery)) {
		k.silent++
		c.mu.Unlock()
		return
	}
	others := 0
	if k != nil {
		others = k.silent
	}
	c.said[key] = &complaint{at: now}
	c.mu.Unlock()
	l.Error("request", "operation", operation, "err", err, "request_id", request, "others", others)
}
