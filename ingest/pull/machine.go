package pull

import (
	"time"

	"penstock/ingest/camera"
)

// The rhythm of calling a camera again.
const (
	// firstWait and longestWait bound the pauses between attempts at a camera that
	// answers, but not with media: 1, 2, 4, 8, 15, 15 ... s, each with jitter.
	firstWait   = time.Second
	longestWait = 15 * time.Second
	// deniedWait follows a refused password: cameras lock accounts after some tries.
	deniedWait = 30 * time.Second
	// knockEvery is how often a camera that does not even accept a connection is
	// tried: together with a handshake that is below the 3 s in which it must be back.
	knockEvery = 1250 * time.Millisecond
	// settled is how long media must flow for the next failure to start from the first
	// pause again: a camera that drops every 10 s is called back at once, one that
	// drops every second is not called a hundred times a minute.
	settled = 4 * time.Second
	// freshly and freshWait: a camera that was well a moment ago is most likely starting
	// again, and is called at least this often until it has been away that long.
	freshly   = 2 * time.Minute
	freshWait = 2 * time.Second
	// jitter is the share of a pause that chance takes off or adds.
	jitter = 0.2
)

// EventKind says what happened to a camera.
type EventKind uint8

// The events.
const (
	EventStart    EventKind = iota + 1 // the stream appeared, or its source changed
	EventDue                           // the time that the last action named has come
	EventAnswered                      // a knock: the port accepts connections
	EventSilent                        // a knock: it does not
	EventMedia                         // the first sample came
	EventTrouble                       // an attempt failed, or a conversation ended
	EventStop                          // the stream was deleted, or the server stops
)

// Event is one thing that happened, at At. Trouble is set with EventTrouble.
type Event struct {
	Kind    EventKind
	At      time.Time
	Trouble *camera.Trouble
}

// ActionKind says what to do next.
type ActionKind uint8

// The actions.
const (
	ActionNone  ActionKind = iota
	ActionCall             // open a conversation now
	ActionKnock            // try whether the port accepts connections, now
	ActionWait             // do nothing until Until, then send EventDue
	ActionEnd              // nothing more, ever
)

// String names the action for transcripts and logs.
func (k ActionKind) String() string {
	switch k {
	case ActionCall:
		return "call"
	case ActionKnock:
		return "knock"
	case ActionWait:
		return "wait"
	case ActionEnd:
		return "end"
	}
	return "none"
}

// Action is what to do next, and what to tell about the camera.
type Action struct {
	Kind   ActionKind
	Until  time.Time        // ActionWait
	Prefer camera.Transport // ActionCall under Auto: what worked last; "" is TCP
}

// Machine decides when one camera is called. It does no I/O and reads no clock: it
// turns events with their times into actions. It is not for sharing.
// The zero value is a camera that has not been started, with jitter of zero.
type Machine struct {
	// Chance returns a number in [0,1) and spreads the pauses; nil: no jitter.
	Chance func() float64

	attempts int       // in a row without settled media
	mediaAt  time.Time // first sample of this conversation; zero: none yet
	playing  bool
	lostAt   time.Time // when settled media ended; zero: there was none yet
	knocking bool      // a camera that accepts no connection is being knocked at
	ended    bool
	prefer   camera.Transport
}

// Attempts is how many calls in a row brought no settled media.
func (m *Machine) Attempts() int { return m.attempts }

// Next takes an event and returns what to do.
func (m *Machine) Next(e Event) Action {
	if m.ended {
		return Action{Kind: ActionEnd}
	}
	switch e.Kind {
	case EventStart:
		chance := m.Chance
		*m = Machine{Chance: chance}
		return m.call()
	case EventDue:
		if m.knocking {
			return Action{Kind: ActionKnock}
		}
		return m.call()
	case EventAnswered:
		// It is back. What it failed with before it went away says nothing now.
		m.knocking, m.attempts = false, 1
		return m.call()
	case EventSilent:
		return Action{Kind: ActionWait, Until: e.At.Add(m.spread(knockEvery))}
	case EventMedia:
		m.mediaAt = e.At
		return Action{}
	case EventTrouble:
		return m.trouble(e)
	case EventStop:
		m.ended = true
		return Action{Kind: ActionEnd}
	}
	return Action{}
}

func (m *Machine) call() Action {
	m.mediaAt, m.knocking = time.Time{}, false
	return Action{Kind: ActionCall, Prefer: m.prefer}
}

func (m *Machine) trouble(e Event) Action {
	flowed := !m.mediaAt.IsZero()
	if flowed && e.At.Sub(m.mediaAt) >= settled {
		m.attempts, m.lostAt = 0, e.At
	}
	m.attempts++
	m.learnTransport(e.Trouble, flowed)
	switch e.Trouble.Cause {
	case camera.WrongPassword, camera.NeedsPassword, camera.Forbidden:
		return Action{Kind: ActionWait, Until: e.At.Add(m.spread(deniedWait))}
	case camera.Refused, camera.Unreachable, camera.NoSuchHost:
		if m.attempts == 1 {
			return m.call()
		}
		m.knocking = true
		return Action{Kind: ActionWait, Until: e.At.Add(m.spread(min(m.pause(), knockEvery)))}
	}
	if m.attempts == 1 {
		return m.call()
	}
	pause := m.pause()
	switch {
	case e.Trouble.Cause == camera.NoAnswer:
		pause = firstWait // the call itself waits long for an answer
	case flowed:
		pause = firstWait // short pieces are better than none
	case !m.lostAt.IsZero() && e.At.Sub(m.lostAt) < freshly:
		pause = min(pause, freshWait)
	}
	return Action{Kind: ActionWait, Until: e.At.Add(m.spread(pause))}
}

// learnTransport makes Auto try the other way when one brings no packets: a firewall
// between drops UDP, and some firmware accepts TCP and then sends nothing.
func (m *Machine) learnTransport(t *camera.Trouble, flowed bool) {
	switch {
	case flowed:
	case t.Cause == camera.NoTransport:
		m.prefer = ""
	case t.Cause == camera.NoPackets && m.prefer == camera.UDP:
		m.prefer = camera.TCP
	case t.Cause == camera.NoPackets:
		m.prefer = camera.UDP
	}
}

// Worked notes the transport on which media came, for the next call.
func (m *Machine) Worked(t camera.Transport) { m.prefer = t }

func (m *Machine) pause() time.Duration {
	d := firstWait
	for i := 2; i < m.attempts && d < longestWait; i++ {
		d *= 2
	}
	return min(d, longestWait)
}

func (m *Machine) spread(d time.Duration) time.Duration {
	if m.Chance == nil {
		return d
	}
	return d + time.Duration(float64(d)*jitter*(2*m.Chance()-1))
}
