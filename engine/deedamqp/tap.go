package deedamqp

import (
	"fmt"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

const (
	// prefetch is how many events of a partition a member has and has not settled. It is the
	// same for all: what a member leaves behind, its successor is given at once. Had that
	// less room, what it leaves in turn would queue up behind the rest.
	prefetch      = 256
	missingPause  = 200 * time.Millisecond
	flushPatience = 2 * time.Millisecond
)

// entry is an event that came and is not settled.
type entry struct {
	n    int64  // its position
	tag  uint64 // by which it is acknowledged, 0 when it has to come again first
	same uint64 // by which it is known then

	stored int64           // nanoseconds since 1970
	d      driver.Delivery // until it is taken
}

// queueTap reads a queue. What was not settled when its channel broke comes again, and is
// not handed out twice.
type queueTap struct {
	line
	flushes chan chan struct{}

	// The feed's mu guards these.
	ch      *amqp.Channel
	entries []entry // in the order of the queue
	taken   int     // so many of them are handed out
	missing int     // the index from which on they have to come again; len(entries) for none
	last    int64   // position of the last one that came
	settled int64
}

// waiting returns how many events can be taken.
func (t *queueTap) waiting() int { return max(0, min(t.missing, len(t.entries))-t.taken) }

// next returns the next event to hand out, or nil.
func (t *queueTap) next() *driver.Delivery {
	if t.waiting() == 0 {
		return nil
	}
	return &t.entries[t.taken].d
}

// take hands it out.
func (t *queueTap) take() {
	t.entries[t.taken].d = driver.Delivery{} // the data is the caller's
	t.taken++
}

// upTo returns what acknowledges the events up to a position; the tag is 0 when there are
// none.
func (t *queueTap) upTo(n int64) (ch *amqp.Channel, tag uint64, err error) {
	i := len(t.entries)
	for i > 0 && t.entries[i-1].n > n {
		i--
	}
	if i == 0 {
		return nil, 0, nil
	}
	if t.ch == nil || t.entries[i-1].tag == 0 {
		return nil, 0, fmt.Errorf("%w: partition %d is being read from its start again", driver.ErrAway, t.partition)
	}
	return t.ch, t.entries[i-1].tag, nil
}

// drop forgets the events up to a position, which are settled.
func (t *queueTap) drop(n int64) {
	i := 0
	for i < len(t.entries) && t.entries[i].n <= n {
		i++
	}
	t.cut(0, i)
	t.settled = max(t.settled, n)
}

// cut removes entries.
func (t *queueTap) cut(from, to int) {
	t.entries = append(t.entries[:from], t.entries[to:]...)
	t.taken -= max(0, min(t.taken, to)-from)
	t.missing = max(from, t.missing-(to-from))
}

// add takes what came: a new event, or one that was there before the channel broke.
func (t *queueTap) add(r *amqp.Delivery) {
	f := t.f
	f.mu.Lock()
	defer f.mu.Unlock()
	same := sameAs(r)
	for i := t.missing; i < len(t.entries); i++ {
		if t.entries[i].same == same { // those before it were settled, and do not come again
			t.cut(t.missing, i)
			t.entries[t.missing].tag = r.DeliveryTag
			t.missing++
			return
		}
	}
	t.cut(t.missing, len(t.entries))
	t.first = time.Time{}
	t.last = max(t.last+1, at(r.Headers))
	d := delivery(r, f.topic, t.partition, strconv.FormatInt(t.last, 10), time.Now())
	t.entries = append(t.entries, entry{t.last, r.DeliveryTag, same, d.Stored.UnixNano(), d})
	t.missing = len(t.entries)
}

// read opens a channel and reads from it until it breaks or the tap is shut.
func (t *queueTap) read() error {
	ch, err := t.f.c.channel(t.ctx)
	if err != nil {
		return err
	}
	// Ended without cancelling the consumer first: what it has not settled goes back to the
	// queue before anybody else is given anything.
	defer func() {
		t.f.mu.Lock()
		t.ch = nil
		t.f.mu.Unlock()
		t.asking.Lock()
		defer t.asking.Unlock()
		ch.Close()
	}()
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	t.begin(ch)
	came, err := ch.Consume(t.queue, t.f.c.member, false, false, false, false, nil)
	if err != nil {
		return err
	}
	t.f.works()
	if err := t.flush(ch, came); err != nil {
		return err
	}
	return t.follow(ch, came, closed)
}

// begin notes that all that is not settled comes again.
func (t *queueTap) begin(ch *amqp.Channel) {
	f := t.f
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range t.entries {
		t.entries[i].tag = 0
	}
	t.ch, t.missing = ch, 0
}

// follow takes what comes.
func (t *queueTap) follow(ch *amqp.Channel, came <-chan amqp.Delivery, closed <-chan *amqp.Error) error {
	tick := time.NewTicker(missingPause)
	defer tick.Stop()
	quiet := false // nothing came since the last look
	for {
		select {
		case r, ok := <-came:
			if !ok {
				return ended(closed)
			}
			t.add(&r)
			t.f.works()
			quiet = false
		case flushed := <-t.flushes:
			if err := t.flush(ch, came); err != nil {
				return err
			}
			close(flushed)
		case <-tick.C:
			over, err := t.look(ch, quiet)
			if err != nil {
				return err
			}
			if quiet = !over; over {
				tick.Stop()
			}
		case <-t.ctx.Done():
			return nil
		}
	}
}

// look forgets what has to come again and does not: it was settled just before the channel
// broke. It reports whether nothing has to come any more. The consumer is the only one and
// the queue has nothing, twice in a row, with time for what was on its way.
func (t *queueTap) look(ch *amqp.Channel, quiet bool) (over bool, err error) {
	f := t.f
	f.mu.Lock()
	over = t.missing == len(t.entries)
	f.mu.Unlock()
	if over {
		return true, nil
	}
	q, err := t.inspect(ch)
	if err != nil || !quiet || q.Messages > 0 || q.Consumers > 1 {
		return false, err
	}
	f.mu.Lock()
	t.cut(t.missing, len(t.entries))
	f.mu.Unlock()
	return true, nil
}

// flush takes what the server had sent when the call began.
func (t *queueTap) flush(ch *amqp.Channel, came <-chan amqp.Delivery) error {
	q, err := t.inspect(ch)
	if err != nil {
		return err
	}
	for {
		select {
		case r, ok := <-came:
			if !ok {
				return amqp.ErrClosed
			}
			t.add(&r)
		case <-time.After(flushPatience): // the client has passed on all that came before the answer
			t.f.mu.Lock()
			if len(t.entries) > 0 || q.Messages == 0 {
				t.first = time.Time{}
			}
			t.f.mu.Unlock()
			t.f.ready.Notify()
			return nil
		}
	}
}

// settle acknowledges what came up to a tag. The answer to what it asks then comes after the
// queue has heard of that.
func (t *queueTap) settle(ch *amqp.Channel, tag uint64) error {
	if err := ch.Ack(tag, true); err != nil {
		return err
	}
	_, err := t.inspect(ch)
	return err
}
