package deedredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
)

// Publish implements [driver.Conn]: scripts that append several batches each, all in one
// pipeline.
func (c *Conn) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("deedredis: publish: %w: %w", driver.ErrNotStored, err)
	}
	receipts := c.publish(ctx, batches)
	for i := range receipts {
		if receipts[i].Err != nil {
			receipts[i].Err = c.failBatch(&batches[i], receipts[i].Err)
		}
	}
	return receipts, nil
}

func (c *Conn) publish(ctx context.Context, batches []driver.Batch) []driver.Receipt {
	receipts := make([]driver.Receipt, len(batches))
	all := appending{c: c}
	for i := range batches {
		if err := all.add(ctx, i, &batches[i]); err != nil {
			receipts[i].Err = surely(err)
		}
	}
	results, short := c.appendAll(ctx, all.calls)
	c.schedules(ctx, batches)
	for k, r := range results {
		answers, err := r.ToArray()
		if err == nil && len(answers) != len(all.of[k]) {
			err = fmt.Errorf("the script answered for %d batches of %d", len(answers), len(all.of[k]))
		}
		for n, i := range all.of[k] {
			if receipts[i].Err = err; err == nil {
				receipts[i] = c.receipt(ctx, &batches[i], &answers[n])
			}
			if receipts[i].Err == nil && short != nil {
				receipts[i] = driver.Receipt{Err: short}
			}
		}
	}
	return receipts
}

// appendMost and appendBytes bound what one script appends, if that is more than one
// batch, so that others get their turn.
const (
	appendMost  = 256
	appendBytes = 1 << 20
)

// appending gathers batches into script calls. In a cluster, where each partition has a
// slot of its own, a script appends one.
type appending struct {
	c     *Conn
	calls []call
	of    [][]int // the batches of each call

	events, bytes int // of the last call
}

// add checks a batch and puts it into a call.
func (a *appending) add(ctx context.Context, i int, b *driver.Batch) error {
	t, full, err := a.c.publishing(ctx, b)
	if err != nil {
		return err
	}
	bytes := 0
	for k := range b.Messages {
		bytes += len(b.Messages[k].Data)
	}
	a.events, a.bytes = a.events+len(b.Messages), a.bytes+bytes
	if a.calls == nil || a.c.cluster || a.events > appendMost || a.bytes > appendBytes {
		a.calls, a.of = append(a.calls, call{script: publishScript}), append(a.of, nil)
		a.events, a.bytes = len(b.Messages), bytes
	}
	last := len(a.calls) - 1
	x := &a.calls[last]
	x.keys, x.args = append(x.keys, t.keys[b.Partition]...), appendArgs(x.args, t, b, full)
	a.of[last] = append(a.of[last], i)
	return nil
}

// surely marks an error that came before anything was sent.
func surely(err error) error {
	for _, known := range []error{driver.ErrRefused, driver.ErrNotFound, driver.ErrClosed, driver.ErrFull} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", driver.ErrNotStored, err)
}

func (c *Conn) failBatch(b *driver.Batch, err error) error {
	err = explain(err)
	return fmt.Errorf("deedredis: publish to %s partition %d: %w", b.Topic, b.Partition, err)
}

// publishing checks a batch and returns its topic, and whether that is full.
func (c *Conn) publishing(ctx context.Context, b *driver.Batch) (t *topic, full bool, err error) {
	if t, err = c.known(ctx, b.Topic); err != nil {
		return nil, false, err
	}
	if b.Generation != 0 && b.Generation != t.info.Generation {
		if t, err = c.lookup(ctx, b.Topic); err != nil { // it may be made anew
			return nil, false, err
		}
	}
	if b.Partition < 0 || b.Partition >= t.info.Partitions {
		return nil, false, fmt.Errorf("%w: topic %s has %d partitions", driver.ErrRefused, b.Topic, t.info.Partitions)
	}
	if b.Producer != "" && b.Seq < 1 {
		return nil, false, fmt.Errorf("%w: producer %s begins at %d (want 1 or more)", driver.ErrRefused, b.Producer, b.Seq)
	}
	full, err = c.full(ctx, t, b)
	return t, full, err
}

// appendArgs writes what the script publish.lua takes of a batch.
func appendArgs(args []string, t *topic, b *driver.Batch, full bool) []string {
	begin := len(args)
	args = slices.Grow(args, headArgs+2*len(b.Messages))[:begin+headArgs]
	head := args[begin:]
	head[1], head[2], head[3] = strconv.Itoa(b.Generation), b.Producer, strconv.FormatInt(b.Seq, 10)
	head[4], head[6] = strconv.Itoa(len(b.Messages)), flag(full)
	switch delayed := delays(b); {
	case t.info.Dedupe > 0 || delayed:
		head[5] = "whole"
		args = appendEvents(args, b.Messages, true)
	case t.info.Pack && len(b.Messages) > 1:
		head[5] = "packed"
		args = appendPacks(args, b.Messages)
	default:
		head[5] = "plain"
		args = appendEvents(args, b.Messages, false)
	}
	args[begin] = strconv.Itoa(len(args) - begin)
	return args
}

// headArgs is how many arguments say what a batch is.
const headArgs = 7

// appendEvents writes events one by one, those that may be delayed or known already with
// when they are due and who they are.
func appendEvents(args []string, ms []driver.Message, whole bool) []string {
	// One block has it all: a copy, since the client may still be sending when a caller
	// who gave up gets the messages back.
	block, at := make([]byte, 0, roomFor(ms)), 0
	next := func() string {
		part := rueidis.BinaryString(block[at:len(block):len(block)])
		at = len(block)
		return part
	}
	for i := range ms {
		m := &ms[i]
		block = appendAttributes(block, m)
		attributes := next()
		block = append(block, m.Data...)
		args = append(args, attributes, next())
		if whole {
			args = append(args, dueMicros(m.NotBefore), m.Source+"\x00"+m.ID)
		}
	}
	return args
}

// packMost is how many events an entry holds at most, so that reading one more is
// never much.
const packMost = 256

// appendPacks writes events that are stored together.
func appendPacks(args []string, all []driver.Message) []string {
	for ms := range slices.Chunk(all, packMost) {
		bytes := 0
		for i := range ms {
			bytes += len(ms[i].Data)
		}
		sizes, data := make([]byte, 0, 4*len(ms)), make([]byte, 0, bytes)
		attributes := make([]byte, 0, roomFor(ms)-bytes)
		for i := range ms {
			if i > 0 {
				sizes, attributes = append(sizes, ','), append(attributes, '\n')
			}
			sizes = strconv.AppendInt(sizes, int64(len(ms[i].Data)), 10)
			attributes = appendAttributes(attributes, &ms[i])
			data = append(data, ms[i].Data...)
		}
		args = append(args, rueidis.BinaryString(sizes), rueidis.BinaryString(attributes), rueidis.BinaryString(data),
			strconv.Itoa(len(ms)))
	}
	return args
}

// roomFor is about how many bytes messages take, with their attributes as JSON.
func roomFor(ms []driver.Message) int {
	const names = 128 // with quotes, and the time
	n := 0
	for i := range ms {
		m := &ms[i]
		n += names + len(m.ID) + len(m.Source) + len(m.Type) + len(m.Key) + len(m.ContentType) + len(m.Data)
		for name, value := range m.Attributes {
			n += len(name) + len(value) + len(`,"":""`)
		}
	}
	return n
}

func delays(b *driver.Batch) bool {
	for i := range b.Messages {
		if !b.Messages[i].NotBefore.IsZero() {
			return true
		}
	}
	return false
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// dueMicros is when an event is due, as the due store sorts by.
func dueMicros(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	us := t.UnixMicro()
	if t.Nanosecond()%1000 > 0 {
		us++ // never before
	}
	return strconv.FormatInt(us, 10)
}

// appendAll runs the calls. Where the URL asks for it, it waits for replicas or the
// disk, on the same connection, or the answer would be about nothing; short tells that
// too few had what is stored by then, which may be lost.
func (c *Conn) appendAll(ctx context.Context, calls []call) (results []rueidis.RedisResult, short error) {
	if len(calls) == 0 {
		return nil, nil
	}
	if !c.settings.waits() {
		return c.runAll(ctx, calls), nil
	}
	results = c.runThen(ctx, calls, func(cmds rueidis.Commands) []rueidis.RedisResult {
		all := c.client.DoMulti(ctx, append(cmds, c.waiting())...)
		last := len(all) - 1
		short = errors.Join(short, c.waited(all[last]))
		return all[:last]
	})
	return results, short
}

// receipt reads what the script answered for a batch.
func (c *Conn) receipt(ctx context.Context, b *driver.Batch, m *rueidis.RedisMessage) driver.Receipt {
	answer, err := m.ToArray()
	if err != nil {
		return driver.Receipt{Err: err}
	}
	word, _ := answer[0].ToString()
	number := int64(0)
	if len(answer) > 1 {
		number, _ = answer[1].AsInt64()
	}
	switch word {
	case "stored":
		last, _ := answer[2].ToString()
		return driver.Receipt{Stored: int(number), Last: last}
	case "absent":
		return driver.Receipt{Err: c.absent(ctx, b)}
	case "generation":
		return driver.Receipt{Err: c.otherLife(ctx, b)}
	case "gap":
		return driver.Receipt{Err: fmt.Errorf("%w: producer %s sent %d after %d", driver.ErrGap, b.Producer, b.Seq, number)}
	case "full":
		return driver.Receipt{Err: c.fullError(ctx, b.Topic)}
	case "window":
		return c.again(ctx, b)
	case "known": // a part was stored before, by another run of the outbox: the rest is a batch of its own
		rest := *b
		rest.Seq, rest.Messages = b.Seq+number, b.Messages[number:]
		return c.again(ctx, &rest)
	case "lost":
		return driver.Receipt{Err: c.streamGone(b)}
	}
	return driver.Receipt{Err: fmt.Errorf("the script answered %q", word)}
}

// again publishes a batch that did not know of the topic's window, or of what is
// stored.
func (c *Conn) again(ctx context.Context, b *driver.Batch) driver.Receipt {
	if _, err := c.lookup(ctx, b.Topic); err != nil {
		return driver.Receipt{Err: err}
	}
	return c.publish(ctx, []driver.Batch{*b})[0]
}

// absent tells a topic that was deleted from a server that lost a part of one.
func (c *Conn) absent(ctx context.Context, b *driver.Batch) error {
	if _, err := c.lookup(ctx, b.Topic); err != nil {
		return err
	}
	return markerGone(b)
}

// waiting returns the command that waits for what the URL asks. It speaks of what was
// sent before on its connection, so it is sent in one piece with that.
func (c *Conn) waiting() rueidis.Completed {
	millis := strconv.FormatInt(c.settings.patience.Milliseconds(), 10)
	replicas := strconv.Itoa(c.settings.replicas)
	if c.settings.synced {
		return c.client.B().Arbitrary("WAITAOF", "1", replicas, millis).Build()
	}
	return c.client.B().Arbitrary("WAIT", replicas, millis).Build()
}

// waited returns nil when enough servers have it.
func (c *Conn) waited(r rueidis.RedisResult) error {
	if !c.settings.synced {
		n, err := r.AsInt64()
		if err == nil && n < int64(c.settings.replicas) {
			err = fmt.Errorf("%d of %d replicas have it after %v", n, c.settings.replicas, c.settings.patience)
		}
		return err
	}
	got, err := r.AsIntSlice()
	if err == nil && (len(got) != 2 || got[0] < 1 || got[1] < int64(c.settings.replicas)) {
		err = fmt.Errorf("not synced by this server and %d replicas after %v: %v",
			c.settings.replicas, c.settings.patience, got)
	}
	return err
}

// fullError names the group that holds most of a full topic.
func (c *Conn) fullError(ctx context.Context, name string) error {
	t, err := c.lookup(ctx, name)
	if err != nil {
		return err
	}
	bound := fmt.Sprintf("topic %s has more than %d bytes", name, t.info.MaxBytes)
	lags, err := c.lags(ctx, "", name)
	if err != nil {
		return fmt.Errorf("%w: %s", driver.ErrFull, bound)
	}
	behind := make(map[string]int64)
	slowest := ""
	for _, l := range lags {
		if behind[l.Group] += l.Events; behind[l.Group] > behind[slowest] {
			slowest = l.Group
		}
	}
	if slowest == "" {
		return fmt.Errorf("%w: %s, none of them older than its keep of %v (shorten that or raise the bound)",
			driver.ErrFull, bound, t.info.Keep)
	}
	return fmt.Errorf("%w: %s, and group %s has %d events before it (run it, set it forward or raise the bound)",
		driver.ErrFull, bound, strings.TrimSpace(slowest), behind[slowest])
}
