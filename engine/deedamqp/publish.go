package deedamqp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

const (
	// What a call has sent and not heard of. returns has room for as many, or the client
	// would wait for whoever waits for it.
	flightEvents = 512
	flightBytes  = 8 << 20
)

// publisher is a channel on which the server confirms what it has stored. One call uses it
// at a time, so that an error of the channel is the call's own.
type publisher struct {
	ch      *amqp.Channel
	returns chan amqp.Return
	closed  chan *amqp.Error
}

// Publish implements [driver.Conn]. Each event is confirmed by itself; all of a call are on
// their way together, in order. Which partitions there are the state has checked.
func (c *Conn) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	if c.ctx.Err() != nil {
		return nil, c.fail("publish", driver.ErrClosed)
	}
	f := &flight{c: c, batches: batches, outcomes: make([]outcome, len(batches))}
	for i := range batches {
		f.outcomes[i].err = refuse(&batches[i])
	}
	p, err := c.publisher(ctx)
	if err != nil {
		return nil, c.fail("publish", fmt.Errorf("%w: %w", driver.ErrNotStored, err))
	}
	// Not ended with ctx: what is on its way cannot be called back, and the outcome of half a
	// batch helps nobody. patience bounds it, and so does Close.
	err = c.call(context.Background(), func() error {
		defer func() { c.slots <- p }()
		return f.run(p)
	})
	receipts := make([]driver.Receipt, len(batches))
	for i := range receipts {
		if o := &f.outcomes[i]; o.returned > 0 && o.stored == 0 && c.settings.streams && o.err == nil {
			o.err = c.unstreamed(ctx, &batches[i])
		}
		receipts[i].Stored = f.outcomes[i].stored
		if err := f.outcomes[i].result(&batches[i], err); err != nil {
			receipts[i].Err = fmt.Errorf("deedamqp: publish to %s: %w", batches[i].Topic, err)
		}
	}
	return receipts, nil
}

// unstreamed says why a stream took nothing: it is gone, or not started yet.
func (c *Conn) unstreamed(ctx context.Context, b *driver.Batch) error {
	name := streamName(b.Topic, b.Partition)
	err := c.with(ctx, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err
	})
	if notFound(err) {
		return fmt.Errorf("%w: stream %s is not there", driver.ErrNotFound, name)
	}
	if err != nil {
		err = explain(err)
	}
	return errors.Join(fmt.Errorf("%w: %w: stream %s was not there yet", driver.ErrNotStored, driver.ErrAway, name), err)
}

// refuse tells what of a batch the engine never accepts.
func refuse(b *driver.Batch) error {
	for i := range b.Messages {
		switch m := &b.Messages[i]; {
		case len(m.Data) > maxData:
			return fmt.Errorf("%w: event %s has %d bytes of data (at most %d)", driver.ErrRefused, m.ID, len(m.Data), maxData)
		case !m.NotBefore.IsZero():
			return fmt.Errorf("%w: event %s is delayed, which RabbitMQ does not keep", driver.ErrRefused, m.ID)
		}
	}
	return nil
}

// publisher waits for a channel that nobody uses.
func (c *Conn) publisher(ctx context.Context) (p *publisher, err error) {
	select {
	case p = <-c.slots:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.ctx.Done():
		return nil, driver.ErrClosed
	}
	if p == nil || p.ch.IsClosed() {
		if p, err = c.newPublisher(ctx); err != nil {
			c.slots <- nil
			return nil, err
		}
	}
	if why := c.writes.blocked.Load(); why != nil {
		c.slots <- p
		return nil, fmt.Errorf("%w: the server takes nothing until it has more room: %s", driver.ErrAway, *why)
	}
	return p, nil
}

func (c *Conn) newPublisher(ctx context.Context) (*publisher, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w: no answer within %v", driver.ErrAway, patience))
	defer cancel()
	made := make(chan *publisher, 1)
	err := c.call(ctx, func() error {
		conn, err := c.writes.get(ctx)
		if err != nil {
			return err
		}
		ch, err := conn.Channel()
		if err != nil {
			return err
		}
		if err := ch.Confirm(false); err != nil {
			return err
		}
		made <- &publisher{
			ch: ch, returns: ch.NotifyReturn(make(chan amqp.Return, flightEvents)),
			closed: ch.NotifyClose(make(chan *amqp.Error, 1)),
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return <-made, nil
}

// flight is what one call publishes.
type flight struct {
	c        *Conn
	batches  []driver.Batch
	outcomes []outcome
	sent     []sent
	bytes    int
}

// sent is an event that the server has not confirmed yet.
type sent struct {
	batch   int
	at      int64
	confirm *amqp.DeferredConfirmation
}

// outcome counts what became of a batch's events; what is in no count is unknown.
type outcome struct {
	err      error // it was refused
	begun    bool
	stored   int
	returned int // nobody's queue was there
	failed   int // the server says that some queue has not stored it
}

// run publishes all, and is the error of the channel that made outcomes unknown.
func (f *flight) run(p *publisher) error {
	for i := range f.batches {
		if f.outcomes[i].err != nil {
			continue
		}
		b := &f.batches[i]
		for j := range b.Messages {
			if err := f.send(p, i, &b.Messages[j]); err != nil {
				return f.broken(p, err)
			}
		}
	}
	return f.land(p)
}

func (f *flight) send(p *publisher, batch int, m *driver.Message) error {
	if len(f.sent) >= flightEvents || f.bytes > flightBytes {
		if err := f.land(p); err != nil {
			return err
		}
	}
	b, at := &f.batches[batch], f.c.now()
	confirm, err := p.ch.PublishWithDeferredConfirm(b.Topic, routingKey(b.Partition), true, false, publishing(m, at))
	if errors.Is(err, amqp.ErrClosed) {
		return err // before anything of it was sent
	}
	f.outcomes[batch].begun = true
	if err != nil {
		return err
	}
	f.sent = append(f.sent, sent{batch, at, confirm})
	f.bytes += len(m.Data)
	return nil
}

// now returns when an event is published, which is later than any before.
func (c *Conn) now() int64 {
	for {
		last := c.last.Load()
		at := max(time.Now().UnixNano(), last+1)
		if c.last.CompareAndSwap(last, at) {
			return at
		}
	}
}

// land waits for what the server says of all that was sent.
func (f *flight) land(p *publisher) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for _, s := range f.sent {
		select {
		case <-s.confirm.Done():
		case <-limit.C:
			_ = p.ch.Close() // what it says now nobody would hear
			return f.broken(p, fmt.Errorf("%w: no confirm within %v", driver.ErrAway, patience))
		}
	}
	if p.ch.IsClosed() { // which made up the rest of the confirms
		return f.broken(p, amqp.ErrClosed)
	}
	f.count(p, true)
	return nil
}

// count notes what the server has said of what was sent, which is all, or until the channel
// ended. What is returned it confirms as well, after it has returned it.
func (f *flight) count(p *publisher, all bool) {
	returned := make(map[int64]bool)
	for len(p.returns) > 0 {
		r := <-p.returns
		returned[at(r.Headers)] = true
	}
	for _, s := range f.sent {
		o := &f.outcomes[s.batch]
		switch {
		case returned[s.at]:
			o.returned++
		case s.confirm.Acked():
			o.stored++
		case all:
			o.failed++
		}
	}
	f.sent, f.bytes = f.sent[:0], 0
}

// broken returns why the channel has ended, and counts what was confirmed before.
func (f *flight) broken(p *publisher, err error) error {
	select {
	case said := <-p.closed:
		if said != nil {
			err = said
		}
	default:
	}
	f.count(p, false)
	return err
}

// result is the error of a batch, nil when all of it is stored. broken is why the call ended
// early.
func (o *outcome) result(b *driver.Batch, broken error) error {
	switch {
	case o.err != nil:
		return o.err
	case o.stored == len(b.Messages):
		return nil
	case !o.begun:
		return fmt.Errorf("%w: %w", driver.ErrNotStored, broken)
	case o.stored > 0: // the errors below say that nothing is
		return fmt.Errorf("%d of %d events were stored, %d went to no queue, %d some queue has not stored: %v",
			o.stored, len(b.Messages), o.returned, o.failed, broken)
	case o.returned > 0:
		return fmt.Errorf("%w: topic %s has no group yet, and RabbitMQ keeps nothing for groups to come "+
			"(start a consumer of the group first)", driver.ErrNotStored, b.Topic)
	case o.failed > 0:
		return errors.New("the server says that some queue has not stored it, which another may have")
	case isAbout(broken, b.Topic): // the first of its events was not taken, nor those after it
		return fmt.Errorf("%w: %w", driver.ErrNotStored, explain(broken))
	}
	// What broken means to others is not said: it may mean that nothing is stored.
	return fmt.Errorf("%w: it is not known whether it is stored: %v", driver.ErrAway, broken)
}

// isAbout reports whether the server ended a channel because of a topic's exchange.
func isAbout(err error, topic string) bool {
	var said *amqp.Error
	return errors.As(err, &said) && (said.Code == amqp.NotFound || said.Code == amqp.AccessRefused) &&
		strings.Contains(said.Reason, "exchange '"+topic+"'")
}
