package fragments

// The tuning of pace, in seconds.
const (
	paceBucket = 0.2  // of several arrivals within it the promptest counts
	paceWindow = 64   // buckets looked back on, about 13 s
	paceEnough = 1.0  // of arrivals, before a rate is believed
	paceSure   = 4.0  // of arrivals, before a rate near 1 is believed
	paceNear   = 0.03 // what counts as near 1 until then
	paceSlow   = 0.3  // rates outside are no rates: a burst, a stall
	paceFast   = 3.5
	paceLate   = 0.3 // lateness that lasts for paceLasts is another rate, not the network
	paceLasts  = 5.0
)

// pace maps a session's media time to server time. What arrives can be late and never
// early, so the truth lies along the lower edge of the arrivals: a line below all of
// them, as close as can be. It follows a clock that drifts and one that runs at another
// speed than it says. Both times are in seconds from an origin of the caller's.
type pace struct {
	pts  []point
	from float64 // arrival that began the newest bucket
	rate float64 // server seconds per media second
	off  float64 // server time = rate * media + off
	set  bool
}

type point struct{ m, a float64 }

// at returns the server time of a media time.
func (p *pace) at(m float64) float64 { return p.rate*m + p.off }

// late returns how far an arrival is behind the line.
func (p *pace) late(pt point) float64 { return pt.a - p.at(pt.m) }

// reset forgets the arrivals; the rate stays a guess for what comes.
func (p *pace) reset() { p.pts, p.set = p.pts[:0], false }

// add takes an arrival.
func (p *pace) add(m, a float64) {
	pt := point{m, a}
	if !p.set {
		if p.rate == 0 {
			p.rate = 1
		}
		p.set, p.off, p.from = true, a-p.rate*m, a
		p.pts = append(p.pts, pt)
		return
	}
	late := p.late(pt)
	if late < 0 {
		p.off += late
	}
	if n := len(p.pts); a-p.from < paceBucket && n > 0 {
		if late < p.late(p.pts[n-1]) {
			p.pts[n-1] = pt
		}
		return
	}
	p.from = a
	if len(p.pts) == paceWindow {
		copy(p.pts, p.pts[1:])
		p.pts = p.pts[:paceWindow-1]
	}
	p.pts = append(p.pts, pt)
}

// fit draws the line anew.
func (p *pace) fit() {
	p.line()
	if cut := p.stale(); cut > 0 {
		p.pts = p.pts[:copy(p.pts, p.pts[cut:])]
		p.line()
	}
}

func (p *pace) line() {
	n := len(p.pts)
	if n == 0 {
		return
	}
	span := p.pts[n-1].a - p.pts[0].a
	if rate, ok := p.edge(); ok && n >= 4 && span >= paceEnough {
		p.rate = rate
		if d := rate - 1; span < paceSure && d < paceNear && d > -paceNear {
			p.rate = 1
		}
	}
	p.off = p.pts[0].a - p.rate*p.pts[0].m
	for _, pt := range p.pts {
		p.off = min(p.off, pt.a-p.rate*pt.m)
	}
}

// edge returns the slope of the edge of the lower convex hull over the mean media time:
// of all lines below the arrivals, the one nearest to them.
func (p *pace) edge() (float64, bool) {
	var hull [paceWindow]point
	n, mean := 0, 0.0
	for _, pt := range p.pts {
		mean += pt.m
		for n > 0 && pt.m <= hull[n-1].m {
			n-- // media time stood still: the later arrival says nothing new
		}
		for n > 1 && cross(hull[n-2], hull[n-1], pt) <= 0 {
			n--
		}
		hull[n] = pt
		n++
	}
	mean /= float64(len(p.pts))
	for i := 1; i < n; i++ {
		if hull[i].m < mean && i < n-1 {
			continue
		}
		rate := (hull[i].a - hull[i-1].a) / (hull[i].m - hull[i-1].m)
		if rate >= paceSlow && rate <= paceFast {
			return rate, true
		}
	}
	return 0, false
}

func cross(a, b, c point) float64 { return (b.m-a.m)*(c.a-a.a) - (b.a-a.a)*(c.m-a.m) }

// stale returns how many of the oldest arrivals belong to another rate: everything before
// the latest one, when for a long while all were late.
func (p *pace) stale() int {
	since, worst := -1, 0
	for i, pt := range p.pts {
		if p.late(pt) < paceLate {
			since = -1
			continue
		}
		if since < 0 {
			since, worst = i, i
		}
		if p.late(pt) > p.late(p.pts[worst]) {
			worst = i
		}
		if pt.a-p.pts[since].a >= paceLasts {
			last := len(p.pts) - 1
			for last > 0 && p.pts[len(p.pts)-1].a-p.pts[last].a < paceLasts/2 {
				last--
			}
			return min(worst, last)
		}
	}
	return 0
}
