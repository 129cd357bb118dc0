package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// pipeDrain is how long a pipe that is to end lets a running command finish.
const pipeDrain = 10 * time.Second

type pipeFlags struct {
	subFlags
	to, outType    string
	keepRunning    bool
	parallel       int
	attempts       int
	timeout, drain time.Duration
}

func newPipe(a *app) *cobra.Command {
	f := pipeFlags{drain: pipeDrain}
	cmd := &cobra.Command{
		Use:   "pipe TOPIC --group G [--to TOPIC2] -- CMD ARG...",
		Short: "Run a command for each event of a group, and publish the lines that it writes",
		Long: "Run CMD for each event of a group. CMD reads the event's data on stdin, with a newline behind it, and\n" +
			"finds DEED_ID, DEED_TYPE, DEED_SOURCE, DEED_KEY, DEED_SUBJECT, DEED_TIME, DEED_TOPIC, DEED_GROUP,\n" +
			"DEED_POSITION, DEED_ATTEMPT and DEED_TRACEPARENT in its environment.\n\n" +
			"It ends with 0: the event is handled. With 65: it becomes a dead letter at once, the last line of stderr\n" +
			"is the reason. Anything else, a signal too: it is tried again. Without a match grep ends with 1, hence:\n\n" +
			"  deed pipe n --group g --to m -- sh -c 'grep 7 || [ $? = 1 ]'\n\n" +
			"The lines of a CMD that ended with 0 become events on TOPIC2, all before the event is acknowledged, with\n" +
			"the input's source and key and the id INPUT_ID/GROUP/LINE, so that a retry stores nothing twice within\n" +
			"TOPIC2's id window (24 h when pipe creates it). Empty lines are no events. Without --to they go to stdout.\n\n" +
			"With --keep-running one CMD gets all events, each as one line, and answers each with one line, which is\n" +
			"the event on TOPIC2, or with an empty line. It has to flush its output line by line (sed -u, awk's\n" +
			"fflush(), grep --line-buffered). When it ends, it is started again and its event is tried again.\n\n" +
			"It ends like deed sub, and lets a running CMD finish for --drain before it terminates it.",
		Example: "  deed pipe orders --group mail -- ./send-mail\n" +
			"  deed pipe quakes --group shout --to loud --keep-running -- sed -u 's/a/A/'",
		Args: pipeArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return a.pipe(cmd, args[0], args[1:], f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.group, "group", "", "the `group` to handle events for")
	fl.StringVar(&f.to, "to", "", "publish the lines of CMD's stdout on this `TOPIC`")
	fl.StringVar(&f.outType, "type", "", "the `type` of the events on --to (default its name)")
	fl.BoolVar(&f.keepRunning, "keep-running", false, "one CMD for all events: a line in, a line out")
	fl.IntVar(&f.parallel, "parallel", 1, "run up to `N` commands at once, order is kept per key")
	fl.IntVar(&f.attempts, "attempts", 8, "an event that failed `N` times becomes a dead letter")
	fl.Var(spanFlag{to: &f.timeout}, "timeout", "end a CMD that takes longer, and try its event again")
	fl.Var(spanFlag{to: &f.drain}, "drain", "how long a running CMD may go on when deed pipe is to end")
	fl.StringVar(&f.from, "from", "start", "where a new group starts: start, end, TIME or `POSITION`")
	fl.Int64Var(&f.count, "count", 0, "end after `N` handled events")
	fl.Var(spanFlag{to: &f.idle}, "idle", "end after this long without an event")
	return cmd
}

func pipeArgs(cmd *cobra.Command, args []string) error {
	if cmd.ArgsLenAtDash() != 1 || len(args) < 2 {
		return usagef("want one topic, and a command behind -- (%s)", cmd.Use)
	}
	return nil
}

func (f pipeFlags) check(cmd *cobra.Command, topic string) (deed.From, error) {
	from, err := f.subFlags.check(cmd, false)
	if err != nil {
		return from, err
	}
	if f.to != "" {
		if err := deed.CheckName("topic", f.to); err != nil {
			return from, usageError{err.Error()}
		}
	}
	switch changed := cmd.Flags().Changed; {
	case changed("to") && f.to == "":
		return from, usagef("--to is empty")
	case f.to == topic:
		return from, usagef("--to %s: every line would be the command's input again", f.to)
	case f.outType != "" && f.to == "":
		return from, usagef("--type is the type of events on --to, which is missing")
	case f.parallel < 1:
		return from, usagef("--parallel %d: want 1 or more", f.parallel)
	case f.parallel > 1 && f.keepRunning:
		return from, usagef("--parallel and --keep-running exclude each other (start several deed pipe of the group)")
	case f.attempts < 1:
		return from, usagef("--attempts %d: want 1 or more", f.attempts)
	case changed("timeout") && f.timeout == 0:
		return from, usagef("--timeout 0s: want a duration like 30s")
	case f.drain == 0:
		return from, usagef("--drain 0s: want a duration like 10s")
	}
	return from, nil
}

func (a *app) pipe(cmd *cobra.Command, topic string, args []string, f pipeFlags) error {
	from, err := f.check(cmd, topic)
	if err != nil {
		return err
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return fmt.Errorf("command %s: %w", args[0], errors.Unwrap(err))
	}
	// Main ignores SIGPIPE, which commands would inherit: they, and what a shell
	// starts in them, shall end when nobody reads them any more.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	bus, err := a.openWith(cmd.Context(), toRead, deed.Options{Drain: f.drain})
	if err != nil {
		return err
	}
	defer bus.Close()
	info, err := topicInfo(cmd.Context(), bus, topic)
	if err != nil {
		return err
	}
	g, err := startGuard()
	if err != nil {
		return err
	}
	defer g.close()
	c := pipeCommand{guard: g, path: path, args: args, stderr: a.stderr, maxLine: bus.Options().MaxEventBytes}
	p := &piping{tool: &c, sink: (&lineOutput{out: output{a.stdout}}).write, say: a.sayOf(cmd)}
	if f.keepRunning {
		p.tool = newCompanion(c, deed.Delivery{Topic: topic, Group: f.group}, p.say)
	}
	if f.to != "" {
		if p.sink, err = a.publishTo(cmd, bus, f); err != nil {
			return err
		}
	}
	defer p.tool.close()
	return a.runPipe(cmd.Context(), bus, p, info, from, f)
}

func (a *app) runPipe(
	ctx context.Context, bus *deed.Bus, p *piping, info driver.TopicInfo, from deed.From, f pipeFlags,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.stop, p.ended = cancel, ctx.Done()
	p.limit(f.count, f.parallel)
	sub := deed.Subscribe(f.group,
		&deed.SubscribeOptions{
			From: from, Parallel: f.parallel, Timeout: f.timeout, InFlightBytes: subInFlight,
			Retry: deed.Retry{Attempts: f.attempts},
		},
		deed.OnAny(declare(bus, info), p.handle))
	var watcher sync.WaitGroup
	if f.idle > 0 {
		orphaned := func() bool { return a.orphaned(ctx, bus, f.group, info.Name) }
		watcher.Go(func() { stopWhenIdle(ctx, f.idle, p.last, orphaned, cancel) })
	}
	err := bus.Run(ctx, sub)
	cancel()
	watcher.Wait()
	if failed := p.failure(); failed != nil {
		return failed
	}
	return err
}

// sayOf returns say for lines that belong to cmd, as its errors do.
func (a *app) sayOf(cmd *cobra.Command) func(error) {
	return func(err error) { a.say("%s", errorLine(cmd, err)) }
}

// publishTo returns a sink that publishes on --to, which is created if it has to be.
func (a *app) publishTo(cmd *cobra.Command, bus *deed.Bus, f pipeFlags) (pipeSink, error) {
	ctx := cmd.Context()
	topics, err := topicsOf(bus)
	if err != nil {
		return nil, err
	}
	info, err := topics.Topic(ctx, f.to)
	if isNotFound(err) {
		s := driver.TopicSettings{Partitions: driver.DefaultPartitions}
		if bus.Features().Dedupe {
			s.Dedupe = dedupeWindow
		}
		info, err = topics.CreateTopic(ctx, f.to, s)
	}
	if err != nil {
		return nil, err
	}
	if info.Dedupe == 0 {
		a.say("deed: pipe: topic %s has no id window, so a retry may store lines twice (deed topics set %s --dedupe 24h)",
			f.to, f.to)
	}
	typeName := f.outType
	if typeName == "" {
		typeName = f.to
	}
	p := &linePublisher{bus: bus, topic: declare(bus, info), typeName: typeName}
	return p.publish, nil
}
