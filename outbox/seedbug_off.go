//go:build !seedbug

package outbox

// seeded reports whether a bug is planted on purpose. Only builds with the tag
// seedbug have any; with them the torture test proves that it can fail.
func seeded(string) bool { return false }
