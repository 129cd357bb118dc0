//go:build unix

package driverkit

import (
	"errors"
	"syscall"
)

// processGone reports whether this machine has no process of that number.
func processGone(pid int) bool {
	return pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}
