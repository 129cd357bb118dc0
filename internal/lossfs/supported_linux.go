package lossfs

import (
	"errors"
	"os"
)

func supported() error {
	if os.Getuid() != 0 {
		return errors.New("only root may mount")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
