//go:build unix && !linux

package cli_test

// runtimeCountsKiB says in what the system reports the memory of a process.
const runtimeCountsKiB = false
