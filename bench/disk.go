package main

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"time"
)

const (
	diskWrites = 1000
	diskBytes  = 4096
	diskFile   = 1 << 20
)

// measureDisk returns how long it takes to write a page durably, in place and at the
// end of a file that grows: what no durable system can be faster than.
func measureDisk(dir string, writes int) (inPlace, growing time.Duration, err error) {
	f, err := os.Create(filepath.Join(dir, "disk"))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	page := make([]byte, diskBytes)
	rand.Read(page) // never fails
	if _, err := f.Write(make([]byte, diskFile)); err != nil {
		return 0, 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, 0, err
	}
	time50 := func(offset func(i int) int64) (time.Duration, error) {
		took := make([]time.Duration, writes)
		for i := range took {
			began := time.Now()
			if _, err := f.WriteAt(page, offset(i)); err != nil {
				return 0, err
			}
			if err := syncData(f); err != nil {
				return 0, err
			}
			took[i] = time.Since(began)
		}
		return quantile(took, 0.5), nil
	}
	if inPlace, err = time50(func(i int) int64 { return int64(i*diskBytes) % diskFile }); err != nil {
		return 0, 0, err
	}
	growing, err = time50(func(i int) int64 { return diskFile + int64(i*diskBytes) })
	return inPlace, growing, err
}
