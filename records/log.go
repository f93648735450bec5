package records

import "time"

// Record is one record as it was put. Key and Data are views of memory that is shared
// with other readers: they stay valid and are not to be modified.
type Record struct {
	Seq     Seq
	Arrival time.Time // to the millisecond; never before that of the record before it
	Key     string
	Data    []byte
	Sealed  bool // it was put while the stream was encrypted
}

// Input is a record to put.
type Input struct {
	Key  string
	Hash HashKey // HashOf(Key), or what the client asked for
	Data []byte  // free again when Put returns
	// After asks for a greater number than this; zero: none. Numbers of a shard always
	// rise, so it holds by itself for a number that this stream gave.
	After Seq
}

// Placed is where a record went, or why it was not put.
type Placed struct {
	Shard ShardID
	Seq   Seq
	Err   error // fault.Throttled: the gate refused it
}

// Gate says whether records of together so many bytes (data and keys) may go into shard
// now, and counts them if so. It is asked under no lock, one record at a time.
type Gate func(shard ShardID, records, bytes int) bool

// Page is what Read returns. Its slices are used again by the next Read into it; what the
// records point to is not.
type Page struct {
	Records []Record
	Next    Position      // where the next Read goes on
	Ended   bool          // the shard is closed and there is nothing behind Next
	Behind  time.Duration // how far Next is behind the newest: 0 when it is there
	// Children are the shards that go on where this one ended; only with Ended.
	Children []Shard
	spare    []Shard
}
