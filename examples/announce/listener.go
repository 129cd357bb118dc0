package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// listener is a program that hears readings. Their numbers tell it what it missed.
type listener struct {
	name  string
	on    *deed.Topic // the pattern
	of    int         // sensors that it matches
	end   func() error
	ended chan struct{} // closed when it listens no more

	mu     sync.Mutex
	here   bool
	heard  int
	missed int
	last   map[string]int // number by sensor
}

func newListener(name string, on *deed.Topic) *listener {
	l := &listener{name: name, on: on, end: func() error { return nil }, last: make(map[string]int)}
	for _, sensor := range sensors {
		if driver.MatchTopic(on.Name(), "sensors."+sensor) {
			l.of++
		}
	}
	return l
}

// start listens on a bus of its own, as another process would.
func (l *listener) start(ctx context.Context, busURL string) error {
	bus, err := open(ctx, busURL)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var failed error
	var running sync.WaitGroup
	l.ended = make(chan struct{})
	running.Go(func() {
		defer close(l.ended)
		failed = l.run(ctx, bus)
	})
	l.end = sync.OnceValue(func() error {
		cancel()
		running.Wait()
		l.setHere(false)
		return errors.Join(failed, bus.Close())
	})
	return nil
}

func (l *listener) run(ctx context.Context, bus *deed.Bus) error {
	measured := deed.NewType(l.on, Measured.Name(), Measured.Version(), func(r Reading) string { return r.Sensor })
	// [listen]
	sub := deed.Listen(l.name, nil,
		deed.On(measured, func(_ context.Context, e deed.Received[Reading]) error {
			l.hear(e.Topic, e.Data)
			return nil
		}))
	return bus.Run(ctx, sub)
	// [listen]
}

func (l *listener) stop() error { return l.end() }

// hear counts a reading, and those of its sensor that should have come before.
func (l *listener) hear(topic string, r Reading) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.here = true
	if r.N == 0 { // the roll call
		return
	}
	l.heard++
	l.missed += r.N - l.last[topic] - 1
	l.last[topic] = r.N
}

func (l *listener) setHere(here bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.here = here
}

func (l *listener) present() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.here
}

// await returns when every sensor that it hears has come to reading n.
func (l *listener) await(ctx context.Context, n int) error {
	for !l.reached(n) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (l *listener) reached(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, last := range l.last {
		if last < n {
			return false
		}
	}
	return len(l.last) == l.of
}

// print shows what everybody heard.
func print(out io.Writer, all []*listener) {
	const row = "%-12s%-12s%8v%8v\n"
	fmt.Fprintf(out, row, "listener", "hears", "heard", "missed")
	for _, l := range all {
		l.mu.Lock()
		fmt.Fprintf(out, row, l.name, l.on.Name(), l.heard, l.missed)
		l.mu.Unlock()
	}
}
