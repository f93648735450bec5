package kinesis

import (
	"errors"

	"penstock/api/kinesis/shape"
	"penstock/records"
	"penstock/streams/datastream"
)

// splitShard is KDS SplitShard.
func splitShard(r *request, in *shape.SplitShardInput) error {
	p, err := r.locate(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	id, err := records.ParseShardID(in.ShardToSplit)
	if err != nil {
		return noSuchShard(in.ShardToSplit, p.stream, p.account)
	}
	st, err := r.admit(p)
	if err != nil {
		return err
	}
	at, err := records.ParseHashKey(in.NewStartingHashKey)
	if err != nil {
		at = records.MaxHashKey // past the end of every shard: refused as that, in its turn
	}
	err = st.Split(r.ctx, id, at)
	var refusal *datastream.Refusal
	if errors.As(err, &refusal) && refusal.Reason == datastream.BadSplit {
		shard, _ := datastream.Find(st.Shards(), id)
		return invalidArgument("NewStartingHashKey %s used in SplitShard() on shard %s in stream %s under account %s is not both greater than one plus the shard's StartingHashKey %s and less than the shard's EndingHashKey %s.",
			in.NewStartingHashKey, id, st.Name(), st.Account(), shard.From, shard.To)
	}
	return refused(err, st)
}
