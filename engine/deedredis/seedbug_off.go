//go:build !seedbug

package deedredis

// planted returns a script as it is. Only builds with the tag seedbug have bugs that are
// planted on purpose; with them the torture test proves that it can fail.
func planted(text string) string { return text }
