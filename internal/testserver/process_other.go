//go:build !linux

package testserver

import (
	"errors"
	"syscall"
)

// bound does nothing: only Linux can tie a process's life to ours.
func bound(syscall.Signal, bool) *syscall.SysProcAttr { return nil }

// give does nothing: servers run as the user that the test runs as.
func give(string) error { return nil }

// killAll leaves children to themselves.
func (p *process) killAll() { p.cmd.Process.Kill() }

func (p *process) freeze() error { return errors.New("only Linux can") }

func (p *process) thaw() error { return nil }

// keepPort does nothing: only on Linux is it known how.
func keepPort(int) func() { return nil }
