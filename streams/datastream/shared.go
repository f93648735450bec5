package datastream

import "penstock/auth"

// parsedPolicy is a resource policy as text and as it was read.
type parsedPolicy struct {
	text   string
	policy *auth.ResourcePolicy
}

// Shared is the stream's resource policy as auth.AuthorizeShared takes it; nil: it has
// none. It is quick: a policy is read once.
func (s *Stream) Shared() *auth.ResourcePolicy {
	text := s.Info().Policy
	if text == "" {
		return nil
	}
	if p := s.shared.Load(); p != nil && p.text == text {
		return p.policy
	}
	policy, err := auth.ParseResourcePolicy(s.arn, []byte(text))
	if err != nil {
		policy = nil // it was checked when it was set; what cannot be read opens nothing
	}
	s.shared.Store(&parsedPolicy{text, policy})
	return policy
}
