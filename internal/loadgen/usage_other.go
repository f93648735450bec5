//go:build !unix

package loadgen

// OwnCPU is the processor time of this process, in s; 0: it is not known here.
func OwnCPU() float64 { return 0 }
