package main

import (
	"context"
	"fmt"
	"time"

	"penstock/api/kinesis"
	"penstock/records"
	"penstock/streams/datastream"
)

// What shard_limits and call_limits can be: as the service has them, or none.
const (
	limitsAWS = "aws"
	limitsOff = "off"
)

// openDataStreams opens the catalogue of data streams and the log of their records.
func (d *daemon) openDataStreams(ctx context.Context) (err error) {
	log := d.log.With("component", "data streams")
	d.data, err = datastream.Open(ctx, datastream.Config{
		Meta: d.meta, Sealer: d.auth, Logger: log, Registerer: d.registry,
		NoLimits: d.c.DataStreams.ShardLimits == limitsOff, ShardLimit: d.c.DataStreams.ShardQuota, StateDelay: time.Duration(d.c.DataStreams.StateDelay),
	})
	if err != nil {
		return err
	}
	d.records, err = records.Open(ctx, records.Config{
		FS: d.files, Dir: d.dir, Bucket: d.bucket, Meta: d.meta, Keys: d.data, Retention: d.data.Retention,
		Lanes: d.c.DataStreams.Lanes, TailBytes: int64(d.c.DataStreams.Tail),
		Logger: d.log.With("component", "records"), Registerer: d.registry,
	})
	if err != nil {
		return err
	}
	d.data.Attach(d.records)
	return nil
}

// openKinesis opens the AWS door to data streams.
func (d *daemon) openKinesis(ctx context.Context) (*kinesis.Server, error) {
	return kinesis.New(ctx, kinesis.Config{Auth: d.auth, Catalogue: d.data, Logger: d.log.With("component", "kinesis"), Registerer: d.registry,
		CallLimits: d.c.DataStreams.CallLimits == limitsAWS})
}

// validateData names the first setting of data streams that cannot be.
func (c *config) validateData() error {
	switch s := c.DataStreams; {
	case s.ShardLimits != limitsAWS && s.ShardLimits != limitsOff:
		return fmt.Errorf("data_streams.shard_limits %q: not aws or off", s.ShardLimits)
	case s.CallLimits != limitsAWS && s.CallLimits != limitsOff:
		return fmt.Errorf("data_streams.call_limits %q: not aws or off", s.CallLimits)
	case s.ShardQuota < 1:
		return fmt.Errorf("data_streams.shard_quota %d: less than 1", s.ShardQuota)
	case s.Lanes < 1 || s.Lanes > 64:
		return fmt.Errorf("data_streams.lanes %d: not between 1 and 64", s.Lanes)
	case s.Tail < 1<<20:
		return fmt.Errorf("data_streams.tail %d: less than 1MiB", s.Tail)
	case s.StateDelay < 0 || time.Duration(s.StateDelay) > time.Minute:
		return fmt.Errorf("data_streams.state_delay %v: not between 0s and 1m", time.Duration(s.StateDelay))
	}
	return nil
}
