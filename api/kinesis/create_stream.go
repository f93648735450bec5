package kinesis

import (
	"penstock/api/kinesis/shape"
	"penstock/streams/datastream"
	"penstock/wire/awsjson"
)

// createStream is KDS CreateStream. The shard count of an on-demand stream is ignored.
func createStream(r *request, in *shape.CreateStreamInput) error {
	p, err := r.locate(in.StreamName, "", "")
	if err != nil {
		return err
	}
	r.object = p.arn()
	if err := r.s.c.Auth.Authorize(r.Principal, r.action, r.object, r.context()); err != nil {
		return r.denied(err)
	}
	n := datastream.New{Account: p.account, Region: p.region, Name: p.stream, Mode: datastream.Provisioned, Tags: in.Tags}
	if in.StreamModeDetails != nil {
		n.Mode = datastream.Mode(in.StreamModeDetails.StreamMode)
	}
	if in.ShardCount != nil {
		n.Shards = int(*in.ShardCount)
	}
	if in.MaxRecordSizeInKiB != nil {
		n.MaxRecord = int(*in.MaxRecordSizeInKiB) << 10
	}
	if err := tagCharacters(tagWords(in.Tags), "add", "to", p.stream, p.account); err != nil {
		return err
	}
	if in.WarmThroughputMiBps != nil && *in.WarmThroughputMiBps > 0 {
		if err := r.mayWarm(n.Mode, p); err != nil {
			return err
		}
		n.Warm = int(*in.WarmThroughputMiBps)
	}
	_, err = r.s.c.Catalogue.Create(r.ctx, n)
	return wordCreate(err, p)
}

// mayWarm refuses warm throughput where the service does: it is for on-demand streams of
// accounts with the throughput commitment.
func (r *request) mayWarm(m datastream.Mode, p place) error {
	if m != datastream.OnDemand {
		return awsjson.NewError("ValidationException", "WarmThroughputMiBps can only be set for streams in ON_DEMAND mode.")
	}
	if !r.s.c.Catalogue.Account(p.account, p.region).Committed {
		return awsjson.NewError("ValidationException", "WarmThroughputMiBps requires the minimum throughput billing commitment of account %s to be ENABLED.", p.account)
	}
	return nil
}
