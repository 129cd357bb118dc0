// Command torture runs the torture test for as long as you like, on servers of its own:
//
//	go run ./internal/torture/cmd/torture -engine all -for 60s -json out.json
//
// It prints a line for each engine. It exits with status 1 when a promise was broken, when
// the faults were too weak to prove anything, or when a run could not be carried out.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/lossfs"
	"github.com/deedgo/deed/internal/testenv"
	"github.com/deedgo/deed/internal/testserver"
	"github.com/deedgo/deed/internal/torture"
)

// options are what the flags say.
type options struct {
	engine                                  string
	url, jsonPath                           string
	length, lease, gap                      time.Duration
	seed                                    uint64
	network, upkeep, keep, power, allowWeak bool
	together                                bool
}

func main() {
	torture.Worker(nil)
	lossfs.Serve()
	var o options
	flag.StringVar(&o.engine, "engine", "sqlite", "all, or some of "+strings.Join(torture.EngineNames(), ","))
	flag.StringVar(&o.url, "url", "", "torture this bus, which no run has used before, instead of an engine of its own")
	flag.DurationVar(&o.length, "for", 60*time.Second, "how long faults go on")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1_000_000), "of the schedule and the workload")
	flag.BoolVar(&o.network, "network", false, "with -url: harm the connections to the bus too, which is on a server")
	flag.DurationVar(&o.lease, "lease", time.Second, "of the members; freezes last longer")
	flag.DurationVar(&o.gap, "gap", 120*time.Millisecond, "between two faults, on average")
	flag.BoolVar(&o.power, "power", false, "cut the power and fill the disk instead of all else; wants root on Linux")
	flag.BoolVar(&o.together, "together", false, "keep effects in the database of the bus, if it is one")
	flag.BoolVar(&o.upkeep, "upkeep", false, "redrive dead letters, sweep the topic and reset a group all the time")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory with the records and databases")
	flag.BoolVar(&o.allowWeak, "weak", false, "do not fail for too few kills or redeliveries")
	flag.StringVar(&o.jsonPath, "json", "", "write the results to this file, as an array")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := o.runAll(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// runAll runs one engine after the other, also when one fails.
func (o options) runAll(ctx context.Context) error {
	engines := strings.Split(o.engine, ",")
	switch {
	case o.engine == "all" && o.power:
		engines = torture.SturdyNames()
	case o.engine == "all":
		engines = torture.EngineNames()
	}
	if o.url != "" {
		engines = []string{o.url}
	}
	results := []*torture.Result{}
	var errs []error
	for _, engine := range engines {
		result, err := o.run(ctx, engine)
		if result != nil {
			results = append(results, result)
			fmt.Fprint(os.Stderr, result.Explain())
			fmt.Println(result)
			err = errors.Join(err, o.verdict(result))
		}
		if err != nil {
			say("%s has failed: %v", engine, err) // now, and again at the end
			errs = append(errs, fmt.Errorf("%s: %w", engine, err))
		}
	}
	if o.jsonPath != "" {
		errs = append(errs, writeJSON(o.jsonPath, results))
	}
	return errors.Join(errs...)
}

// run runs one engine, with a server and a directory of its own. There may be a result
// beside the error.
func (o options) run(ctx context.Context, engine string) (result *torture.Result, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	err = testenv.Program(ctx, say, func(t testing.TB) {
		c := torture.Config{
			URL: o.url, Network: o.network, Together: o.together, Seed: o.seed, For: o.length, Lease: o.lease, Gap: o.gap,
			Load: torture.Hard, Command: []string{self}, Say: say,
		}
		if o.upkeep {
			c.Load = torture.Upkeep
		}
		if c.Dir = t.TempDir(); o.keep {
			if c.Dir, err = os.MkdirTemp("", "deed-torture-"); err != nil {
				t.Fatal(err)
			}
			say("records are kept in %s", c.Dir)
		}
		if o.power {
			o.cutPower(t, &c)
		}
		if o.url == "" {
			c.Provide(t, engine)
		}
		if result, err = torture.Run(ctx, c); err != nil {
			t.Fatal(err)
		}
	})
	return result, err
}

// cutPower has all databases on a disk that forgets, and is nothing but forgetful and full.
func (o options) cutPower(t testing.TB, c *torture.Config) {
	disk, err := lossfs.Mount(testserver.Home(t), c.Command)
	testenv.Require(t, "root on Linux with /dev/fuse, to cut the power", err)
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	c.Disk, c.Gap, c.Faults = disk, 10*o.gap, torture.PowerFaults
}

// verdict is an error when a run broke a promise or proved too little.
func (o options) verdict(r *torture.Result) error {
	if broken := r.Broken(); len(broken) > 0 {
		return fmt.Errorf("promises were broken: %s", strings.Join(broken, ", "))
	}
	if weak := r.Weak(); weak != "" {
		return errors.New(weak)
	}
	if o.allowWeak || o.power || o.upkeep {
		return nil
	}
	// A minute's kills and redeliveries, and of a shorter run its share.
	minutes := o.length.Minutes()
	if kills, want := r.Kills(), int(100*minutes); kills < want {
		return fmt.Errorf("%d kills prove too little, want %d (make -gap shorter)", kills, want)
	}
	if want := int(1000 * minutes); r.Redelivered < want {
		return fmt.Errorf("%d redeliveries prove too little, want %d (make -gap shorter)", r.Redelivered, want)
	}
	return nil
}

func writeJSON(path string, results []*torture.Result) error {
	text, err := json.MarshalIndent(results, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
