package events

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"penstock/fragments"
	"penstock/internal/fault"
	"penstock/internal/quantity"
)

// Add adds an event; it is durable when Add returns, and the video that it keeps is kept
// from before that. made is false when the same owner had added an event of this ID and
// kind already: then that one is returned, as it now is.
//
// fault.Invalid names what is wrong. fault.InUse: another event has the ID. fault.Expired:
// the video of that time has expired. fault.Throttled: the stream has StreamMax events, or
// KeepingMax that keep video. fault.NotFound: the stream was deleted.
func (j *Journal) Add(ctx context.Context, n New) (e Event, made bool, err error) {
	if e, err = n.Check(j.config.Clock.Now()); err != nil {
		return Event{}, false, err
	}
	s := j.shelf(e.Stream)
	if s == nil {
		return Event{}, false, streamGone(e.Stream)
	}
	if e.ID != "" {
		s.changing.Lock()
		defer s.changing.Unlock()
		if old, err := j.Get(ctx, e.Stream, e.ID); !fault.Is(err, fault.NotFound) {
			return again(e, old, err)
		}
	} else if e.ID, err = j.randomID(); err != nil {
		return Event{}, false, err
	}
	if err := j.beginKeep(ctx, &e); err != nil {
		return Event{}, false, err
	}
	if err := j.admit(s, e); err != nil {
		return Event{}, false, err
	}
	inserted, row := false, e // a store that stalled may come to it when Add has returned
	done, err := j.write(ctx, func(tx *sql.Tx) (err error) {
		inserted, err = row.insert(tx)
		return err
	})
	switch {
	case !done:
		j.doubt(s) // what memory keeps stays kept until the store has said
	case err != nil, !inserted:
		j.hold(s, e.ID, fragments.Keep{}, false)
	}
	j.settle(s, err == nil && inserted)
	if err == nil && !inserted {
		err = taken(e.ID)
	}
	if err != nil {
		return Event{}, false, classify(err, "add event", e.ID)
	}
	j.watches.tell(Change{Event: e})
	return e, true, nil
}

func streamGone(stream string) error {
	return fault.New(fault.NotFound, "find stream", stream, "it was deleted")
}

func taken(id string) error {
	return fault.New(fault.InUse, "add event", id, "another event of this stream has the id").WithHint("choose another id, or leave it out")
}

// again answers a second Add of an ID.
func again(e, old Event, err error) (Event, bool, error) {
	switch {
	case err != nil:
		return Event{}, false, err
	case old.Owner != e.Owner || old.Kind != e.Kind:
		return Event{}, false, taken(e.ID)
	}
	return old, false, nil
}

// admit counts an event, and has memory keep its video, before the store knows it.
func (j *Journal) admit(s *shelf, e Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, gone := j.gone[e.Stream]; gone {
		return streamGone(e.Stream)
	}
	if s.count+s.adding >= j.config.Most {
		return fault.New(fault.Throttled, "add event", e.ID, fmt.Sprintf("the stream has %d events", s.count+s.adding)).
			WithHint("delete some, or keep less: an event whose video has expired goes by itself").WithAfter(time.Minute)
	}
	if !e.KeptFrom.IsZero() {
		if err := j.room(s, e.ID); err != nil {
			return err
		}
		s.hold(e.ID, e.kept(), true)
	}
	s.adding++
	s.change++
	return nil
}

// room refuses one more event that keeps video; it is under Journal.mu.
func (j *Journal) room(s *shelf, id string) error {
	if len(s.keeps) < j.config.Keeping {
		return nil
	}
	return fault.New(fault.Throttled, "keep video of event", id, fmt.Sprintf("%d events of the stream keep video already", len(s.keeps))).
		WithHint("delete some, have them keep nothing, or give the stream a longer retention").WithAfter(time.Minute)
}

// settle ends what admit began.
func (j *Journal) settle(s *shelf, added bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s.adding--
	s.change++
	if added {
		s.count++
	}
}

// beginKeep sets what video the event keeps from now on: nothing that has expired, so that
// nothing comes back. An event whose video has all expired is refused.
func (j *Journal) beginKeep(ctx context.Context, e *Event) error {
	horizon := j.config.Horizon(ctx, e.Stream)
	if !e.Open() && e.End.Before(horizon) {
		return fault.New(fault.Expired, "add event", e.ID, "the video of that time has expired; what there is begins at "+horizon.UTC().Format(time.RFC3339)).
			WithHint("give the stream a longer retention for the next time")
	}
	e.KeptFrom, e.KeptUntil = time.Time{}, time.Time{}
	if e.Keep == 0 {
		return nil
	}
	e.KeptFrom = e.Start.Add(-e.Before)
	if e.KeptFrom.Before(horizon) {
		e.KeptFrom = horizon.UTC().Truncate(time.Microsecond)
	}
	e.KeptUntil = j.until(*e)
	return nil
}

// until is when the video of an event is kept no longer: its term begins at its end, or
// now where that lies behind.
func (j *Journal) until(e Event) time.Time {
	if e.Keep == 0 || e.Keep == Forever || e.Open() {
		return time.Time{}
	}
	// The time to expire by stays behind for hours after the machine slept: it will catch up.
	from := j.config.Time()
	for _, t := range []time.Time{j.config.Clock.Now(), e.End} {
		if t.After(from) {
			from = t
		}
	}
	return from.Add(time.Duration(e.Keep)).UTC().Truncate(time.Microsecond)
}

// Change changes an event and returns it as it then is.
//
// fault.NotFound: there is none. fault.InUse: it is to end, and has ended already.
// fault.Expired: it is to keep video that has expired. Else as Add.
func (j *Journal) Change(ctx context.Context, stream, id string, p Patch) (Event, error) {
	s := j.shelf(stream)
	if s == nil {
		return Event{}, streamGone(stream)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	old, err := j.Get(ctx, stream, id)
	if err != nil {
		return Event{}, err
	}
	e, err := j.patched(ctx, old, p)
	if err != nil {
		return Event{}, err
	}
	return e, j.replace(ctx, s, old, e)
}

// patched is old with what the patch changes.
func (j *Journal) patched(ctx context.Context, e Event, p Patch) (Event, error) {
	var err error
	if p.Label != nil {
		if err := checkLabel(e.ID, *p.Label); err != nil {
			return e, err
		}
		e.Label = *p.Label
	}
	if p.Data != nil {
		if e.Data, err = checkData(e.ID, *p.Data); err != nil {
			return e, err
		}
	}
	if p.End != nil {
		if !e.Open() {
			return e, fault.New(fault.InUse, "end event", e.ID, "it ended at "+e.End.Format(time.RFC3339)+" already").
				WithHint("an event that nobody ends for " + quantity.Days(OpenMax) + " is ended by itself")
		}
		e.End = p.End.UTC().Truncate(time.Microsecond)
		if err := e.checkEnd(j.config.Clock.Now()); err != nil {
			return e, err
		}
		e.KeptUntil = j.until(e)
	}
	if p.Keep == nil {
		return e, nil
	}
	kept := e.keeps(j.config.Time())
	if e.Keep = *p.Keep; e.Keep == 0 {
		e.KeptFrom, e.KeptUntil = time.Time{}, time.Time{}
		return e, nil
	}
	if !kept {
		return e, j.beginKeep(ctx, &e)
	}
	e.KeptUntil = j.until(e)
	return e, nil
}

// replace puts e in the place of old. shelf.changing is held.
func (j *Journal) replace(ctx context.Context, s *shelf, old, e Event) error {
	now := j.config.Time()
	before, after := old.keeps(now), e.keeps(now)
	if after && !before {
		j.mu.Lock()
		err := j.room(s, e.ID)
		if err == nil {
			s.hold(e.ID, e.kept(), true)
		}
		j.mu.Unlock()
		if err != nil {
			return err
		}
	}
	updated := false
	done, err := j.write(ctx, func(tx *sql.Tx) (err error) {
		updated, err = e.update(tx)
		return err
	})
	switch {
	case !done:
		j.doubt(s)
	case err != nil:
		j.hold(s, old.ID, old.kept(), before)
	case !updated: // it expired, or its stream was deleted, meanwhile
		j.hold(s, old.ID, fragments.Keep{}, false)
		return notFound(e.ID)
	default:
		j.hold(s, e.ID, e.kept(), after)
		j.watches.tell(Change{Event: e})
	}
	return classify(err, "change event", e.ID)
}

// Delete deletes an event; the video that it kept goes when its stream's retention says,
// which may be at once.
func (j *Journal) Delete(ctx context.Context, stream, id string) error {
	s := j.shelf(stream)
	if s == nil {
		return streamGone(stream)
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	deleted := int64(0)
	done, err := j.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.Exec("DELETE FROM event WHERE stream = ? AND id = ?", stream, id)
		if err == nil {
			deleted, err = r.RowsAffected()
		}
		return err
	})
	if !done {
		j.doubt(s)
	}
	if err != nil {
		return classify(err, "delete event", id)
	}
	if deleted == 0 {
		return notFound(id)
	}
	j.drop(s, stream, id)
	return nil
}

// drop forgets an event that is deleted.
func (j *Journal) drop(s *shelf, stream, id string) {
	j.mu.Lock()
	s.count--
	s.hold(id, fragments.Keep{}, false)
	j.mu.Unlock()
	j.watches.tell(Change{Event: Event{Stream: stream, ID: id}, Gone: true})
}

// Get returns an event. fault.NotFound: there is none.
func (j *Journal) Get(ctx context.Context, stream, id string) (Event, error) {
	e, err := scan(j.config.Meta.Read().QueryRowContext(ctx, "SELECT "+columns+" FROM event WHERE stream = ? AND id = ?", stream, id))
	if errors.Is(err, sql.ErrNoRows) {
		return Event{}, notFound(id)
	}
	return e, classify(err, "read event", id)
}
