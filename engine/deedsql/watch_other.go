//go:build !linux

package deedsql

import (
	"errors"
	"time"
)

// fileWrites are not told of here.
type fileWrites struct{}

func watchWrites(string) (*fileWrites, error) { return nil, errors.ErrUnsupported }

func (*fileWrites) wait(time.Duration) (bool, error) { return false, errors.ErrUnsupported }

func (*fileWrites) close() {}
