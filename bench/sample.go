package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"time"
)

// request asks a process for one sample.
type request struct {
	System string `json:"system"`
	Dir    string `json:"dir"`
	// Closed loop: so many publishers publish batches of a size, each the next one
	// when the last was accepted.
	Publishers int `json:"publishers,omitempty"`
	Batch      int `json:"batch,omitempty"`
	Events     int `json:"events,omitempty"`
	// Open loop: events come at a rate, whether the system keeps up or not.
	Rate    int     `json:"rate,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	// Task is a step that is not a measurement of speed, see memory.go.
	Task string `json:"task,omitempty"`
}

// sample is what one process measured.
type sample struct {
	Events    int           `json:"events"`
	PerSecond float64       `json:"per_second,omitempty"`
	CPU       float64       `json:"cpu_us_per_event,omitempty"`
	ServerCPU float64       `json:"server_cpu_us_per_event,omitempty"`
	Allocs    float64       `json:"allocs_per_event,omitempty"`
	Bytes     float64       `json:"alloc_bytes_per_event,omitempty"`
	PeakMB    float64       `json:"peak_mb,omitempty"`
	P50       time.Duration `json:"p50_ns,omitempty"`
	P99       time.Duration `json:"p99_ns,omitempty"`
	P999      time.Duration `json:"p999_ns,omitempty"`
	InTime    float64       `json:"in_time_percent,omitempty"`
	// Late is how late the generator handed events over, at the 99th percentile:
	// the part of a latency that is not the system's.
	Late  time.Duration  `json:"late_p99_ns,omitempty"`
	Count map[string]int `json:"count,omitempty"` // of tasks
}

// ask takes a sample in a process of its own.
func ask(ctx context.Context, r request, profile string) (sample, error) {
	var out sample
	self, err := os.Executable()
	if err != nil {
		return out, err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return out, err
	}
	cmd := exec.CommandContext(ctx, self, "-sample", string(text), "-profile", profile)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = os.Stderr
	answer, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w", r.System, err)
	}
	return out, json.Unmarshal(answer, &out)
}

// answer takes the sample that the command line asks for and prints it.
func answer(ctx context.Context, s *settings) error {
	var r request
	if err := json.Unmarshal([]byte(s.sample), &r); err != nil {
		return err
	}
	if s.profile != "" {
		end, err := startProfiles(s.profile)
		if err != nil {
			return err
		}
		defer end()
	}
	take := closedLoop
	switch {
	case r.Task != "":
		take = doTask
	case r.Rate > 0:
		take = openLoop
	}
	out, err := take(ctx, r)
	if err != nil {
		return err
	}
	out.PeakMB = peakMB()
	return json.NewEncoder(os.Stdout).Encode(out)
}

// meter measures what this process uses from its start on.
type meter struct {
	start  time.Time
	server func() time.Duration
	served time.Duration
	cpu    time.Duration
	mem    runtime.MemStats
}

func startMeter(s *started) *meter {
	runtime.GC() // what was set up is nobody's cost
	m := &meter{server: s.serverCPU}
	if m.server == nil {
		m.server = func() time.Duration { return 0 }
	}
	runtime.ReadMemStats(&m.mem)
	m.served = m.server()
	m.cpu, m.start = processCPU(), time.Now()
	return m
}

// read returns the costs of so many events.
func (m *meter) read(events int) sample {
	took, cpu, served := time.Since(m.start), processCPU()-m.cpu, m.server()-m.served
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	n := float64(events)
	return sample{
		Events: events, PerSecond: n / took.Seconds(), CPU: float64(cpu.Nanoseconds()) / 1e3 / n,
		ServerCPU: float64(served.Nanoseconds()) / 1e3 / n,
		Allocs:    float64(now.Mallocs-m.mem.Mallocs) / n, Bytes: float64(now.TotalAlloc-m.mem.TotalAlloc) / n,
	}
}

// startProfiles records where processor time and memory go, until the function that
// it returns writes PREFIX.cpu and PREFIX.mem.
func startProfiles(prefix string) (end func() error, err error) {
	const everyBytes = 64 << 10 // fine enough for costs per event, and cheap
	runtime.MemProfileRate = everyBytes
	cpu, err := os.Create(prefix + ".cpu")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		cpu.Close()
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		err := cpu.Close()
		mem, createErr := os.Create(prefix + ".mem")
		if createErr != nil {
			return errors.Join(err, createErr)
		}
		err = errors.Join(err, pprof.Lookup("allocs").WriteTo(mem, 0))
		return errors.Join(err, mem.Close())
	}, nil
}
