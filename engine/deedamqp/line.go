package deedamqp

import (
	"context"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
)

// tap is what a feed has of a partition. The feed's mu is held for its methods.
type tap interface {
	waiting() int           // how many events can be taken
	next() *driver.Delivery // the next of these, nil for none
	take()                  // hands it out
	early() bool            // whether others are to wait for its first event
	end() <-chan struct{}   // ends it; what it returns is closed when its channel is
}

// line is what taps have in common: a queue or stream that is read for as long as the
// partition is claimed, on a channel that is opened anew when it breaks.
type line struct {
	f         *feed
	partition int
	queue     string
	ctx       context.Context // ends with Shut
	stop      context.CancelFunc
	shut      chan struct{}
	asking    sync.Mutex // held by whoever waits for an answer on the channel

	// first is how long others wait for the first event of a queue that has some. Else the
	// partition that is there first would have all the room. The feed's mu guards it.
	first time.Time
}

const (
	// lostAfter is how long a queue has to be missing before its events count as lost: who
	// deletes a topic deletes its queues first.
	lostAfter     = 2 * time.Second
	reopenMin     = 20 * time.Millisecond
	reopenMax     = 2 * time.Second
	firstPatience = 500 * time.Millisecond
)

// start sets it up. The caller holds mu.
func (t *line) start(f *feed, partition int, queue string) {
	t.f, t.partition, t.queue, t.shut = f, partition, queue, make(chan struct{})
	t.first = time.Now().Add(firstPatience)
	time.AfterFunc(firstPatience, f.ready.Notify)
	t.ctx, t.stop = context.WithCancel(f.ctx)
}

func (t *line) early() bool { return time.Now().Before(t.first) }

func (t *line) end() <-chan struct{} {
	t.stop()
	return t.shut
}

// run reads until it is shut. What reads returns when its channel broke.
func (t *line) run(read func() error) {
	pause := reopenMin
	var since time.Time // when the queue was first not there
	for t.ctx.Err() == nil {
		opened := time.Now()
		err := read()
		if t.ctx.Err() != nil {
			return
		}
		switch {
		case !notFound(err):
			since = time.Time{}
			t.f.broke(fmt.Errorf("partition %d: %w", t.partition, err))
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > lostAfter:
			t.f.gone(fmt.Errorf("queue %s: %w", t.queue, err))
			return
		}
		if time.Since(opened) > reopenMax {
			pause = reopenMin
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, reopenMax)
		case <-t.ctx.Done():
		}
	}
}

// ended is why a channel was closed.
func ended(closed <-chan *amqp.Error) error {
	select {
	case err := <-closed:
		if err != nil {
			return err
		}
		return amqp.ErrClosed
	case <-time.After(missingPause): // the server cancelled the consumer, since the queue is gone
		return &amqp.Error{Code: amqp.NotFound, Reason: "the queue was deleted"}
	}
}

// inspect asks for the queue. The answer comes after all that the server sent before.
func (t *line) inspect(ch *amqp.Channel) (amqp.Queue, error) {
	t.asking.Lock()
	defer t.asking.Unlock()
	return ch.QueueDeclarePassive(t.queue, true, false, false, false, nil)
}
