//go:build !unix

package sqldb

import "os"

// Here processes wait for each other in SQLite alone.

func lockFile(*os.File) error { return nil }

func tryLockFile(*os.File) bool { return true }

func unlockFile(*os.File) {}
