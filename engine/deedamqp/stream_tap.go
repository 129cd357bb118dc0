package deedamqp

import (
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

// streamTap reads a stream, from the last event on that was settled or has come: that this
// one is still there, and the same, shows that the server has lost nothing. What comes is
// acknowledged for credit only, when it is taken.
type streamTap struct {
	line
	s    *Streams
	more chan struct{} // of one: what was taken is to be acknowledged

	last int64  // the offset of the last message that came; run alone writes it
	same uint64 // by which that is known, 0 when it has not come

	// The feed's mu guards these.
	entries []streamEntry
	tag     uint64 // of the last message that was taken or passed over, 0 for none on this channel
	taken   int    // how many were since the last acknowledgement
}

// streamEntry is an event that came and is not taken.
type streamEntry struct {
	tag uint64 // 0 when its channel is gone
	d   driver.Delivery
}

// errStuck means that a partition cannot be read on, as the caller was told.
var errStuck = errors.New("told")

func (t *streamTap) waiting() int { return len(t.entries) }

func (t *streamTap) next() *driver.Delivery {
	if len(t.entries) == 0 {
		return nil
	}
	return &t.entries[0].d
}

func (t *streamTap) take() {
	tag := t.entries[0].tag
	t.entries[0] = streamEntry{}
	t.entries = t.entries[1:]
	if tag > 0 {
		t.pass(tag)
	}
}

// pass counts a message that gives credit. The caller holds mu.
func (t *streamTap) pass(tag uint64) {
	t.tag = tag
	if t.taken++; t.taken >= prefetch/2 || len(t.entries) == 0 {
		select {
		case t.more <- struct{}{}:
		default:
		}
	}
}

// read opens a channel and reads from it until it breaks or the tap is shut.
func (t *streamTap) read() error {
	err := t.follow()
	if errors.Is(err, errStuck) {
		<-t.ctx.Done()
	}
	return err
}

func (t *streamTap) follow() error {
	ch, err := t.f.c.channel(t.ctx)
	if err != nil {
		return err
	}
	defer ch.Close()
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	t.begin()
	came, err := ch.Consume(t.queue, t.f.c.member, false, false, false, false, amqp.Table{offsetHeader: t.last})
	if err != nil {
		return err
	}
	t.f.works()
	if err := t.resume(ch, came, closed); err != nil {
		return err
	}
	for {
		select {
		case r, ok := <-came:
			if !ok {
				return ended(closed)
			}
			if err := t.add(&r); err != nil {
				return err
			}
			t.f.works()
		case <-t.more:
			if err := t.credit(ch); err != nil {
				return err
			}
		case <-t.ctx.Done():
			return nil
		}
	}
}

// begin forgets what the former channel could acknowledge.
func (t *streamTap) begin() {
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	for i := range t.entries {
		t.entries[i].tag = 0
	}
	t.tag, t.taken = 0, 0
}

// credit acknowledges what was taken.
func (t *streamTap) credit(ch *amqp.Channel) error {
	t.f.mu.Lock()
	tag := t.tag
	t.tag, t.taken = 0, 0
	t.f.mu.Unlock()
	if tag == 0 {
		return nil
	}
	return ch.Ack(tag, true)
}

// resume waits for the message that is known to be there, and takes what is there behind it.
func (t *streamTap) resume(ch *amqp.Channel, came <-chan amqp.Delivery, closed <-chan *amqp.Error) error {
	look := time.NewTicker(nothingAfter)
	defer look.Stop()
	for first := true; first; {
		select {
		case r, ok := <-came:
			if !ok {
				return ended(closed)
			}
			if err := t.check(&r); err != nil {
				return err
			}
			if err := ch.Ack(r.DeliveryTag, false); err != nil {
				return err
			}
			first = false
		case <-look.C:
			err := t.s.within(t.ctx, t.queue, t.last)
			if errors.Is(err, errBeyond) {
				return t.stuck(fmt.Errorf("%w: the group has handled what the server has lost, and what comes now has the "+
					"same positions: %w (reset the group to go on)", driver.ErrLost, err))
			}
			if err != nil {
				return err
			}
		case <-t.ctx.Done():
			return nil
		}
	}
	return t.flush(ch, came)
}

// check looks at the first message of a channel.
func (t *streamTap) check(r *amqp.Delivery) error {
	at, err := offset(r)
	if err != nil {
		return t.stuck(err)
	}
	if at != t.last {
		return t.add(r)
	}
	if _, ok := marker(r); at == 0 && !ok {
		return t.stuck(fmt.Errorf("%w: stream %s is another one's: its first message is no marker",
			driver.ErrRefused, t.queue))
	}
	same := sameAs(r)
	if t.same != 0 && t.same != same {
		return t.stuck(fmt.Errorf("%w: at position %d the server has another event than before: it has lost its last ones "+
			"(reset the group to go on)", driver.ErrLost, at))
	}
	t.same = same
	return nil
}

// add takes what came.
func (t *streamTap) add(r *amqp.Delivery) error {
	at, err := offset(r)
	if err != nil {
		return t.stuck(err)
	}
	if at > t.last+2 {
		if err := t.hole(at); err != nil {
			return err
		}
	}
	_, marks := marker(r)
	t.f.mu.Lock()
	defer t.f.mu.Unlock()
	t.first = time.Time{}
	if at <= t.last || marks {
		t.pass(r.DeliveryTag)
		t.last = max(t.last, at)
		return nil
	}
	t.last, t.same = at, sameAs(r)
	t.entries = append(t.entries, streamEntry{r.DeliveryTag, streamDelivery(r, t.f.topic, t.partition, at)})
	return nil
}

// hole finds out why there are no messages before an offset. RabbitMQ writes entries of its
// own, which have offsets: one at the beginning of each file but the first, and one whenever
// some other program stores how far it has read. Files it removes only where a policy says so.
func (t *streamTap) hole(at int64) error {
	start := int64(0)
	err := t.s.with(t.ctx, func(ch *amqp.Channel) (err error) {
		start, err = t.s.start(t.ctx, ch, t.queue)
		return err
	})
	if err != nil || t.last+1 >= start-1 {
		return err
	}
	return t.stuck(fmt.Errorf("%w: events %d to %d of partition %d are gone: a policy lets the server remove them "+
		"(to go on without them, reset the group to a cursor with %d)",
		driver.ErrLost, t.last+1, start-1, t.partition, start-1))
}

// stuck tells that the partition cannot be read on.
func (t *streamTap) stuck(err error) error {
	t.f.mu.Lock()
	t.first = time.Time{}
	t.f.stopped = append(t.f.stopped, driver.Stopped{Partition: t.partition, Err: t.f.fail(err)})
	t.f.mu.Unlock()
	t.f.ready.Notify()
	return errStuck
}

// flush takes what the server had sent when the call began.
func (t *streamTap) flush(ch *amqp.Channel, came <-chan amqp.Delivery) error {
	if _, err := t.inspect(ch); err != nil {
		return err
	}
	for {
		select {
		case r, ok := <-came:
			if !ok {
				return amqp.ErrClosed
			}
			if err := t.add(&r); err != nil {
				return err
			}
		case <-time.After(flushPatience): // the client has passed on all that came before the answer
			t.f.mu.Lock()
			t.first = time.Time{}
			t.f.mu.Unlock()
			t.f.ready.Notify()
			return nil
		}
	}
}
