package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/deedgo/deed"
	"github.com/deedgo/deed/driver"
)

// dedupeWindow is the id window of a topic that pub --id creates.
const dedupeWindow = 24 * time.Hour

// publishDrain is how long an interrupted pub waits for what is in flight.
const publishDrain = 10 * time.Second

// Bounds of one call of Publish: chunks that are ready are put together up to
// these, so that load makes batches and a single event waits for nothing.
const (
	publishEvents = 4096
	publishBytes  = 4 << 20
)

type pubFlags struct {
	typeName, source, key, id, time, notBefore, onError string
	cloudEvents                                         bool
}

func newPub(a *app) *cobra.Command {
	var f pubFlags
	cmd := &cobra.Command{
		Use:   "pub TOPIC",
		Short: "Publish the lines of stdin, one JSON value each",
		Long: "Publish the lines of stdin, one JSON value each. It ends with 0 only when all are durable.\n\n" +
			"PTR is a JSON Pointer into the line's value (/a/b), or a literal (=text).\n" +
			"With --id, publishing a file twice stores it once: a topic that pub creates keeps ids for 24 h.\n" +
			"--not-before delays events: PTR points to a time as --time does, and =TIME is RFC 3339 or, from now, =+90s.",
		Example: "  deed pub orders --key /customer --id /order < orders.ndjson\n" +
			"  echo '{\"n\":1}' | deed pub reminders --not-before =+24h\n" +
			"  deed cat quakes | deed pub copy --cloudevents",
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return a.pub(cmd, args[0], f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.typeName, "type", "", "the events' `type` (default TOPIC)")
	fl.StringVar(&f.source, "source", "", "the events' source, a `URI` (default /cli/TOPIC)")
	fl.StringVar(&f.key, "key", "", "where the key is, a `PTR`; order is kept per key")
	fl.StringVar(&f.id, "id", "", "where the id is, a `PTR` (default a new UUID)")
	fl.StringVar(&f.time, "time", "", "where the time is, a `PTR` to RFC 3339 or epoch ms (default now)")
	fl.StringVar(&f.notBefore, "not-before", "", "when the events are delivered at the earliest, a `PTR` or =TIME")
	fl.BoolVar(&f.cloudEvents, "cloudevents", false, "each line is a CloudEvents JSON document")
	fl.StringVar(&f.onError, "on-error", "stop", "after a bad line, `stop|skip`")
	return cmd
}

// parser checks the flags and returns what they ask for, but for the topic.
func (f pubFlags) parser(cmd *cobra.Command, topic string) (*parser, error) {
	if err := deed.CheckName("topic", topic); err != nil {
		return nil, usageError{err.Error()}
	}
	if f.onError != "stop" && f.onError != "skip" {
		return nil, usagef("--on-error %q: want stop or skip", f.onError)
	}
	p := &parser{typeName: f.typeName, source: f.source, cloudEvents: f.cloudEvents, stopAtBad: f.onError == "stop"}
	if p.typeName == "" {
		p.typeName = topic
	}
	if p.source == "" {
		p.source = "/cli/" + topic
	}
	for _, ptr := range []struct {
		flag, text string
		to         **pointer
	}{{"key", f.key, &p.key}, {"id", f.id, &p.id}, {"time", f.time, &p.time}} {
		if !cmd.Flags().Changed(ptr.flag) {
			continue
		}
		parsed, err := parsePointer(ptr.flag, ptr.text)
		if err != nil {
			return nil, err
		}
		*ptr.to = &parsed
	}
	if cmd.Flags().Changed("not-before") {
		if err := p.parseNotBefore(f.notBefore, time.Now()); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"type", "source", "key", "id", "time"} {
		if f.cloudEvents && cmd.Flags().Changed(name) {
			return nil, usagef("--%s and --cloudevents: a CloudEvents document brings its own", name)
		}
	}
	return p, nil
}

func (a *app) pub(cmd *cobra.Command, topic string, f pubFlags) error {
	p, err := f.parser(cmd, topic)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	bus, err := a.open(ctx, toWrite)
	if err != nil {
		return err
	}
	defer bus.Close()
	if p.delays() && !bus.Features().Delay {
		return usagef("--not-before: the engine %s cannot delay events", bus.Features().Engine)
	}
	if p.id != nil && bus.Features().Ephemeral {
		return usagef("--id: the engine %s stores nothing, so an event that is published twice is heard twice "+
			"(leave it out)", bus.Features().Engine)
	}
	p.maxBytes = bus.Options().MaxEventBytes
	if p.topic, err = pubTopic(ctx, bus, topic, p.id != nil); err != nil {
		return err
	}
	if isTerminal(a.stdin) {
		a.say("reading JSON lines from the terminal; Ctrl-D ends")
	}
	input := a.watch(a.stdin)
	pub := &publishing{
		bus: bus, parse: p,
		bad: func(b badLine) { input.say(errorLine(cmd, b)) },
	}
	err = pub.run(ctx, newLineReader(input, p.maxLine()))
	input.done(err == nil)
	summary := fmt.Sprintf("%s published, %s already there", comma(pub.stored), comma(pub.duplicates))
	if pub.skipped > 0 {
		summary += fmt.Sprintf(", %s skipped", plural(pub.skipped, "bad line"))
	}
	a.say("%s", summary)
	if err == nil && pub.skipped > 0 {
		err = fmt.Errorf("%s skipped", plural(pub.skipped, "bad line"))
	}
	return err
}

// pubTopic declares the topic with the settings it has or shall get.
func pubTopic(ctx context.Context, b *deed.Bus, name string, ids bool) (*deed.Topic, error) {
	fresh := &deed.TopicOptions{}
	if ids {
		fresh.Dedupe = dedupeWindow
	}
	topics, ok := driver.As[driver.Topics](b.Conn())
	if !ok {
		return deed.NewTopic(name, fresh), nil
	}
	info, err := topics.Topic(ctx, name)
	if isNotFound(err) {
		return deed.NewTopic(name, fresh), nil
	}
	if err != nil {
		return nil, err
	}
	if ids && info.Dedupe == 0 {
		return nil, usagef("topic %s has no id window, so --id would not keep an event from being stored twice "+
			"(deed topics set %s --dedupe 24h)", name, name)
	}
	return declare(b, info), nil
}

// publishing is one run of pub: lines are read, parsed on all cores, and published
// in their order, one call after another.
type publishing struct {
	bus   *deed.Bus
	parse *parser
	bad   func(badLine) // hears each skipped line

	chunks  chan *chunk
	reading sync.WaitGroup
	readErr error // once chunks is closed

	stored, duplicates, skipped int64
}

// run ends with the input, at a bad line, or when a signal comes. Only at the end of
// the input it waits for the reading goroutine: nothing ends a read of a terminal or
// a pipe, and the process ends right after.
func (p *publishing) run(ctx context.Context, lines *lineReader) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	p.chunks = make(chan *chunk, queueDepth)
	p.reading.Go(func() { p.read(reading, lines) })
	for {
		batch, more := p.gather(ctx)
		if len(batch.drafts) > 0 {
			if err := p.publish(ctx, batch); err != nil {
				return err
			}
		}
		for _, b := range batch.bad {
			if p.parse.stopAtBad {
				return b
			}
			p.skipped++
			p.bad(b)
		}
		if !more {
			p.reading.Wait()
			return p.readErr
		}
		if ctx.Err() != nil {
			return errors.New("interrupted; what is not counted as published was not")
		}
	}
}

// read cuts the input into chunks, each of which is parsed beside the reading.
// Their number is bounded by the channel.
func (p *publishing) read(ctx context.Context, lines *lineReader) {
	defer close(p.chunks)
	for {
		c, err := lines.next()
		if len(c.lines) > 0 {
			p.reading.Go(func() { p.parse.parse(c) })
			select {
			case p.chunks <- c:
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				p.readErr = fmt.Errorf("stdin: line %d: %w", lines.number, err)
			}
			return
		}
	}
}

// gather waits for a chunk and adds those that are ready, within the bounds of one
// Publish. It reports whether there may be more.
func (p *publishing) gather(ctx context.Context) (parsed, bool) {
	var all parsed
	select {
	case <-ctx.Done():
		return all, true
	case c, ok := <-p.chunks:
		if !ok {
			return all, false
		}
		<-c.ready
		all = c.parsed
	}
	for len(all.bad) == 0 && len(all.drafts) < publishEvents && all.bytes < publishBytes {
		select {
		case c, ok := <-p.chunks:
			if !ok {
				return all, false
			}
			<-c.ready
			all.drafts = append(all.drafts, c.drafts...)
			all.numbers = append(all.numbers, c.numbers...)
			all.bytes += c.bytes
			all.bad = c.bad
		default:
			return all, true
		}
	}
	return all, true
}

// publish waits for what is in flight even when the user ends the command, so that
// the summary is true.
func (p *publishing) publish(ctx context.Context, batch parsed) error {
	flight, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(publishDrain, cancel) })()
	receipt, err := p.bus.PublishReceipt(flight, batch.drafts...)
	p.stored += int64(receipt.Stored)
	p.duplicates += int64(receipt.Duplicates)
	if err == nil {
		return nil
	}
	return publishFailure(batch, err)
}

// publishFailure names the lines that a failed Publish is about.
func publishFailure(batch parsed, err error) error {
	var failed *deed.PublishError
	if !errors.As(err, &failed) {
		return fmt.Errorf("line %d and after: %w", batch.numbers[0], err)
	}
	bad := slices.Concat(failed.NotStored, failed.Unknown)
	if len(bad) == 0 {
		return err
	}
	lines := fmt.Sprintf("lines %d to %d: %s not stored",
		batch.numbers[slices.Min(bad)], batch.numbers[slices.Max(bad)], comma(int64(len(failed.NotStored))))
	if n := len(failed.Unknown); n > 0 {
		lines += fmt.Sprintf(", %s unknown", comma(int64(n)))
	}
	return fmt.Errorf("%s: %w", lines, failed.Err)
}
