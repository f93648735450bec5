//go:build unix

package loadgen

import "syscall"

// OwnCPU is the processor time of this process, in s.
func OwnCPU() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
