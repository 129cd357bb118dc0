//go:build seedbug

package outbox

import "os"

var seedbug = os.Getenv("DEED_SEEDBUG")

// seeded reports whether the named bug is planted on purpose, by DEED_SEEDBUG.
func seeded(name string) bool { return name == seedbug }
