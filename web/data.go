package web

import (
	"context"
	"net/http"
	"time"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/internal/quantity"
	"penstock/records"
	"penstock/streams/datastream"
)

func unknownData(name string) error {
	return fault.New(fault.NotFound, "find data stream", name, "no such data stream").
		WithHint("`penstock data ls` lists the data streams that you may see")
}

// admitToData is admitToStream for the data stream of the path, whose own policy is
// asked, too. A row that makes streams makes one that is missing, for callers who may.
func (s *Server) admitToData(rt route, c *call) error {
	name := c.r.PathValue("name")
	st, err := s.c.Data.Get(c.r.Context(), c.principal.Account, s.c.Region, name)
	if fault.Is(err, fault.NotFound) && rt.Makes {
		st, err = s.makeData(rt, c, name)
	}
	if fault.Is(err, fault.NotFound) || fault.Is(err, fault.Invalid) && !rt.Makes {
		return unknownData(name)
	}
	if err != nil {
		return err
	}
	c.data = st
	err = c.mayData(rt.Action)
	if fault.Is(err, fault.Denied) && c.mayData(auth.DataDescribeStream) != nil {
		return unknownData(name)
	}
	return err
}

// makeTimeout bounds the making of a data stream.
const makeTimeout = 30 * time.Second

// makeData makes a data stream on its first use.
func (s *Server) makeData(rt route, c *call, name string) (*datastream.Stream, error) {
	arn := datastream.ARN(c.principal.Account, s.c.Region, name)
	for _, action := range []auth.Action{rt.Action, auth.DataCreateStream} {
		if c.may(action, arn) != nil {
			return nil, fault.New(fault.NotFound, "find data stream", name, "no such data stream, and this key may not create it")
		}
	}
	// A caller who hangs up meanwhile must not leave half a stream behind.
	making, cancel := context.WithTimeout(context.WithoutCancel(c.r.Context()), makeTimeout)
	defer cancel()
	st, err := s.c.Data.Ensure(making, c.principal.Account, s.c.Region, name)
	s.c.Auth.Note(c.r.Context(), c.principal, auth.Deed{Action: auth.DataCreateStream, Object: arn, Remote: remoteHost(c.r), Detail: "on a first put", Err: err})
	return st, err
}

// mayData asks whether the caller may do action to the data stream.
func (c *call) mayData(action auth.Action) error {
	return c.s.c.Auth.AuthorizeShared(c.principal, action, c.data.ARN(), c.data.Shared(), c.context())
}

func listData(c *call) error {
	views := []dataView{}
	for _, st := range c.s.c.Data.List(c.principal.Account, c.s.c.Region) {
		if c.may(auth.DataDescribeStream, st.ARN()) == nil {
			views = append(views, c.s.viewData(st, false))
		}
	}
	return c.json(map[string]any{"streams": views})
}

func showData(c *call) error { return c.json(c.s.viewData(c.data, true)) }

type newDataBody struct {
	Name      string            `json:"name"`
	Shards    int               `json:"shards"` // 0: the stream decides itself, by its traffic
	Retention string            `json:"retention"`
	MaxRecord int               `json:"max_record"` // bytes; 0: 1 MiB
	Tags      map[string]string `json:"tags"`
}

func createData(c *call) error {
	var body newDataBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	c.object = datastream.ARN(c.principal.Account, c.s.c.Region, body.Name)
	if err := c.may(auth.DataCreateStream, c.object); err != nil {
		return err
	}
	keep, err := dataRetention(body.Retention)
	if err != nil {
		return err
	}
	n := datastream.New{Account: c.principal.Account, Region: c.s.c.Region, Name: body.Name, Mode: datastream.Provisioned,
		Shards: body.Shards, MaxRecord: body.MaxRecord, Tags: body.Tags}
	if body.Shards == 0 {
		n.Mode = datastream.OnDemand
	}
	st, err := c.s.c.Data.Create(c.r.Context(), n)
	if err != nil {
		return err
	}
	if keep > datastream.RetentionMin {
		if err := st.Settled(c.r.Context()); err != nil {
			return err
		}
		if err := st.SetRetention(c.r.Context(), keep, true); err != nil {
			return err
		}
	}
	c.w.Header().Set("Location", "/v1/data/"+st.Name())
	c.s.answer(c.w, http.StatusCreated, c.s.viewData(st, true))
	return nil
}

// dataRetention reads how long records are kept; empty means the least.
func dataRetention(text string) (time.Duration, error) {
	if text == "" {
		return datastream.RetentionMin, nil
	}
	d, err := quantity.Duration(text)
	if err == nil && (d < datastream.RetentionMin || d > datastream.RetentionMax || d%time.Hour != 0) {
		err = fault.New(fault.Invalid, "", "", "it must be whole hours, 24h to 8760h (a year)")
	}
	return d, fault.Wrap(fault.Invalid, "read retention", text, err)
}

type dataPatchBody struct {
	Shards    *int    `json:"shards"`
	Retention *string `json:"retention"`
}

// changeData changes the number of shards and the retention. The row asks for the
// first; the second is asked for here.
func changeData(c *call) error {
	var body dataPatchBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	ctx := c.r.Context()
	if body.Retention != nil {
		keep, err := dataRetention(*body.Retention)
		if err != nil {
			return err
		}
		now := c.data.Info().Retention
		action := auth.Action("kinesis:IncreaseStreamRetentionPeriod")
		if keep < now {
			action = "kinesis:DecreaseStreamRetentionPeriod"
		}
		if err := c.mayData(action); err != nil {
			return err
		}
		if keep != now {
			if err := c.data.SetRetention(ctx, keep, keep > now); err != nil {
				return err
			}
		}
	}
	if body.Shards != nil {
		if _, err := c.data.Reshard(ctx, *body.Shards); err != nil {
			return err
		}
		if err := c.data.Settled(ctx); err != nil {
			return err
		}
	}
	return c.json(c.s.viewData(c.data, true))
}

func deleteData(c *call) error {
	if err := c.data.Delete(c.r.Context(), true); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

type splitBody struct {
	Shard string `json:"shard"`
	At    string `json:"at"` // hash key where the second child begins; empty: the middle
}

func splitShard(c *call) error {
	var body splitBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	id, err := records.ParseShardID(body.Shard)
	if err != nil {
		return err
	}
	sh, ok := datastream.Find(c.data.Shards(), id)
	if !ok {
		return fault.New(fault.NotFound, "split shard", body.Shard, "there is no such shard in "+c.data.Name())
	}
	at := records.Middle(sh.From, sh.To).Next()
	if body.At != "" {
		if at, err = records.ParseHashKey(body.At); err != nil {
			return err
		}
	}
	return c.reshaped(c.data.Split(c.r.Context(), id, at))
}

type mergeBody struct {
	Shards []string `json:"shards"` // two neighbours, in any order
}

func mergeShards(c *call) error {
	var body mergeBody
	if err := decode(c.w, c.r, &body); err != nil {
		return err
	}
	if len(body.Shards) != 2 {
		return fault.New(fault.Invalid, "merge shards", c.data.Name(), "name two shards that are neighbours")
	}
	a, err := records.ParseShardID(body.Shards[0])
	if err != nil {
		return err
	}
	b, err := records.ParseShardID(body.Shards[1])
	if err != nil {
		return err
	}
	all := c.data.Shards()
	if x, ok := datastream.Find(all, a); ok {
		if y, ok := datastream.Find(all, b); ok && y.From.Compare(x.From) < 0 {
			a, b = b, a
		}
	}
	return c.reshaped(c.data.Merge(c.r.Context(), a, b))
}

// reshaped waits for the end of a change of shards and answers with what came of it.
func (c *call) reshaped(err error) error {
	if err != nil {
		return err
	}
	if err := c.data.Settled(c.r.Context()); err != nil {
		return err
	}
	return c.json(c.s.viewData(c.data, true))
}
