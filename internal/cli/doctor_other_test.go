//go:build !linux

package cli

// whoLocks is how doctor names whoever has a lock, where the system does not tell.
const whoLocks = "a process"
