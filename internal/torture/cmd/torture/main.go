// Command torture runs the torture test for as long as you like:
//
//	go run ./internal/torture/cmd/torture -for 60s -seed 7
//	go run ./internal/torture/cmd/torture -for 60s -seed 7 -url redis://127.0.0.1:6379 -network
//
// It prints the schedule, then what the checks found, and exits with status 3 when
// a promise was broken.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/deedgo/deed/internal/lossfs"
	"github.com/deedgo/deed/internal/torture"
)

func main() {
	torture.Worker(nil)
	lossfs.Serve()
	length := flag.Duration("for", 15*time.Second, "how long faults go on")
	seed := flag.Uint64("seed", rand.Uint64N(1_000_000), "of the schedule and the workload")
	url := flag.String("url", "", "the bus, which no run has used before (default: a SQLite file in a new directory)")
	network := flag.Bool("network", false, "harm the connections to the bus too, which is on a server")
	lease := flag.Duration("lease", time.Second, "of the members; freezes last longer")
	upkeep := flag.Bool("upkeep", false, "redrive dead letters, sweep the topic and reset a group all the time")
	keep := flag.Bool("keep", false, "keep the directory with the records and databases")
	asJSON := flag.Bool("json", false, "print the result as JSON")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config := torture.Config{URL: *url, Network: *network, Seed: *seed, For: *length, Lease: *lease}
	if *upkeep {
		config.Load = torture.Upkeep
	}
	broken, err := run(ctx, config, *keep, *asJSON)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	case broken:
		os.Exit(3)
	}
}

func run(ctx context.Context, c torture.Config, keep, asJSON bool) (broken bool, err error) {
	if c.Dir, err = os.MkdirTemp("", "deed-torture-"); err != nil {
		return false, err
	}
	if keep {
		fmt.Fprintln(os.Stderr, "records are kept in", c.Dir)
	} else {
		defer os.RemoveAll(c.Dir)
	}
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	c.Command = []string{self}
	c.Say = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	result, err := torture.Run(ctx, c)
	if err != nil {
		return false, err
	}
	fmt.Fprint(os.Stderr, result.Explain())
	if asJSON {
		err = json.NewEncoder(os.Stdout).Encode(result)
	} else {
		_, err = fmt.Println(result)
	}
	if weak := result.Weak(); weak != "" && err == nil {
		err = fmt.Errorf("%s", weak)
	}
	return len(result.Broken()) > 0, err
}
