//go:build !linux

package redistest

import (
	"errors"
	"syscall"
)

// bound does nothing: only Linux can tie a process's life to ours.
func bound() *syscall.SysProcAttr { return nil }

func (p *process) freeze() error { return errors.New("only Linux can") }

func (p *process) thaw() error { return nil }
