// Command bench measures deed beside a raw client and its peers, in one run on one
// machine. Each sample runs in a process of its own, so that memory and CPU are that
// sample's alone, and the cases take turns, so that a neighbour's noise falls on all
// of them. README.md has the numbers of a real run and how to read them.
//
//	go run .                   # everything, with growth to a million events
//	go run . -quick            # the same in small, to see that it works
//	go run . -only deed/sqlite # the cases whose name contains it
//	go run . -memory           # memory stays bounded, or exit 1
//	go run . -idle             # waiting costs next to nothing, or exit 1
//	go run . -large 10000000   # Postgres is as fast with that many events in the log, or exit 1
//	go run . -snapshot 1m      # and with a snapshot that is open for so long
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings are the command line's.
type settings struct {
	quick  bool
	rounds int
	only   string
	dir    string
	json   string
	grow   int
	memory bool
	idle   bool
	scale  float64

	large    int
	snapshot time.Duration

	sample  string // JSON of a request: this process takes one sample
	profile string // where that sample writes its CPU profile
}

func main() {
	var s settings
	flag.BoolVar(&s.quick, "quick", false, "few events, to see that everything works; the numbers say nothing")
	flag.IntVar(&s.rounds, "rounds", 5, "how often every case is measured")
	flag.StringVar(&s.only, "only", "", "measure the cases whose name contains one of these, with commas between")
	flag.StringVar(&s.dir, "dir", ".", "where files are written for the time of the run; its disk is measured")
	flag.StringVar(&s.json, "json", "bench.json", "write every sample to this file")
	flag.IntVar(&s.grow, "grow", 1_000_000, "events that are in the log before the growth case starts")
	flag.BoolVar(&s.memory, "memory", false, "check that memory is bounded, instead of measuring speed")
	flag.BoolVar(&s.idle, "idle", false, "check that a member that waits uses no processor and is woken soon")
	flag.IntVar(&s.large, "large", 0, "check that Postgres is as fast with so many events in its log; MariaDB with -only mysql")
	flag.DurationVar(&s.snapshot, "snapshot", 0, "check that Postgres is as fast while a snapshot is open for so long")
	flag.Float64Var(&s.scale, "scale", 1, "with -memory and -idle: multiplies the number of events, and the time")
	flag.StringVar(&s.profile, "profile", "", "write CPU profiles of the cases to files with this prefix")
	flag.StringVar(&s.sample, "sample", "", "take one sample (used by bench itself)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, &s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, s *settings) error {
	if flag.NArg() > 0 {
		return fmt.Errorf("%q: there are flags only, see -help", flag.Arg(0))
	}
	if s.sample != "" {
		return answer(ctx, s)
	}
	if s.rounds < 1 || s.grow < 0 || s.scale <= 0 || s.large < 0 || s.snapshot < 0 {
		return errors.New("-rounds, -grow, -scale, -large and -snapshot are positive")
	}
	dir, err := os.MkdirTemp(s.dir, "data-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.memory {
		return checkMemory(ctx, s, dir)
	}
	if s.idle {
		return checkIdle(ctx, s, dir)
	}
	if s.large > 0 {
		return checkLarge(ctx, s, dir)
	}
	if s.snapshot > 0 {
		return checkSnapshot(ctx, s, dir)
	}
	return measureAll(ctx, s, dir)
}
