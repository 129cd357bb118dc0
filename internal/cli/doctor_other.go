//go:build !linux

package cli

import "errors"

func diskOf(string) (disk, error) { return disk{}, errors.ErrUnsupported }

func lockHolder(string) string { return "a process" }
