//go:build unix && !linux

package cli_test

import (
	"os"
	"syscall"
)

// watchMemory returns a function that tells the peak memory of an ended process.
func watchMemory(int) (peak func(*os.ProcessState) int64) {
	return func(s *os.ProcessState) int64 { return s.SysUsage().(*syscall.Rusage).Maxrss }
}
