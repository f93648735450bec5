package kinesis

import "penstock/api/kinesis/shape"

// updateAccountSettings is KDS UpdateAccountSettings. Nothing is billed: the commitment may
// be taken back at any time.
func updateAccountSettings(r *request, in *shape.UpdateAccountSettingsInput) (*shape.UpdateAccountSettingsOutput, error) {
	if err := r.account(); err != nil {
		return nil, err
	}
	a, err := r.s.c.Catalogue.Commit(r.ctx, r.Account, r.region, in.MinimumThroughputBillingCommitment.Status == "ENABLED")
	if err != nil {
		return nil, err
	}
	return &shape.UpdateAccountSettingsOutput{MinimumThroughputBillingCommitment: commitment(a)}, nil
}
