//go:build !linux

package lossfs

import (
	"errors"
	"io"
)

var errPlatform = errors.New("this is not Linux")

func supported() error { return errPlatform }

func serve(string, io.Reader, io.Writer) error { return errPlatform }
