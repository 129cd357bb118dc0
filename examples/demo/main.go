// Command demo shows deed at work on one machine, with nothing installed: a week of
// real earthquakes through three groups, dead letters and their redrive, and then a
// shop of four services of which two are killed on the way.
//
//	go run ./examples/demo
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
	"github.com/deedgo/deed/examples/data"
	"github.com/deedgo/deed/examples/orders/system"
)

func main() {
	if err := start(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func start(args []string) error {
	if system.IsService(args) { // the shop starts this program again, once a service
		return system.Serve(args)
	}
	flags := flag.NewFlagSet("demo", flag.ExitOnError)
	orders := flags.Int("orders", 300, "how many orders the shop gets")
	busURL := flags.String("bus", "", "`URL` of the bus (default SQLite files in temporary folders)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Stdout, *orders, *busURL)
}

// run tells the whole story, and fails when anything in it is not as it should be.
func run(ctx context.Context, out io.Writer, orders int, busURL string) error {
	if err := earthquakes(ctx, out, busURL); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	step(out, 5, "A shop: four services, four databases, nothing shared but events, two kill -9")
	if err := system.Run(ctx, system.Options{Orders: orders, Bus: busURL, Out: out}); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintln(out, "\nNothing was lost and nothing was done twice.")
	return nil
}

func earthquakes(ctx context.Context, out io.Writer, busURL string) (err error) {
	feed, err := readFeed(data.Earthquakes())
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "deed-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if busURL == "" {
		busURL = "sqlite:" + filepath.Join(dir, "demo.db")
	}
	bus, err := engine.Open(ctx, busURL, &deed.Options{
		Logger: slog.New(slog.DiscardHandler), // it would report the dead letters, of which the story tells
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()

	d := &demo{out: out, bus: bus, feed: feed, view: newView(), quality: newChecker(), triage: newChecker()}
	for _, do := range []func(context.Context) error{d.publish, d.read, d.deadLetters, d.redrive} {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// demo is the first part of the story, a method a step.
type demo struct {
	out  io.Writer
	bus  *deed.Bus
	feed []Quake

	view            *view
	quality, triage *checker
}
