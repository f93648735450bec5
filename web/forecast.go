package web

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"penstock/internal/quantity"
	"penstock/streams"
)

const (
	// forecastFar is how far ahead anybody wants to know.
	forecastFar = 365 * quantity.Day
	// forecastFresh is how long a forecast is shown before it is made again.
	forecastFresh = 2 * time.Second
)

// daily is what a bitrate in bits/s makes in a day, in bytes.
func daily(bitrate float64) int64 { return int64(bitrate / 8 * quantity.Day.Seconds()) }

// growth is how a stream fills the disk.
type growth struct {
	rate   float64       // bytes/s that come
	age    time.Duration // how long they stay
	limit  int64         // and how many of them; 0: no bound
	stored int64         // bytes that are there and go with time
	kept   int64         // and those that stay, because events keep them
	oldest time.Duration // how old the stored ones are
	newest time.Duration
}

// turn is an instant, in seconds from now, from which on the bytes grow faster or slower.
type turn struct {
	at    float64
	value float64 // bytes that the stream holds then
	slope float64 // bytes/s from then on
}

// steady is what the stream holds once what comes and what goes are equal.
func (g growth) steady() float64 {
	full := g.rate * g.age.Seconds()
	if g.limit > 0 {
		full = min(full, float64(g.limit))
	}
	return full + float64(g.kept)
}

// turns follows what the stream holds: what is stored goes as it gets too old, spread
// evenly over its age, what comes stays until it is too old itself, and all of it is never
// more than the limit. The last turn has slope 0.
func (g growth) turns() []turn {
	age, oldest, newest := g.age.Seconds(), g.oldest.Seconds(), max(0, g.newest.Seconds())
	oldest = min(max(oldest, newest), age)
	newest = min(newest, oldest)
	going := float64(g.stored)
	// What is stored begins to go, and has gone.
	first, last := age-oldest, age-newest
	at := []float64{0, first, last, age}
	slices.Sort(at)
	value := func(t float64) float64 {
		left := going
		switch {
		case t >= last:
			left = 0
		case t > first:
			left = going * (last - t) / (last - first)
		}
		return left + g.rate*min(t, age)
	}
	var list []turn
	for i, t := range at {
		if i > 0 && t == at[i-1] {
			continue
		}
		slope := 0.0
		if next := slices.IndexFunc(at, func(u float64) bool { return u > t }); next >= 0 {
			// Where all that is stored goes at one instant the value falls: a turn there
			// takes the new value.
			slope = (value(at[next]) - value(t)) / (at[next] - t)
		}
		list = append(list, turn{t, value(t), slope})
	}
	return g.bound(list)
}

// bound cuts a course off at the limit.
func (g growth) bound(list []turn) []turn {
	limit := float64(g.limit)
	if limit <= 0 {
		return list
	}
	var out []turn
	for i, t := range list {
		end := t.at
		if i+1 < len(list) {
			end = list[i+1].at
		}
		cross := 0.0 // when the course meets the limit on its way to the next turn
		if t.slope != 0 {
			cross = t.at + (limit-t.value)/t.slope
		}
		meets := t.slope != 0 && cross > t.at && cross < end
		switch {
		case t.value < limit || t.value == limit && t.slope <= 0:
			out = append(out, t)
			if meets {
				out = append(out, turn{cross, limit, 0})
			}
		default:
			out = append(out, turn{t.at, limit, 0})
			if meets {
				out = append(out, turn{cross, limit, t.slope})
			}
		}
	}
	return out
}

// fullAfter is when free bytes are used up by what the streams come to hold; false: never,
// or not within forecastFar.
func fullAfter(list []growth, free int64) (time.Duration, bool) {
	type bend struct{ at, slope float64 }
	var bends []bend
	room := float64(free)
	for _, g := range list {
		turns, slope := g.turns(), 0.0
		room += float64(g.stored) - turns[0].value // what is stored too much already goes at once
		for _, t := range turns {
			bends = append(bends, bend{t.at, t.slope - slope})
			slope = t.slope
		}
	}
	slices.SortFunc(bends, func(a, b bend) int { return cmp.Compare(a.at, b.at) })
	used, slope, at := 0.0, 0.0, 0.0
	for _, b := range append(bends, bend{forecastFar.Seconds(), 0}) {
		if b.at > at {
			if grown := used + slope*(b.at-at); grown > room {
				at += (room - used) / slope
				break
			}
			used, at = used+slope*(b.at-at), b.at
		}
		slope += b.slope
	}
	if at >= forecastFar.Seconds() {
		return 0, false
	}
	return time.Duration(at * float64(time.Second)), at < forecastFar.Seconds()
}

// forecast is what becomes of the disk.
type forecast struct {
	daily, steady, kept int64
	full                *time.Time
}

// foresight is the newest forecast. The zero value has none.
type foresight struct {
	mu   sync.Mutex // held while one is made
	at   time.Time
	last forecast
}

// foresee is the newest forecast, made anew when it is not fresh.
func (s *Server) foresee(ctx context.Context, free int64) forecast {
	s.future.mu.Lock()
	defer s.future.mu.Unlock()
	now := s.c.Clock.Now()
	if age := now.Sub(s.future.at); age < 0 || age >= forecastFresh {
		s.future.last = s.makeForecast(ctx, free)
		s.future.at = s.c.Clock.Now() // those who waited meanwhile share it
	}
	return s.future.last
}

// makeForecast asks how each stream grows. It waits for their logs no longer than storedWait.
func (s *Server) makeForecast(ctx context.Context, free int64) forecast {
	ctx, cancel := context.WithTimeout(ctx, storedWait)
	defer cancel()
	now := s.c.Clock.Now()
	var f forecast
	var list []growth
	for _, st := range s.allStreams() {
		g := s.growth(ctx, st, now)
		f.daily += daily(g.rate * 8)
		f.steady += int64(g.steady())
		f.kept += g.kept
		list = append(list, g)
	}
	if s.c.Remote {
		return f // the store of media is not this disk
	}
	if after, ok := fullAfter(list, free); ok {
		f.full = instant(now.Add(after))
	}
	return f
}

func (s *Server) growth(ctx context.Context, st streams.Stream, now time.Time) growth {
	held := s.holds(ctx, st)
	g := growth{rate: s.c.Hub.State(st.ID).Bitrate / 8, age: st.Retention, limit: st.RetentionBytes, stored: held.total.Bytes - held.total.Kept, kept: held.total.Kept}
	if !held.first.IsZero() {
		g.oldest = now.Sub(held.first)
	}
	if !held.last.IsZero() {
		g.newest = now.Sub(held.last)
	}
	return g
}
