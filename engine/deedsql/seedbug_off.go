//go:build !seedbug

package deedsql

// seeded reports whether a bug was planted on purpose, by which the torture test
// proves that it can fail. There is none in this build.
func seeded(string) bool { return false }
