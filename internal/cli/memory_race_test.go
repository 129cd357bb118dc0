//go:build unix && race

package cli_test

// The race detector takes several times as much memory and time, so that under it
// only the answers are checked.
const (
	memory     = 1 << 30
	largeInput = 16 << 20
)
