package fragments

import "time"

// Keep is a stretch of a log that outlives its retention.
type Keep struct {
	Start time.Time // server clock
	End   time.Time // server clock; zero: it goes on
	Until time.Time // when it ends to hold; zero: never
}

// Policy is what a log keeps. The zero value is everything, for ever.
type Policy struct {
	Age   time.Duration // 0: no limit of age
	Bytes int64         // 0: no limit of size
	// Keeps are sorted by Start and may overlap. Nobody changes them after they are handed
	// out; a policy that hands out the same slice again is not looked through again.
	Keeps []Keep
}
