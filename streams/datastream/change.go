package datastream

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"penstock/internal/fault"
	"penstock/records"
)

// How many times in 24 hours a stream may be changed (KDS UpdateShardCount, "On-demand
// mode", StartStreamEncryption and StopStreamEncryption), unless Config.NoLimits.
const (
	dayChanges = 10 // of the number of shards
	dayModes   = 2
	dayKeys    = 25 // of encryption begun, and as many of it ended
)

// today is the seconds in which a stream was changed in the last 24 hours.
type today struct {
	Shards  []int64
	Modes   []int64
	Encrypt []int64
	Plain   []int64
}

// again notes one more change, or refuses it: fault.Throttled without a Refusal. The
// caller holds s.mu.
func (s *Stream) again(op string, times *[]int64, most int, what string) error {
	now := s.c.c.Clock.Now()
	list := slices.DeleteFunc(slices.Clone(*times), func(at int64) bool {
		ago := now.Unix() - at
		return ago >= 24*60*60 || ago < -60*60 // the clock was ahead then
	})
	if len(list) >= most && !s.c.c.NoLimits {
		return fault.New(fault.Throttled, op, s.name, fmt.Sprintf("%s %d times in the last 24 hours", what, most))
	}
	if len(list) < most { // with NoLimits more are not worth keeping
		list = append(list, now.Unix())
	}
	*times = list
	return nil
}

// Delete begins to delete the stream, in whatever state it is: its records cannot be
// reached when Delete returns. Refusals: HasConsumers, unless withConsumers.
func (s *Stream) Delete(ctx context.Context, withConsumers bool) error {
	const op = "delete data stream"
	return s.change(ctx, op, func(i *Info) (*task, error) {
		if i.Status == Deleting {
			return nil, refuse(op, s.name, &Refusal{Reason: NotActive, Status: Deleting})
		}
		if n := len(*s.readers.Load()); n > 0 && !withConsumers {
			return nil, refuse(op, s.name, &Refusal{Reason: HasConsumers, Count: n})
		}
		return &task{Op: opDelete}, nil
	})
}

// provisioned refuses changes of shards that an on-demand stream makes by itself.
func (s *Stream) provisioned(op string, i *Info) error {
	if i.Mode == OnDemand {
		return refuse(op, s.name, &Refusal{Reason: IsOnDemand})
	}
	return nil
}

// Split parts a shard in two at a hash key. Refusals, in this order: IsOnDemand, NotActive,
// NoShard, ShardQuota, ShardClosed, BadSplit.
func (s *Stream) Split(ctx context.Context, id records.ShardID, at records.HashKey) error {
	const op = "split shard"
	return s.change(ctx, op, func(i *Info) (*task, error) {
		if err := s.provisioned(op, i); err != nil {
			return nil, err
		}
		return s.split(op, i, id, at)
	})
}

func (s *Stream) split(op string, i *Info, id records.ShardID, at records.HashKey) (*task, error) {
	if err := s.active(op, i); err != nil {
		return nil, err
	}
	p, ok := Find(s.Shards(), id)
	switch {
	case !ok:
		return nil, refuse(op, s.name, &Refusal{Reason: NoShard, Shard: id})
	case i.Mode == Provisioned:
		if err := s.c.shardQuota(op, s.name, s.c.Usage(s.account, s.region), 1); err != nil {
			return nil, err
		}
	}
	if !p.Open() {
		return nil, refuse(op, s.name, &Refusal{Reason: ShardClosed, Shard: id})
	}
	// a+1 < h < b, as the service has it: neither child may be a single key.
	if at.Compare(p.From.Next()) <= 0 || at.Compare(p.To) >= 0 {
		return nil, refuse(op, s.name, &Refusal{Reason: BadSplit, Shard: id})
	}
	return &task{Op: opSplit, Shard: id, At: at.String()}, nil
}

// Merge joins two neighbours, the lower first. Refusals, in this order: IsOnDemand,
// NotActive, NoShard, ShardClosed, NotAdjacent.
func (s *Stream) Merge(ctx context.Context, lower, upper records.ShardID) error {
	const op = "merge shards"
	return s.change(ctx, op, func(i *Info) (*task, error) {
		if err := s.provisioned(op, i); err != nil {
			return nil, err
		}
		if err := s.active(op, i); err != nil {
			return nil, err
		}
		var pair [2]records.Shard
		for n, id := range []records.ShardID{lower, upper} {
			p, ok := Find(s.Shards(), id)
			if !ok {
				return nil, refuse(op, s.name, &Refusal{Reason: NoShard, Shard: id})
			}
			pair[n] = p
		}
		for _, p := range pair {
			if !p.Open() {
				return nil, refuse(op, s.name, &Refusal{Reason: ShardClosed, Shard: p.ID})
			}
		}
		if pair[0].To.Next() != pair[1].From || pair[0].To == records.MaxHashKey {
			return nil, refuse(op, s.name, &Refusal{Reason: NotAdjacent, Shard: lower, Other: upper})
		}
		return &task{Op: opMerge, Shard: lower, Other: upper}, nil
	})
}

// Reshard sets the number of open shards, all of one width, and returns how many there
// were. Refusals, in this order: IsOnDemand, NotActive, TooFar, ShardQuota; more than ten
// times in 24 hours is fault.Throttled without a Refusal.
func (s *Stream) Reshard(ctx context.Context, target int) (before int, err error) {
	const op = "set number of shards"
	err = s.change(ctx, op, func(i *Info) (*task, error) {
		if err := s.provisioned(op, i); err != nil {
			return nil, err
		}
		if err := s.active(op, i); err != nil {
			return nil, err
		}
		before = s.OpenShards()
		if target > 2*before || target < (before+1)/2 || target > ShardsMax {
			return nil, refuse(op, s.name, &Refusal{Reason: TooFar, Count: before, Limit: ShardsMax, More: target})
		}
		if more := target - before; more > 0 {
			if err := s.c.shardQuota(op, s.name, s.c.Usage(s.account, s.region), more); err != nil {
				return nil, err
			}
		}
		if err := s.again(op, &s.today.Shards, dayChanges, "the number of shards was set"); err != nil {
			return nil, err
		}
		return &task{Op: opReshard, Shards: target}, nil
	})
	return before, err
}

// SetRetention changes how long records are kept, at once. longer says which way the
// caller means to go. Refusals: NotActive, RetentionBounds, RetentionWrong.
func (s *Stream) SetRetention(ctx context.Context, d time.Duration, longer bool) error {
	const op = "set retention"
	err := s.change(ctx, op, func(i *Info) (*task, error) {
		if d < RetentionMin || d > RetentionMax {
			return nil, refuse(op, s.name, &Refusal{Reason: RetentionBounds})
		}
		if err := s.active(op, i); err != nil {
			return nil, err
		}
		if longer && d < i.Retention || !longer && d > i.Retention {
			return nil, refuse(op, s.name, &Refusal{Reason: RetentionWrong, Count: int(i.Retention / time.Hour)})
		}
		if log := s.records.Load(); log != nil && d > i.Retention {
			// What has expired by now stays so.
			if err := log.Expire(ctx); err != nil {
				return nil, err
			}
		}
		i.Retention = d
		return nil, nil
	})
	if log := s.records.Load(); err == nil && log != nil {
		// The log hears of the new retention now, not when it is next read: it takes the
		// moment that it hears of it for the moment of the change.
		return log.Expire(ctx)
	}
	return err
}

// SetTags adds tags and takes others away. Refusals: TagQuota.
func (s *Stream) SetTags(ctx context.Context, add map[string]string, remove []string) error {
	const op = "tag data stream"
	return s.change(ctx, op, func(i *Info) (*task, error) {
		tags, err := retag(i.Tags, add, remove)
		if err != nil {
			return nil, fault.Wrap(fault.Invalid, op, s.name, err)
		}
		i.Tags = tags
		return nil, nil
	})
}

func retag(old, add map[string]string, remove []string) (map[string]string, error) {
	tags := copyTags(old)
	for k, v := range add {
		tags[k] = v
	}
	for _, k := range remove {
		delete(tags, k)
	}
	if len(tags) > TagsMax {
		return nil, &Refusal{Reason: TagQuota, Count: len(tags), Limit: TagsMax}
	}
	return tags, nil
}

// SetMetrics switches shard level metrics on or off and returns those before and after.
// Refusals: NotActive.
func (s *Stream) SetMetrics(ctx context.Context, names []string, on bool) (before, after []string, err error) {
	const op = "set monitoring"
	err = s.change(ctx, op, func(i *Info) (*task, error) {
		if err := s.active(op, i); err != nil {
			return nil, err
		}
		before = i.Metrics
		for _, m := range Metrics() {
			named := slices.Contains(names, m) || slices.Contains(names, "ALL")
			if had := slices.Contains(before, m); on && (had || named) || !on && had && !named {
				after = append(after, m)
			}
		}
		i.Metrics = after
		return nil, nil
	})
	return before, after, err
}

// SetPolicy sets the resource policy as text; "" removes it. The caller has checked it.
func (s *Stream) SetPolicy(ctx context.Context, policy string) error {
	return s.change(ctx, "set resource policy", func(i *Info) (*task, error) {
		i.Policy = policy
		return nil, nil
	})
}

// SetMaxRecord sets the largest record, in bytes. Refusals: NotActive.
func (s *Stream) SetMaxRecord(ctx context.Context, bytes int) error {
	const op = "set record size"
	return s.change(ctx, op, func(i *Info) (*task, error) {
		if err := s.active(op, i); err != nil {
			return nil, err
		}
		i.MaxRecord = bytes
		return &task{Op: opSettle}, nil
	})
}

// SetMode changes who decides about the number of shards; the shards stay as they are.
// warm may be 0. Refusals: NotActive, StreamQuota, ShardQuota; a third change in 24 hours is
// fault.Throttled without a Refusal.
func (s *Stream) SetMode(ctx context.Context, m Mode, warm int) error {
	const op = "set mode"
	u := s.c.Usage(s.account, s.region)
	return s.change(ctx, op, func(i *Info) (*task, error) {
		if err := s.active(op, i); err != nil {
			return nil, err
		}
		if m == OnDemand && i.Mode != OnDemand && u.OnDemand >= s.c.c.OnDemandLimit {
			return nil, refuse(op, s.name, &Refusal{Reason: StreamQuota, Count: u.OnDemand, Limit: s.c.c.OnDemandLimit})
		}
		was := i.Mode
		i.Mode, i.Warm = m, warm
		t, err := s.warmTask(op, i, u)
		if err != nil || m == was {
			return t, err
		}
		if err := s.again(op, &s.today.Modes, dayModes, "the mode was changed"); err != nil {
			return nil, err
		}
		s.peaks, s.busy = nil, 0 // what it has is what it keeps for now
		return t, nil
	})
}

// SetWarm prepares an on-demand stream for so many MiB a second. Room beyond that, and
// beyond what the present traffic needs, is given back. Refusals: NotActive, ShardQuota.
func (s *Stream) SetWarm(ctx context.Context, warm int) error {
	const op = "set warm throughput"
	u := s.c.Usage(s.account, s.region)
	return s.change(ctx, op, func(i *Info) (*task, error) {
		if err := s.active(op, i); err != nil {
			return nil, err
		}
		i.Warm = warm
		if to := s.release(warm); to > 0 && i.Mode == OnDemand {
			return &task{Op: opReshard, Shards: to}, nil
		}
		return s.warmTask(op, i, u)
	})
}

// warmTask makes room for the warm throughput, a shard for each MiB a second. Refusals:
// ShardQuota.
func (s *Stream) warmTask(op string, i *Info, u Usage) (*task, error) {
	want := min(i.Warm, ShardsMax)
	more := want - s.OpenShards()
	if i.Mode != OnDemand || more <= 0 {
		return &task{Op: opSettle}, nil
	}
	return &task{Op: opReshard, Shards: want}, s.c.shardQuota(op, s.name, u, more)
}

// Encrypt begins to encrypt records that are put from now on, under a key of the stream's
// own; keyID is only shown. "" ends it; what is stored stays as it is. Refusals: NotActive;
// the 26th time in 24 hours is fault.Throttled without a Refusal.
func (s *Stream) Encrypt(ctx context.Context, keyID string) error {
	const op = "set encryption"
	return s.change(ctx, op, func(i *Info) (*task, error) {
		if err := s.active(op, i); err != nil {
			return nil, err
		}
		times, what := &s.today.Encrypt, "encryption was begun"
		if keyID == "" {
			times, what = &s.today.Plain, "encryption was ended"
		}
		if err := s.again(op, times, dayKeys, what); err != nil {
			return nil, err
		}
		if keyID != "" && s.sealedKey == nil {
			key := make([]byte, 32)
			if _, err := io.ReadFull(s.c.c.Rand, key); err != nil {
				return nil, fault.Wrap(fault.Internal, op, s.name, err)
			}
			sealed, err := s.c.c.Sealer.Seal(keyContext(s.id), key)
			if err != nil {
				return nil, err
			}
			s.sealedKey = sealed
		}
		i.KeyID = keyID
		return &task{Op: opEncrypt}, nil
	})
}
