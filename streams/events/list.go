package events

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/internal/fault"
)

// List returns the events that overlap the window, oldest first unless the newest are asked
// for first, those that begin at one instant by their IDs. fault.Invalid: Kind or After is none.
func (j *Journal) List(ctx context.Context, q Query) (Page, error) {
	if q.Kind != "" {
		if err := CheckKind(q.Kind); err != nil {
			return Page{}, err
		}
	}
	from, err := parseCursor(q.After)
	if err != nil {
		return Page{}, err
	}
	if q.Limit <= 0 || q.Limit > ListMax {
		q.Limit = ListMax
	}
	// Short events and long ones apart: for the short the index need not be read from far
	// before the window on.
	list, err := j.part(ctx, q, 0, brief, from)
	if err != nil {
		return Page{}, classify(err, "list events of", q.Stream)
	}
	long, err := j.part(ctx, q, 1, LengthMax, from)
	if err != nil {
		return Page{}, classify(err, "list events of", q.Stream)
	}
	if len(long) > 0 {
		list = append(list, long...)
		slices.SortFunc(list, func(a, b Event) int {
			order := cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID))
			if q.Newest {
				return -order
			}
			return order
		})
	}
	if len(list) <= q.Limit {
		return Page{Events: list}, nil
	}
	list = list[:q.Limit]
	return Page{Events: list, Next: list[q.Limit-1].cursor()}, nil
}

// place is one in the order of the list: of an event, or before all that begin at an instant.
type place struct {
	at int64 // µs since 1970; -1: none
	id string
}

// part reads one more than the page of the events that last no longer than longest.
func (j *Journal) part(ctx context.Context, q Query, lasting int, longest time.Duration, after place) ([]Event, error) {
	from, low, high := int64(0), place{at: -1}, place{at: math.MaxInt64}
	if !q.Start.IsZero() {
		from = q.Start.UnixMicro()
		low.at = max(from-longest.Microseconds()-1, -1)
	}
	if !q.End.IsZero() {
		high.at = q.End.UnixMicro()
	}
	order := "began, id"
	if q.Newest {
		order = "began DESC, id DESC"
	}
	switch {
	case after.at < 0:
	case q.Newest && after.at < high.at:
		high = after
	case !q.Newest && after.at >= low.at:
		low = after
	}
	kind, args := "", []any{q.Stream, lasting, low.at, low.id, high.at, high.id, from, from}
	if q.Kind != "" {
		kind, args = "AND kind = ?", append(args, q.Kind)
	}
	return scanAll(j.config.Meta.Read().QueryContext(ctx, `SELECT `+columns+` FROM event
		WHERE stream = ? AND lasting = ? AND (began, id) > (?, ?) AND (began, id) < (?, ?) AND (ended = 0 OR ended > ? OR began >= ?) `+kind+`
		ORDER BY `+order+` LIMIT ?`, append(args, q.Limit+1)...))
}

// cursor is the place of an event in the order of the list.
func (e Event) cursor() string { return strconv.FormatInt(e.Start.UnixMicro(), 10) + "-" + e.ID }

func parseCursor(text string) (place, error) {
	if text == "" {
		return place{at: -1}, nil
	}
	number, id, ok := strings.Cut(text, "-")
	at, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || at < 0 || id == "" || len(id) > IDMax {
		return place{}, fault.New(fault.Invalid, "read next", fmt.Sprintf("%.80q", text), "it is not from an answer before")
	}
	return place{at, id}, nil
}
