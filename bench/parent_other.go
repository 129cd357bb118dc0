//go:build !linux

package main

import "syscall"

// endsWithParent is for Linux only: elsewhere a server outlives a killed sample.
func endsWithParent() *syscall.SysProcAttr { return nil }
