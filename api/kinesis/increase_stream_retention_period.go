package kinesis

import (
	"errors"
	"time"

	"penstock/api/kinesis/shape"
	"penstock/streams/datastream"
)

// increaseStreamRetentionPeriod is KDS IncreaseStreamRetentionPeriod. It holds at once.
func increaseStreamRetentionPeriod(r *request, in *shape.IncreaseStreamRetentionPeriodInput) error {
	st, err := r.stream(in.StreamName, in.StreamARN, in.StreamId)
	if err != nil {
		return err
	}
	return setRetention(r, st, in.RetentionPeriodHours, true)
}

// setRetention changes the retention in the one direction that the operation is for.
func setRetention(r *request, st *datastream.Stream, hours int32, longer bool) error {
	const least, most = int32(datastream.RetentionMin / time.Hour), int32(datastream.RetentionMax / time.Hour)
	switch {
	case hours < least:
		return invalidArgument("Minimum allowed retention period is %d hours. Requested retention period (%d hours) is too short.", least, hours)
	case hours > most:
		return invalidArgument("Maximum allowed retention period is %d hours. Requested retention period (%d hours) is too long.", most, hours)
	}
	err := st.SetRetention(r.ctx, time.Duration(hours)*time.Hour, longer)
	var refusal *datastream.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != datastream.RetentionWrong {
		return refused(err, st)
	}
	than, use := "shorter", "DecreaseRetentionPeriod"
	if !longer {
		than, use = "longer", "IncreaseRetentionPeriod"
	}
	return invalidArgument("Requested retention period (%d hours) for stream %s can not be %s than existing retention period (%d hours). Use %s API.",
		hours, st.Name(), than, refusal.Count, use)
}
