//go:build !linux

package redistest

import (
	"errors"
	"syscall"
)

// bound does nothing: only Linux can tie a process's life to ours.
func bound() *syscall.SysProcAttr { return nil }

// killAll leaves children to themselves.
func (p *process) killAll() { p.cmd.Process.Kill() }

func (p *process) freeze() error { return errors.New("only Linux can") }

func (p *process) thaw() error { return nil }

// keepPort does nothing: only on Linux is it known how.
func keepPort(int) func() { return nil }
