// Package records is the log of data records: shards, hash keys and sequence numbers,
// split and merge, retention, and reading from wherever a record is by now.
//
// A record is put into the lane of its stream and is visible once the lane has made it
// durable. The newest commits are kept in memory, the rest of what is not yet sealed is
// read from the lane, and sealed records from segments in the bucket. Thousands of shards
// share a lane: a shard is a few hundred bytes of memory, no file and no goroutine.
//
// A stream here is a short random id. Its name, its limits and who may use it belong to
// package streams/datastream, the wire to package api. The design, and what a crash
// leaves at each step, is docs/design/records.md.
package records
