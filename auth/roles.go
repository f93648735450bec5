package auth

import (
	"fmt"
	"sort"
	"strings"

	"penstock/internal/fault"
)

// The roles: ready-made policies.
const (
	RoleAdmin    = "admin"    // everything in the account
	RoleOperator = "operator" // everything but people, keys and the audit log
	RoleViewer   = "viewer"   // watch live and recorded media
	RoleProducer = "producer" // send media, make the stream to send it to
	RoleWorker   = "worker"   // read everything, write what it found
	RoleCustom   = "custom"   // only what the key's own policy allows
)

// Roles lists the ready-made roles, mightiest first.
func Roles() []string {
	return []string{RoleAdmin, RoleOperator, RoleViewer, RoleProducer, RoleWorker}
}

// patternsMax bounds the stream patterns of one key.
const patternsMax = 64

func watchActions() []string {
	return []string{
		string(DescribeStream), "kinesisvideo:ListTagsForStream", string(GetDataEndpoint), string(GetMedia), string(ListFragments),
		string(GetFragmentMedia), string(GetClip), string(GetImages), string(GetHLS), string(GetDASH),
		"kinesisvideo:DescribeSignalingChannel", "kinesisvideo:GetSignalingChannelEndpoint", "kinesisvideo:GetIceServerConfig",
		"kinesisvideo:ConnectAsViewer", "kinesisvideo:DescribeMediaStorageConfiguration", string(ListEvents),
	}
}

func listActions() []string {
	return []string{string(ListStreams), "kinesisvideo:ListSignalingChannels", "kinesis:ListStreams",
		"firehose:ListDeliveryStreams", "kinesisanalytics:ListApplications"}
}

// roleActions are the actions of a role on streams, and those on the system.
func roleActions(role string) (onStreams, onSystem []string, ok bool) {
	list := listActions()
	switch role {
	case RoleAdmin:
		return []string{"*"}, []string{"*"}, true
	case RoleOperator:
		return []string{"kinesisvideo:*", "kinesis:*", "firehose:*", "kinesisanalytics:*", string(Talk), string(SetCamera), string(ListEvents), string(PutEvent), string(KeepVideo), string(ChangeEvent)},
			append(list, string(Probe), string(Discover), string(SetCamera), string(ReadSystem), string(ReadMetrics), string(SetOwn)), true
	case RoleViewer:
		return watchActions(), append(list, string(SetOwn)), true
	case RoleProducer:
		return []string{
			string(DescribeStream), string(GetDataEndpoint), string(CreateStream), string(PutMedia),
			"kinesisvideo:DescribeSignalingChannel", "kinesisvideo:CreateSignalingChannel", "kinesisvideo:GetSignalingChannelEndpoint",
			"kinesisvideo:GetIceServerConfig", "kinesisvideo:ConnectAsMaster", "kinesisvideo:JoinStorageSession",
			"kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:ListShards", "kinesis:PutRecord", "kinesis:PutRecords",
			string(DataCreateStream),
			"firehose:DescribeDeliveryStream", "firehose:PutRecord", "firehose:PutRecordBatch", string(PutEvent), string(KeepVideo),
		}, nil, true
	case RoleWorker:
		return append(watchActions(), string(PutEvent), string(KeepVideo),
			"kinesis:Describe*", "kinesis:Get*", "kinesis:ListShards", "kinesis:ListStreamConsumers", "kinesis:RegisterStreamConsumer",
			"kinesis:DeregisterStreamConsumer", "kinesis:SubscribeToShard", "kinesis:PutRecord", "kinesis:PutRecords",
		), list, true
	}
	return nil, nil, false
}

// rolePolicy makes the policy of a role in an account, narrowed to streams whose names
// match one of patterns; no patterns: all streams of the account.
func rolePolicy(role, account string, patterns []string) (*Policy, error) {
	onStreams, onSystem, ok := roleActions(role)
	if !ok {
		return nil, fault.New(fault.Invalid, "make policy of role", role,
			"no such role; there are "+strings.Join(Roles(), ", "))
	}
	p := &Policy{Name: "role " + role}
	resources := []string{"arn:*:*:*:" + account + ":*"}
	if len(patterns) > 0 {
		if err := checkStreamPatterns(patterns); err != nil {
			return nil, err
		}
		p.Name += " on " + strings.Join(patterns, ", ")
		resources = streamResources(account, patterns)
		if onSystem != nil {
			// Probes, metrics and keys reach beyond the streams that the role is narrowed to;
			// a list may be asked for, and shows what DescribeStream allows.
			onSystem = listActions()
		}
	}
	p.Statements = append(p.Statements, Statement{Sid: "Streams", Effect: Allow, Action: onStreams, Resource: resources})
	if len(onSystem) > 0 {
		p.Statements = append(p.Statements, Statement{Sid: "System", Effect: Allow, Action: onSystem,
			Resource: []string{SystemARN(account)}})
	}
	return p, nil
}

// streamResources are the ARNs of everything called name, of all services.
func streamResources(account string, patterns []string) []string {
	var out []string
	for _, n := range patterns {
		out = append(out,
			"arn:*:kinesisvideo:*:"+account+":stream/"+n+"/*",
			"arn:*:kinesisvideo:*:"+account+":channel/"+n+"/*",
			"arn:*:kinesis:*:"+account+":stream/"+n,
			"arn:*:kinesis:*:"+account+":stream/"+n+"/consumer/*",
			"arn:*:firehose:*:"+account+":deliverystream/"+n,
			"arn:*:kinesisanalytics:*:"+account+":application/"+n,
		)
	}
	sort.Strings(out)
	return out
}

// checkStreamPatterns keeps a pattern from reaching out of its place in an ARN.
func checkStreamPatterns(patterns []string) error {
	if len(patterns) > patternsMax {
		return fault.New(fault.Invalid, "read stream patterns", "", fmt.Sprintf("%d patterns, at most %d", len(patterns), patternsMax))
	}
	for _, p := range patterns {
		if p == "" || len(p) > 256 || strings.Trim(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-*?") != "" {
			return fault.New(fault.Invalid, "read stream pattern", fmt.Sprintf("%q", p),
				"want letters, digits, _ . - and the wildcards * and ?")
		}
	}
	return nil
}

// SystemARN is the resource of actions on an account as a whole: lists, probes, keys,
// metrics.
func SystemARN(account string) string { return "arn:aws:penstock::" + account + ":system" }

// SystemARN is the default account's SystemARN.
func (a *Authority) SystemARN() string { return SystemARN(a.config.Account) }
