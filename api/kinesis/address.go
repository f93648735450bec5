package kinesis

import (
	"strings"

	"penstock/auth"
	"penstock/internal/fault"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// place is where a stream or consumer is, as a request names it.
type place struct {
	account, region, stream string
	consumer                string // empty: the stream itself
	created                 string // of the consumer, in seconds
}

// arn is the ARN that is asked of auth.
func (p place) arn() string {
	arn := datastream.ARN(p.account, p.region, p.stream)
	if p.consumer != "" {
		arn += "/consumer/" + p.consumer + ":" + p.created
	}
	return arn
}

// parseARN reads the ARN of a stream or consumer; the model has checked its shape.
func parseARN(arn string) (p place, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "kinesis" {
		return p, false
	}
	p.region, p.account = parts[3], parts[4]
	path := strings.Split(parts[5], "/")
	switch {
	case path[0] != "stream" || len(path) != 2 && len(path) != 4:
		return p, false
	case len(path) == 4:
		if path[2] != "consumer" {
			return p, false
		}
		if p.consumer, p.created, ok = strings.Cut(path[3], ":"); !ok || p.consumer == "" || p.created == "" {
			return p, false
		}
	}
	p.stream = path[1]
	return p, datastream.CheckName(p.stream) == nil
}

// locate finds out which stream a request means: by name in the caller's account and the
// signature's region, by ARN anywhere, by StreamId in the caller's own.
func (r *request) locate(name, arn, id string) (place, error) {
	p := place{account: r.Account, region: r.region, stream: name}
	if arn != "" {
		q, ok := parseARN(arn)
		if !ok || q.consumer != "" {
			return p, invalidArgument("StreamARN %s is not the ARN of a data stream.", arn)
		}
		if name != "" && q.stream != name {
			return p, invalidArgument("StreamName %s and StreamARN %s do not name the same stream.", name, arn)
		}
		p = q
	}
	if id != "" {
		// Beside a name the id is a hint: the name may be of a stream made anew.
		switch s, err := r.s.c.Catalogue.ByStreamID(p.account, p.region, id); {
		case err != nil && p.stream == "":
			return p, awsjson.NewError("ResourceNotFoundException", "Stream %s under account %s not found.", id, p.account)
		case err == nil && p.stream == "":
			p.stream = s.Name()
		case err == nil && p.stream != s.Name():
			return p, invalidArgument("StreamId %s is not the id of stream %s.", id, p.stream)
		}
	}
	if p.stream == "" {
		return p, invalidArgument("Either StreamName or StreamARN must be provided.")
	}
	if len(p.region) > regionMax {
		return p, invalidArgument("The region %.40s... is longer than %d characters.", p.region, regionMax)
	}
	return p, nil
}

// admit asks whether the caller may do the operation at p, and finds the stream. Whoever
// may not does not learn whether it exists.
func (r *request) admit(p place) (*datastream.Stream, error) {
	s, err := r.s.c.Catalogue.Get(r.ctx, p.account, p.region, p.stream)
	if err == nil && p.consumer == "" {
		r.object = s.ARN() // what p.arn would make anew
	} else {
		r.object = p.arn()
	}
	var shared *auth.ResourcePolicy
	if err == nil {
		shared = r.s.policyOf(s, p)
	}
	if denied := r.s.c.Auth.AuthorizeShared(r.Principal, r.action, r.object, shared, r.context()); denied != nil {
		return nil, r.denied(denied)
	}
	if err != nil {
		return nil, streamNotFound(p.stream, p.account)
	}
	if err := r.pace(ofStream, p.account, p.region, p.stream); err != nil {
		return nil, err
	}
	return s, nil
}

// policyOf is the policy of the resource at p: a consumer has its own.
func (s *Server) policyOf(st *datastream.Stream, p place) *auth.ResourcePolicy {
	if p.consumer == "" {
		return st.Shared()
	}
	c, err := st.Consumer(p.consumer)
	if err != nil || c.ARN() != p.arn() {
		return nil
	}
	return s.policies.of(p.arn(), c.Policy)
}

// stream is locate and admit.
func (r *request) stream(name, arn, id string) (*datastream.Stream, error) {
	p, err := r.locate(name, arn, id)
	if err != nil {
		return nil, err
	}
	return r.admit(p)
}

// account asks whether the caller may do the operation to their account as a whole.
func (r *request) account() error {
	r.object = auth.SystemARN(r.Account)
	if err := r.s.c.Auth.Authorize(r.Principal, r.action, r.object, r.context()); err != nil {
		return r.denied(err)
	}
	return nil
}

// denied words a refusal as the service does.
func (r *request) denied(err error) error {
	if !fault.Is(err, fault.Denied) {
		return err
	}
	return awsjson.NewError("AccessDeniedException", "User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action",
		r.ARN(), r.action, r.object, r.action)
}

// resource finds the stream or consumer that a ResourceARN names.
func (r *request) resource(arn string) (*datastream.Stream, place, error) {
	p, ok := parseARN(arn)
	if !ok {
		return nil, p, invalidArgument("ResourceARN %s is not the ARN of a data stream or consumer.", arn)
	}
	s, err := r.admit(p)
	if err == nil && p.consumer != "" {
		_, err = consumerAt(s, p)
	}
	return s, p, err
}

// consumer finds the consumer that a request names by ARN, or by name and stream.
func (r *request) consumer(arn, streamARN, name string) (*datastream.Stream, datastream.Consumer, error) {
	var none datastream.Consumer
	if arn != "" {
		p, ok := parseARN(arn)
		if !ok || p.consumer == "" {
			return nil, none, invalidArgument("ConsumerARN %s is not the ARN of a consumer.", arn)
		}
		if streamARN != "" && streamARN != datastream.ARN(p.account, p.region, p.stream) || name != "" && name != p.consumer {
			return nil, none, invalidArgument("ConsumerARN %s does not fit StreamARN and ConsumerName.", arn)
		}
		s, err := r.admit(p)
		if err != nil {
			return nil, none, err
		}
		c, err := consumerAt(s, p)
		return s, c, err
	}
	if streamARN == "" || name == "" {
		return nil, none, invalidArgument("Either ConsumerARN or both StreamARN and ConsumerName must be provided.")
	}
	p, err := r.locate("", streamARN, "")
	if err != nil {
		return nil, none, err
	}
	st, _ := r.s.c.Catalogue.Get(r.ctx, p.account, p.region, p.stream)
	p.consumer, p.created = name, "*"
	if st != nil {
		if c, err := st.Consumer(name); err == nil {
			p, _ = parseARN(c.ARN())
		}
	}
	s, err := r.admit(p)
	if err != nil {
		return nil, none, err
	}
	c, err := s.Consumer(name)
	if err != nil {
		return nil, none, consumerNotFound(name, p.account)
	}
	return s, c, nil
}

// consumerAt finds the consumer with this very creation time.
func consumerAt(s *datastream.Stream, p place) (datastream.Consumer, error) {
	c, err := s.Consumer(p.consumer)
	if err != nil || c.ARN() != p.arn() {
		return datastream.Consumer{}, consumerNotFound(p.consumer, p.account)
	}
	return c, nil
}
