//go:build !unix

package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup does nothing where processes have no groups.
func ownGroup(*exec.Cmd) {}

// hasGroups says that a command and all that it started can be signalled.
const hasGroups = false

// signalGroup ends p alone, and at once.
func signalGroup(p *os.Process, _ syscall.Signal) error { return p.Kill() }
