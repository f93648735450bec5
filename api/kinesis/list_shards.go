package kinesis

import (
	"fmt"
	"strings"
	"time"

	"penstock/api/kinesis/shape"
	"penstock/records"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// listShardsMost is the shards of one answer, asked for or not.
const listShardsMost = 1000

// listShards is KDS ListShards.
func listShards(r *request, in *shape.ListShardsInput) (*shape.ListShardsOutput, error) {
	st, after, f, err := r.listedShards(in)
	if err != nil {
		return nil, err
	}
	shards := f.pick(st.Shards(), st.Horizon(), st.Info().Created)
	if after >= 0 {
		shards = behind(shards, records.ShardID(after))
	}
	limit := listShardsMost
	if in.MaxResults != nil {
		limit = min(limit, int(*in.MaxResults))
	}
	out := &shape.ListShardsOutput{}
	if len(shards) > limit {
		shards = shards[:limit]
		last := shards[limit-1].ID.String()
		if out.NextToken, err = r.s.token("shards", token{id: st.ID(), where: place{account: st.Account(), region: st.Region(), stream: st.Name()}, after: last, filter: f.String()}); err != nil {
			return nil, err
		}
	}
	out.Shards = shapes(shards)
	return out, nil
}

// listedShards finds out which stream's shards are asked for, behind which, and filtered
// how: from the request, or from the token that stands for all three.
func (r *request) listedShards(in *shape.ListShardsInput) (st *datastream.Stream, after int64, f shardFilter, err error) {
	after = -1
	if in.NextToken != "" {
		for _, beside := range []struct {
			name  string
			given bool
		}{
			{"StreamName", in.StreamName != ""}, {"StreamARN", in.StreamARN != ""}, {"StreamId", in.StreamId != ""},
			{"ExclusiveStartShardId", in.ExclusiveStartShardId != ""}, {"StreamCreationTimestamp", !in.StreamCreationTimestamp.IsZero()},
		} {
			if beside.given {
				return nil, after, f, invalidArgument("NextToken and %s cannot be provided together.", beside.name)
			}
		}
		t, err := r.s.readToken("shards", in.NextToken)
		if err != nil {
			return nil, after, f, err
		}
		if st, err = r.admit(t.where); err != nil {
			return nil, after, f, err
		}
		if st.ID() != t.id {
			return nil, after, f, streamNotFound(t.where.stream, t.where.account)
		}
		id, err := records.ParseShardID(t.after)
		return st, int64(id), parseShardFilter(t.filter), err
	}
	if in.StreamName == "" && in.StreamARN == "" && in.StreamId == "" {
		return nil, after, f, invalidArgument("Either NextToken or StreamName should be provided.")
	}
	if st, err = r.stream(in.StreamName, in.StreamARN, in.StreamId); err != nil {
		return nil, after, f, err
	}
	if err := madeAt(st, in.StreamCreationTimestamp); err != nil {
		return nil, after, f, err
	}
	if in.ExclusiveStartShardId != "" {
		id, err := records.ParseShardID(in.ExclusiveStartShardId)
		if err != nil {
			return nil, after, f, noSuchShard(in.ExclusiveStartShardId, st.Name(), st.Account())
		}
		after = int64(id)
	}
	f, err = newShardFilter(in.ShardFilter, st)
	return st, after, f, err
}

// madeAt refuses a stream that was made at another second.
func madeAt(st *datastream.Stream, t time.Time) *awsjson.Error {
	if t.IsZero() || t.Unix() == st.Info().Created.Unix() {
		return nil
	}
	return streamNotFound(st.Name(), st.Account())
}

// shardFilter picks shards. The zero value picks all.
type shardFilter struct {
	kind  string
	at    time.Time
	shard records.ShardID
}

func newShardFilter(in *shape.ShardFilter, st *datastream.Stream) (f shardFilter, err error) {
	if in == nil {
		return f, nil
	}
	f.kind, f.at = in.Type, in.Timestamp
	timed := strings.HasSuffix(in.Type, "_TIMESTAMP")
	switch {
	case timed && in.Timestamp.IsZero():
		return f, invalidArgument("Timestamp must be provided in ShardFilter of type %s.", in.Type)
	case in.Type == "AFTER_SHARD_ID" && in.ShardId == "":
		return f, invalidArgument("ShardId must be provided in ShardFilter of type %s.", in.Type)
	case !timed && !in.Timestamp.IsZero():
		return f, invalidArgument("Timestamp cannot be provided in ShardFilter of type %s.", in.Type)
	case in.Type != "AFTER_SHARD_ID" && in.ShardId != "":
		return f, invalidArgument("ShardId cannot be provided in ShardFilter of type %s.", in.Type)
	case in.ShardId != "":
		if f.shard, err = records.ParseShardID(in.ShardId); err != nil {
			return f, noSuchShard(in.ShardId, st.Name(), st.Account())
		}
	}
	return f, nil
}

// String writes the filter for a token.
func (f shardFilter) String() string {
	if f.kind == "" {
		return ""
	}
	ms := int64(0)
	if !f.at.IsZero() {
		ms = f.at.UnixMilli()
	}
	return fmt.Sprintf("%s %d %d", f.kind, ms, f.shard)
}

func parseShardFilter(s string) (f shardFilter) {
	var ms int64
	if n, _ := fmt.Sscanf(s, "%s %d %d", &f.kind, &ms, &f.shard); n == 3 && ms != 0 {
		f.at = time.UnixMilli(ms)
	}
	return f
}

// pick filters all retained shards. What was open at one time covers the hash space without
// a hole: a child counts as open from the moment that its parents are not.
func (f shardFilter) pick(all []records.Shard, horizon, created time.Time) []records.Shard {
	at := f.at
	if f.kind == "AT_TRIM_HORIZON" || at.Before(horizon) {
		at = horizon
	}
	if at.Before(created) {
		at = created
	}
	var keep func(records.Shard) bool
	switch f.kind {
	case "AFTER_SHARD_ID":
		keep = func(s records.Shard) bool { return s.ID > f.shard }
	case "AT_LATEST":
		keep = records.Shard.Open
	case "FROM_TIMESTAMP":
		keep = func(s records.Shard) bool { return s.Open() || s.Closed.After(at) }
	case "AT_TIMESTAMP", "AT_TRIM_HORIZON":
		keep = func(s records.Shard) bool { return (s.Open() || s.Closed.After(at)) && !begun(s, all).After(at) }
	default:
		return all
	}
	list := make([]records.Shard, 0, len(all))
	for _, s := range all {
		if keep(s) {
			list = append(list, s)
		}
	}
	return list
}

// begun is when a shard took over from its parents. Parents that retention took closed
// before anything that can still be asked for.
func begun(s records.Shard, all []records.Shard) time.Time {
	parent, ok := datastream.Find(all, s.Parent)
	switch {
	case s.Parent == records.NoShard || !ok:
		return time.Time{}
	case parent.Closed.IsZero():
		return s.Opened
	}
	return parent.Closed
}
