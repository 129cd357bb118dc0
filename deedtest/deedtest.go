// Package deedtest helps to test services that are built with deed.
//
// [New] gives a test a bus of its own, in memory unless it says otherwise. [Env.Start]
// runs the service's subscriptions and outboxes on it until the test ends, and
// [Env.Settle] returns when everything that was caused has been done, so that a test
// needs no sleeps:
//
//	env := deedtest.New(t, nil)
//	env.Start(billing, box)
//	env.Publish(Created.New(order))
//	env.Settle()
//	invoiced := deedtest.Events(env, Invoiced)
//
// Inside a bubble of testing/synctest retries and delays take no time.
package deedtest

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine/deedmem"
	"github.com/deedgo/deed/engine/deedsql"
)

// Options configure an Env. The zero value is the default.
type Options struct {
	// Bus are the bus's options. Left empty, Source is "/test", Drain 2 s, and the
	// Logger writes warnings to the test's log.
	Bus deed.Options
	// SQLite puts the bus into an SQLite file in a temporary directory.
	SQLite bool
	// Conn puts the bus on any open engine, which the Env closes. Nobody else should
	// publish there: Settle waits for all of its groups that have members.
	Conn driver.Conn
	// Twice has handlers called twice for every event, as they may be when a process
	// dies: whatever a group has handled, and its progress not stored, comes again
	// from the first event on, once. A handler that is safe leaves the same behind as
	// without this.
	Twice bool
	// Timeout is how long Settle waits. Zero means 30 s.
	Timeout time.Duration
}

func (o Options) withDefaults(t testing.TB) Options {
	if o.Bus.Source == "" {
		o.Bus.Source = "/test"
	}
	if o.Bus.Drain == 0 {
		o.Bus.Drain = 2 * time.Second
	}
	if o.Bus.Logger == nil {
		o.Bus.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	return o
}

// Env is a bus for one test and what runs on it. Its methods that can fail end the
// test, so they are for the test's own goroutine.
type Env struct {
	// Bus is what the service under test is given.
	Bus *deed.Bus

	t       testing.TB
	timeout time.Duration
	conn    *conn
	groups  driver.Groups
	letters driver.Letters
	tries   tries

	mu       sync.Mutex
	outboxes []outbox
	ended    error // why a runner ended early
}

// New returns a bus that ends with the test. A nil opts means defaults.
func New(t testing.TB, opts *Options) *Env {
	t.Helper()
	if opts == nil {
		opts = &Options{}
	}
	o := opts.withDefaults(t)
	inner, err := open(t, &o)
	if err != nil {
		t.Fatalf("deedtest: %v", err)
	}
	e := &Env{t: t, timeout: o.Timeout, tries: tries{of: make(map[place]try)}}
	var hasGroups, hasLetters bool
	e.groups, hasGroups = driver.As[driver.Groups](inner)
	e.letters, hasLetters = driver.As[driver.Letters](inner)
	if !hasGroups || !hasLetters {
		inner.Close()
		t.Fatalf("deedtest: %s does not tell what its groups have done, so Settle cannot know", inner.Features().Engine)
	}
	o.Bus.Middleware = append([]deed.Middleware{e.tries.note}, o.Bus.Middleware...)
	e.conn = &conn{Conn: inner, twice: o.Twice, open: make(map[reading]int)}
	e.Bus, err = deed.New(e.conn, &o.Bus)
	if err != nil {
		inner.Close()
		t.Fatalf("deedtest: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Bus.Close(); err != nil {
			t.Errorf("deedtest: close the bus: %v", err)
		}
	})
	return e
}

func open(t testing.TB, o *Options) (driver.Conn, error) {
	switch {
	case o.Conn != nil && o.SQLite:
		return nil, fmt.Errorf("Options has both Conn and SQLite (set one)")
	case o.Conn != nil:
		return o.Conn, nil
	case o.SQLite:
		return deedsql.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "bus.db"), nil)
	}
	return deedmem.Open(t.Context(), "mem:", nil)
}

// outbox is a runner that knows what it has not sent yet.
type outbox interface {
	Pending(ctx context.Context) (int, error)
}

// dueOutbox tells apart what is delayed, as *outbox.Outbox does.
type dueOutbox interface {
	Due(ctx context.Context) (int, error)
}

// Start runs subscriptions, outboxes and other runners until the test ends or stop
// is called. It returns when the subscriptions have joined their groups, so that
// Settle waits for them. A runner that fails fails the test. A runner with a method
// Pending(context.Context) (int, error) is asked by Settle what it still has to do.
func (e *Env) Start(runners ...deed.Runner) (stop func()) {
	e.t.Helper()
	// Each runner gets a Run of its own, so that it is known which of them has joined.
	// As in Bus.Run, the others stop after the subscriptions.
	subsCtx, stopSubs := context.WithCancel(context.Background())
	restCtx, stopRest := context.WithCancel(context.Background())
	var subs, rest sync.WaitGroup
	var joining []chan struct{}
	var started []outbox
	for _, r := range runners {
		if _, ok := r.(*deed.Subscription); !ok {
			if o, ok := r.(outbox); ok {
				started = append(started, o)
			}
			rest.Go(func() { e.run(restCtx, r) })
			continue
		}
		joined := make(chan struct{})
		done := sync.OnceFunc(func() { close(joined) })
		joining = append(joining, joined)
		subs.Go(func() {
			defer done()
			e.run(context.WithValue(subsCtx, joinedKey{}, done), r)
		})
	}
	e.mu.Lock()
	e.outboxes = append(e.outboxes, started...)
	e.mu.Unlock()
	stop = sync.OnceFunc(func() {
		stopSubs()
		subs.Wait()
		stopRest()
		rest.Wait()
		e.mu.Lock()
		defer e.mu.Unlock()
		e.outboxes = slices.DeleteFunc(e.outboxes, func(o outbox) bool { return slices.Contains(started, o) })
	})
	e.t.Cleanup(stop)
	for _, joined := range joining {
		<-joined
	}
	return stop
}

func (e *Env) run(ctx context.Context, r deed.Runner) {
	err := e.Bus.Run(ctx, r)
	if err == nil {
		return
	}
	e.t.Errorf("deedtest: Run: %v", err)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended == nil {
		e.ended = err
	}
}

// Publish announces events as another service would.
func (e *Env) Publish(drafts ...deed.Draft) {
	e.t.Helper()
	if err := e.Bus.Publish(e.t.Context(), drafts...); err != nil {
		e.t.Fatalf("deedtest: %v", err)
	}
}
