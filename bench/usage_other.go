//go:build !linux

package main

import (
	"os"
	"time"
)

// processCPU is not measured here: the columns stay empty.
func processCPU() time.Duration { return 0 }

// peakMB is not measured here.
func peakMB() float64 { return 0 }

// syncData makes what was written to f durable.
func syncData(f *os.File) error { return f.Sync() }
