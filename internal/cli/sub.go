package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/engine"
)

const (
	// subInFlight bounds the data that a slow reader leaves waiting in memory.
	subInFlight = 8 << 20
	// subDrain is how long a sub that is to end waits for its reader to take a line.
	subDrain = 5 * time.Second
)

type subFlags struct {
	group, from, typeName string
	count                 int64
	idle                  time.Duration
	data                  bool
}

func newSub(a *app) *cobra.Command {
	var f subFlags
	cmd := &cobra.Command{
		Use:   "sub TOPIC --group G",
		Short: "Write a group's events to stdout, and acknowledge each once it is written",
		Long: "Write a group's events to stdout, one CloudEvents JSON document a line, and acknowledge each once it\n" +
			"is written. Several sub processes of one group share the topic.\n\n" +
			"Where nothing is stored (redis+pubsub://, mqtt://), leave --group out: every sub hears what is published while\n" +
			"it runs, and TOPIC may be a pattern (sensors.*).\n\n" +
			"It ends after --count events, after --idle without one while no partition waits for a dead member's\n" +
			"lease, or on Ctrl-C.",
		Example: "  deed sub orders --group report --idle 5s > orders.ndjson\n" +
			"  deed sub orders --group billing --data | ./bill\n" +
			"  deed sub orders --group late --from -24h --count 100",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.sub(cmd, args[0], f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.group, "group", "", "the `group` to read for")
	fl.StringVar(&f.from, "from", "start", "where a new group starts: start, end, TIME or `POSITION`")
	fl.StringVar(&f.typeName, "type", "", "write events of this `type` only, pass over others")
	fl.Int64Var(&f.count, "count", 0, "end after `N` events")
	fl.Var(spanFlag{to: &f.idle}, "idle", "end after this long without an event")
	fl.BoolVar(&f.data, "data", false, "write the data alone")
	return cmd
}

func (f subFlags) check(cmd *cobra.Command, ephemeral bool) (deed.From, error) {
	for _, flag := range []string{"group", "from"} {
		if ephemeral && cmd.Flags().Changed(flag) {
			return deed.From{}, usagef("--%s: the engine stores nothing: every sub hears what is published while it runs "+
				"(leave it out)", flag)
		}
	}
	if f.group == "" && !ephemeral {
		return deed.From{}, usagef("--group is missing (%s)", cmd.UseLine())
	}
	if f.group != "" {
		if err := deed.CheckName("group", f.group); err != nil {
			return deed.From{}, usageError{err.Error()}
		}
	}
	if f.count < 0 || cmd.Flags().Changed("count") && f.count == 0 {
		return deed.From{}, usagef("--count %d: want 1 or more", f.count)
	}
	if cmd.Flags().Changed("idle") && f.idle == 0 {
		return deed.From{}, usagef("--idle 0s: want a duration like 2s")
	}
	return parseFrom("from", f.from)
}

func (a *app) sub(cmd *cobra.Command, topic string, f subFlags) error {
	from, err := f.check(cmd, engine.Ephemeral(a.url))
	if err != nil {
		return err
	}
	bus, err := a.openWith(cmd.Context(), toRead, deed.Options{Drain: subDrain})
	if err != nil {
		return err
	}
	defer bus.Close()
	ctx, stop := context.WithCancelCause(cmd.Context())
	defer stop(nil)
	w := &subWriter{
		out: output{a.stdout}, data: f.data, typeName: f.typeName, left: f.count, stop: stop,
	}
	sub, err := subscription(ctx, bus, topic, f.group, from, w.handle)
	if err != nil {
		return err
	}

	var watcher sync.WaitGroup
	if f.idle > 0 {
		watcher.Go(func() {
			stopWhenIdle(ctx, f.idle, w.last,
				func() bool { return a.orphaned(ctx, bus, f.group, topic) }, func() { stop(nil) })
		})
	}
	err = bus.Run(ctx, sub)
	stop(nil)
	watcher.Wait()
	if !w.mu.TryLock() { // by a write that will never end
		return errors.New("stdout: its reader takes nothing, so the last event was not acknowledged")
	}
	defer w.mu.Unlock()
	if w.failed != nil {
		return w.failed
	}
	return err
}

// subscription reads a topic for a group, or listens where there are none.
func subscription(
	ctx context.Context, b *deed.Bus, topic, group string, from deed.From, handle deed.HandlerFunc,
) (*deed.Subscription, error) {
	if b.Features().Ephemeral {
		return listening(topic, handle), nil
	}
	info, err := topicInfo(ctx, b, topic)
	if err != nil {
		return nil, err
	}
	return deed.Subscribe(group, &deed.SubscribeOptions{
		From: from, Parallel: 1, InFlightBytes: subInFlight, Retry: deed.Retry{Attempts: deed.Forever},
	}, deed.OnAny(declare(b, info), handle)), nil
}

// errSubEnded is a handler's answer once nothing more shall be written. Run's
// context is cancelled by then, so it does not count as an attempt.
var errSubEnded = errors.New("the command has ended")

// subWriter writes events until it has written enough, is told to end, or fails.
type subWriter struct {
	out      io.Writer
	data     bool
	typeName string
	stop     context.CancelCauseFunc

	mu        sync.Mutex
	left      int64 // events to write, when there is a limit
	ended     bool
	failed    error
	idleSince time.Time // when the last event was done with
}

// handle writes one event. Parallel is 1, so that it holds the lock while a slow
// reader takes its time, and idleness is not measured meanwhile.
func (w *subWriter) handle(ctx context.Context, e deed.Received[[]byte]) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return errSubEnded
	}
	defer func() { w.idleSince = time.Now() }()
	if w.typeName != "" && e.Type != w.typeName {
		return nil
	}
	if err := writeEvent(w.out, e.Event, w.data); err != nil {
		w.ended, w.failed = true, err
		w.stop(err)
		return err
	}
	if w.left > 0 {
		if w.left--; w.left == 0 {
			w.ended = true
			w.stop(nil)
		}
	}
	return nil
}

// last says when the last event was done with, and is for stopWhenIdle.
func (w *subWriter) last() (at time.Time, busy bool) {
	if !w.mu.TryLock() { // it waits for its reader
		return at, true
	}
	defer w.mu.Unlock()
	return w.idleSince, false
}

// orphaned reports whether a partition with events has no living owner.
func (a *app) orphaned(ctx context.Context, b *deed.Bus, group, topic string) bool {
	groups, ok := driver.As[driver.Groups](b.Conn())
	if !ok {
		return false
	}
	lags, err := groups.Lag(ctx, group, topic)
	if err != nil {
		return ctx.Err() == nil // unknown is no reason to end
	}
	for _, l := range lags {
		if l.Events > 0 && (l.Member == "" || l.MemberGone) {
			return true
		}
	}
	return false
}

// writeEvent writes one line: the event as CloudEvents JSON, or its data.
func writeEvent(w io.Writer, e deed.Event, dataOnly bool) error {
	line := oneLine(e.Data)
	if !dataOnly {
		var err error
		// Called directly, since json.Marshal would check and copy the document again.
		if line, err = e.MarshalJSON(); err != nil {
			return err
		}
	}
	buf := make([]byte, 0, len(line)+1)
	_, err := w.Write(append(append(buf, line...), '\n'))
	return err
}

// oneLine returns JSON that was written over several lines in one. Other data is
// left as it is.
func oneLine(data []byte) []byte {
	if bytes.IndexByte(data, '\n') < 0 {
		return data
	}
	var line bytes.Buffer
	if json.Compact(&line, data) != nil {
		return data
	}
	return line.Bytes()
}
