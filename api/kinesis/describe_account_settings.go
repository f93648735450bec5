package kinesis

import (
	"penstock/api/kinesis/shape"
	"penstock/streams/datastream"
)

// describeAccountSettings is KDS DescribeAccountSettings.
func describeAccountSettings(r *request, _ *shape.DescribeAccountSettingsInput) (*shape.DescribeAccountSettingsOutput, error) {
	if err := r.account(); err != nil {
		return nil, err
	}
	a := r.s.c.Catalogue.Account(r.Account, r.region)
	return &shape.DescribeAccountSettingsOutput{MinimumThroughputBillingCommitment: commitment(a)}, nil
}

func commitment(a datastream.Account) *shape.MinimumThroughputBillingCommitmentOutput {
	out := &shape.MinimumThroughputBillingCommitmentOutput{Status: "DISABLED", StartedAt: a.Started, EndedAt: a.Ended}
	if a.Committed {
		out.Status, out.EarliestAllowedEndAt = "ENABLED", a.EarliestEnd()
	}
	return out
}
