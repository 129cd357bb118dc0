//go:build !unix && !windows

package sqldb

import "os"

// Here processes wait for each other in SQLite alone.

func lockFile(*os.File) error { return nil }

func tryLockFile(*os.File) (bool, error) { return true, nil }

func unlockFile(*os.File) {}
