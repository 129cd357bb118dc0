//go:build unix && !race

package cli_test

// memory is what a process may take, whatever passes through it: largeInput does
// not fit. It includes the test binary and SQLite's cache.
const (
	memory     = 100 << 20
	largeInput = 128 << 20
)
