//go:build !unix

package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup does nothing where processes have no groups.
func ownGroup(*exec.Cmd) {}

// signalGroup ends p alone, and at once.
func signalGroup(p *os.Process, _ syscall.Signal) error { return p.Kill() }
