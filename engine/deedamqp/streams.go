package deedamqp

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

var (
	_ driverkit.Feeder = (*Streams)(nil)
	_ driverkit.Logs   = (*Streams)(nil)
)

// Streams is a connection to a server with RabbitMQ streams. Its methods are safe for concurrent use.
type Streams struct {
	*Conn
	making sync.Mutex    // held by whoever has, or waits for, the lock of a topic
	tags   atomic.Uint64 // names consumers

	mu    sync.Mutex
	tails map[string]tail
}

// Features implements [driver.Conn]. They are those of a log that has no state yet.
func (s *Streams) Features() driver.Features { return PromiseStreams() }

// PromiseStreams is [Promise] with queues=stream.
func PromiseStreams() driver.Features {
	f := Promise()
	// The server has written what it confirms, and leaves it to its system to sync. On how
	// many nodes it has done so the protocol does not tell.
	f.Durability, f.Advice = driver.Process, ""
	f.Setting = "RabbitMQ syncs no streams: leave queues=stream out of the URL for a higher class"
	f.Backlog, f.Browse, f.Reset = true, true, true
	return f
}

// Space implements [driverkit.Feeder].
func (s *Streams) Space() (own string, others map[string]string) {
	return streamSpace, map[string]string{queueSpace: "it is in quorum queues (leave queues=stream out of the URL)"}
}

// Feed implements [driverkit.Feeder].
func (s *Streams) Feed(group, topic string, _ time.Duration) (driverkit.Feed, error) {
	f, err := s.newFeed(group, topic)
	if err != nil {
		return nil, err
	}
	f.tap = func(partition int, settled int64) tap {
		t := &streamTap{s: s, more: make(chan struct{}, 1), last: settled}
		t.start(f, partition, streamName(topic, partition))
		f.done.Go(func() {
			defer close(t.shut)
			t.run(t.read)
		})
		return t
	}
	return streamFeed{f}, nil
}

// streamFeed is a member's reading of streams.
type streamFeed struct{ *feed }

// Settle implements [driverkit.Feed]: where a group is, the state alone knows.
func (f streamFeed) Settle(_ context.Context, _ int, position string) error {
	_, err := driverkit.ParsePosition(position)
	return f.fail(err)
}

// offset returns where in its stream a message is.
func offset(r *amqp.Delivery) (int64, error) {
	n, ok := r.Headers[offsetHeader].(int64)
	if !ok {
		return 0, fmt.Errorf("%w: it is there and no stream: what it gives has no header %s", driver.ErrRefused, offsetHeader)
	}
	return n, nil
}

const offsetHeader = "x-stream-offset"

// streamDelivery reads a message of a stream. One that does not say when it was published is
// of 1970: what is read again is not to change.
func streamDelivery(r *amqp.Delivery, topic string, partition int, at int64) driver.Delivery {
	return delivery(r, topic, partition, strconv.FormatInt(at, 10), time.Unix(0, 0))
}
