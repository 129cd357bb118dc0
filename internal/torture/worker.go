package torture

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
)

// Role is what a worker process does until ctx ends.
type Role func(ctx context.Context, job Job) error

// Worker turns this process into the worker that its environment asks for, and
// does not return then. Otherwise it does nothing. Call it first in main or
// TestMain; more adds roles.
func Worker(more map[string]Role) {
	text := os.Getenv(jobEnv)
	if text == "" {
		return
	}
	if err := work(text, more); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func work(text string, more map[string]Role) error {
	var job Job
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return fmt.Errorf("%s: %w", jobEnv, err)
	}
	roles := map[string]Role{"publisher": publisher, "consumer": consumer, "writer": writer, "relay": relay}
	maps.Copy(roles, more)
	role, ok := roles[job.Role]
	if !ok {
		return fmt.Errorf("there is no role %q", job.Role)
	}
	go holdLeash()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := role(ctx, job); err != nil {
		return fmt.Errorf("%s: %w", job.proc(), err)
	}
	return nil
}

// ambushUntil is when an ambush is called off, in Unix nanoseconds: until then the
// process freezes itself when it is about to settle.
var ambushUntil atomic.Int64

// holdLeash ends the process when its standard input ends, which it does when the
// harness dies, and takes the times of ambushes from there. It lasts as long as the
// process and nobody waits for it.
func holdLeash() {
	for {
		var until int64
		if err := binary.Read(os.Stdin, binary.LittleEndian, &until); err != nil {
			os.Exit(1)
		}
		ambushUntil.Store(until)
	}
}

// openBus opens the job's bus and records what the engine grants and settles. A
// worker that is asked to end while it starts ends as cleanly as any other, so that
// ctx's end does not interrupt this.
func openBus(ctx context.Context, job Job, rec *Recorder) (*deed.Bus, error) {
	ctx = context.WithoutCancel(ctx)
	opts := &deed.Options{
		Source: "/torture/" + job.Name, State: job.State, Lease: job.Lease, Drain: 10 * time.Second,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	var conn driver.Conn
	err := patiently(ctx, func() (err error) {
		conn, err = engine.OpenConn(ctx, job.URL, opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	bus, err := deed.New(&observedConn{Conn: conn, rec: rec}, opts)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return bus, nil
}
