package kinesis

import (
	"penstock/api/kinesis/shape"
	"penstock/records"
)

// mergeShards is KDS MergeShards. The shards are checked for what they are called before
// the stream is looked for.
func mergeShards(r *request, in *shape.MergeShardsInput) error {
	p, err := r.locate(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	var pair [2]records.ShardID
	for i, given := range []string{in.ShardToMerge, in.AdjacentShardToMerge} {
		if pair[i], err = records.ParseShardID(given); err != nil {
			return noSuchShard(given, p.stream, p.account)
		}
	}
	st, err := r.admit(p)
	if err != nil {
		return err
	}
	return refused(st.Merge(r.ctx, pair[0], pair[1]), st)
}
