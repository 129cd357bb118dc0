// Command announce shows events that are heard and not kept: sensors announce their
// readings on topics of their own, sensors.hall, sensors.kitchen.oven and so on, and
// programs listen to all that match a pattern. One of them is away for a while, and
// what it missed is counted. README.md walks through it.
//
//	go run ./examples/announce
//	go run ./examples/announce -bus redis+pubsub://localhost:6379
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
	"syscall"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/engine"
)

// [events]

// Reading is what a sensor announces. N counts its readings from 1.
type Reading struct {
	Sensor  string  `json:"sensor"`
	N       int     `json:"n"`
	Celsius float64 `json:"celsius"`
}

// Every sensor has a topic of its own, and the type belongs to all of them.
var (
	Sensors  = deed.NewPattern("sensors.*")
	Measured = deed.NewType(Sensors, "sensors.measured", 1, func(r Reading) string { return r.Sensor })
)

// [events]

var sensors = []string{"attic", "garden", "hall", "kitchen", "kitchen.oven"}

const (
	rounds = 10                    // of readings, in each of the three parts
	pause  = 20 * time.Millisecond // between rounds
)

func main() {
	busURL := flag.String("bus", "mem+pubsub:announce", "`URL` of the bus, such as redis+pubsub://localhost:6379")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := session(ctx, os.Stdout, *busURL); err != nil {
		fmt.Fprintln(os.Stderr, "announce:", err)
		os.Exit(1)
	}
}

// station is what announces: the sensors, over one bus.
type station struct {
	bus   *deed.Bus
	round int
}

// session is all of it: ten rounds with everybody, ten without the display, ten with
// everybody again.
func session(ctx context.Context, out io.Writer, busURL string) (err error) {
	bus, err := open(ctx, busURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	s := &station{bus: bus}
	thermostat, oven, display := newListener("thermostat", Sensors), newListener("oven-watch", deed.NewPattern("*.oven")),
		newListener("display", Sensors)
	all := []*listener{thermostat, oven, display}
	for _, l := range all {
		if err := l.start(ctx, busURL); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, l.stop()) }()
	}
	if err := s.part(ctx, all...); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d rounds heard by all. The display goes away.\n", s.round)
	if err := display.stop(); err != nil {
		return err
	}
	if err := s.part(ctx, thermostat, oven); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d rounds without it. It comes back.\n", rounds)
	if err := display.start(ctx, busURL); err != nil {
		return err
	}
	if err := s.part(ctx, all...); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d rounds heard by all again.\n\n", rounds)
	print(out, all)
	return nil
}

func open(ctx context.Context, busURL string) (*deed.Bus, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return engine.Open(ctx, busURL, &deed.Options{Source: "/announce", Logger: log})
}

// part waits until everybody who should listen does, lets the sensors announce, and
// waits until it has been heard.
func (s *station) part(ctx context.Context, listeners ...*listener) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.rollCall(ctx, listeners); err != nil {
		return err
	}
	for range rounds {
		s.round++
		if err := s.announce(ctx, s.round); err != nil {
			return err
		}
		time.Sleep(pause)
	}
	for _, l := range listeners {
		if err := l.await(ctx, s.round); err != nil {
			return fmt.Errorf("%s has not heard round %d: %w", l.name, s.round, err)
		}
	}
	return nil
}

// rollCall announces round 0, which does not count, until everybody has heard it. An
// engine that keeps nothing gives no other way to know that a listener is there.
func (s *station) rollCall(ctx context.Context, listeners []*listener) error {
	for _, l := range listeners {
		for !l.present() {
			if err := s.announce(ctx, 0); err != nil {
				return err
			}
			select {
			case <-time.After(pause):
			case <-l.ended:
				return l.stop()
			case <-ctx.Done():
				return fmt.Errorf("%s does not listen: %w", l.name, ctx.Err())
			}
		}
	}
	return nil
}

// announce publishes a reading of every sensor.
func (s *station) announce(ctx context.Context, n int) error {
	// [announce]
	drafts := make([]deed.Draft, len(sensors))
	for i, name := range sensors {
		topic := deed.NewTopic("sensors."+name, nil)
		drafts[i] = Measured.New(Reading{Sensor: name, N: n, Celsius: 18 + float64(i)}).To(topic)
	}
	return s.bus.Publish(ctx, drafts...)
	// [announce]
}
