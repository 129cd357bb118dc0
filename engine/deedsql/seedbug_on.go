//go:build seedbug

package deedsql

import "os"

// seeded reports whether the bug called name is planted: the build tag seedbug and
// DEED_SEEDBUG=name together, by which the torture test proves that it can fail.
func seeded(name string) bool { return os.Getenv("DEED_SEEDBUG") == name }
