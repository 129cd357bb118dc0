package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is everything that a run measured.
type result struct {
	Date    time.Time `json:"date"`
	Machine machine   `json:"machine"`
	Quick   bool      `json:"quick,omitempty"`
	// Interrupted says that the last round is not complete.
	Interrupted bool          `json:"interrupted,omitempty"`
	Grow        int           `json:"grow"`
	Disk        []diskSample  `json:"disk"`
	Load        []string      `json:"load"` // of the machine, before each round
	Took        time.Duration `json:"took_ns"`
	Cases       []*benchCase  `json:"cases"`
}

type diskSample struct {
	InPlace time.Duration `json:"in_place_p50_ns"`
	Growing time.Duration `json:"growing_p50_ns"`
}

// machine is what numbers depend on.
type machine struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	System   string            `json:"system"`
	Go       string            `json:"go"`
	Versions map[string]string `json:"versions"`
}

// measureAll takes samples of all cases in turn, round by round, and prints what
// came of it.
func measureAll(ctx context.Context, s *settings, dir string) error {
	writes := diskWrites
	if s.quick {
		writes /= 20
		s.grow = min(s.grow, 20_000)
		s.rounds = 1
	}
	out := &result{Date: time.Now(), Machine: describe(), Quick: s.quick, Grow: s.grow, Cases: cases(s)}
	if len(out.Cases) == 0 {
		return fmt.Errorf("-only %q fits no case", s.only)
	}
	if slices.ContainsFunc(out.Cases, func(c *benchCase) bool { return c.grown }) {
		fmt.Fprintf(os.Stderr, "filling a log with %d events\n", s.grow)
		if err := grow(ctx, s, dir); err != nil {
			return err
		}
	}
	err := out.measure(ctx, s, dir, writes)
	if err != nil && ctx.Err() == nil {
		return err
	}
	out.Interrupted = ctx.Err() != nil
	out.Took = time.Since(out.Date)
	text, err := json.MarshalIndent(out, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.json, append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Print(out.markdown())
	return err
}

// measure goes through the cases, round by round. What was measured before an
// interrupt stands.
func (r *result) measure(ctx context.Context, s *settings, dir string, writes int) error {
	for round := range s.rounds {
		r.Load = append(r.Load, loadAverage())
		inPlace, growing, err := measureDisk(dir, writes)
		if err != nil {
			return err
		}
		r.Disk = append(r.Disk, diskSample{inPlace, growing})
		for i, c := range r.Cases {
			fmt.Fprintf(os.Stderr, "round %d of %d, case %d of %d: %s\n", round+1, s.rounds, i+1, len(r.Cases), c.Name)
			if err := c.measure(ctx, s, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func describe() machine {
	m := machine{
		CPU: "unknown", Cores: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Versions: make(map[string]string),
	}
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(info)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
			}
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			switch d.Path {
			case "modernc.org/sqlite", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go",
				"github.com/redis/rueidis", "github.com/redis/go-redis/v9", "github.com/hibiken/asynq",
				"github.com/ThreeDotsLabs/watermill-redisstream",
				"github.com/ThreeDotsLabs/watermill", "google.golang.org/protobuf":
				m.Versions[d.Path] = d.Version
			}
		}
	}
	return m
}

// cpuOf is the processor time that another process has used, 0 where the system does
// not tell.
func cpuOf(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	const user, system, tick = 11, 12, 10 * time.Millisecond
	if len(fields) <= system {
		return 0
	}
	u, _ := strconv.Atoi(fields[user])
	k, _ := strconv.Atoi(fields[system])
	return time.Duration(u+k) * tick
}

// loadAverage tells who else was at work.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
