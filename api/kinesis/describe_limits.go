package kinesis

import "penstock/api/kinesis/shape"

// describeLimits is KDS DescribeLimits.
func describeLimits(r *request, _ *shape.DescribeLimitsInput) (*shape.DescribeLimitsOutput, error) {
	if err := r.account(); err != nil {
		return nil, err
	}
	u := r.s.c.Catalogue.Usage(r.Account, r.region)
	return &shape.DescribeLimitsOutput{ShardLimit: int32(u.ShardLimit), OpenShardCount: int32(u.OpenShards),
		OnDemandStreamCount: int32(u.OnDemand), OnDemandStreamCountLimit: int32(u.OnDemandLimit)}, nil
}
