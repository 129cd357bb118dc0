package deednats

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/deedgo/deed/driver"
)

const (
	// aheadBytes is how much of a partition may wait to be received, but for one message.
	aheadBytes = 1 << 20
	// pullMessages and pullPayloads bound what the server sends ahead of that.
	pullMessages, pullPayloads = 256, 2
	// retryEvery is how often a partition that cannot be read is tried again.
	retryEvery = 500 * time.Millisecond
)

// errRegressed means that the log ends before what was read of it, or continues in another
// way: the server has lost something.
var errRegressed = errors.New("the server has lost the end of the log")

// reader reads one claimed partition ahead, with a consumer of JetStream's that is of no
// importance: it acknowledges nothing, and is made anew whenever anything fails.
type reader struct {
	s         *subscription
	partition int
	epoch     int64
	ctx       context.Context
	stop      context.CancelFunc

	// Owned by run.
	seq  uint64 // of the last message that was read, 0 for none
	read int64  // position read up to
	base int64  // what is removed up to there
}

// run reads until the claim is lost.
func (r *reader) run() {
	for r.ctx.Err() == nil {
		err := r.follow()
		if r.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRegressed) {
			err = r.s.regressed(r, r.read)
		}
		r.s.troubled(r, err)
		select {
		case <-r.ctx.Done():
		case <-r.s.c.back.Wait():
		case <-time.After(retryEvery):
		}
	}
}

// follow reads from where it is until something fails.
func (r *reader) follow() error {
	returns := r.s.c.returns.Load()
	from, err := r.begin()
	if err != nil {
		return err
	}
	stream, err := r.s.c.handle(r.ctx, r.s.topic.log)
	if err != nil {
		return err
	}
	ctx, cancel := r.s.c.within(r.ctx)
	defer cancel()
	consumer, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: r.s.c.names.partition(r.s.topic.life, r.partition),
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   from, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
		Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return classify(err)
	}
	defer r.forget(stream, consumer)
	limit := pullPayloads * int(r.s.c.nc.MaxPayload())
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(pullMessages, limit),
		jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(2*time.Second))
	if err != nil {
		return err
	}
	defer messages.Stop()
	r.s.troubled(r, nil)
	online, cut := r.s.c.online(r.ctx)
	defer cut()
	for {
		m, err := messages.Next(jetstream.NextContext(online))
		if err != nil {
			return err
		}
		if r.s.c.returns.Load() != returns { // another server, which may know less
			return nil
		}
		if err := r.take(m); err != nil {
			return err
		}
	}
}

// forget removes a consumer, which would go by itself a minute later.
func (r *reader) forget(stream jetstream.Stream, consumer jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if r.s.c.nc.IsConnected() {
		_ = stream.DeleteConsumer(ctx, consumer.CachedInfo().Name)
	}
}

// begin returns where to read on. The log may be another one than when it was read last.
func (r *reader) begin() (seq uint64, err error) {
	c, t := r.s.c, r.s.topic
	base, _, err := readDoc[baseDoc](r.ctx, c, c.names.base(t.life, r.partition))
	if err != nil && !errors.Is(err, errNone) {
		return 0, err
	}
	r.base = base.Position
	now, _, err := c.endOf(r.ctx, t.life, r.partition)
	switch {
	case err != nil:
		return 0, err
	case now.last < r.read || now.seq < r.seq:
		r.read = now.last
		return 0, errRegressed
	case r.seq > 0:
		return r.seq + 1, nil
	case now.last <= max(r.read, r.base):
		r.s.nothing(r)
		return now.seq + 1, nil
	}
	m, _, err := c.locate(r.ctx, t, r.partition, max(r.read, r.base)+1)
	return m.seq, err
}

// take makes the events of a message wait to be received.
func (r *reader) take(raw jetstream.Msg) error {
	meta, err := raw.Metadata()
	if err != nil {
		return err
	}
	m := message{raw.Subject(), meta.Sequence.Stream, raw.Headers(), raw.Data(), meta.Timestamp.UTC()}
	s, err := parseStamp(&m)
	if err != nil {
		return err
	}
	first := s.last - s.count + 1
	if r.seq > 0 && first <= r.read {
		r.read = first - 1
		return errRegressed
	}
	if first > max(r.read, r.base)+1 {
		if err := r.hole(first); err != nil {
			return err
		}
	}
	ds, err := r.s.c.events(r.ctx, r.s.topic, &m, &s, r.partition, max(r.read, r.base))
	if err != nil {
		return err
	}
	r.seq, r.read = m.seq, max(r.read, s.last)
	return r.s.arrived(r, ds)
}

// hole finds out why events are missing before a position.
func (r *reader) hole(first int64) error {
	base, _, err := readDoc[baseDoc](r.ctx, r.s.c, r.s.c.names.base(r.s.topic.life, r.partition))
	if err != nil && !errors.Is(err, errNone) {
		return err
	}
	if r.base = base.Position; first <= max(r.read, r.base)+1 {
		return nil
	}
	return fmt.Errorf("%w: events %d to %d of the partition are gone: somebody removed messages from the "+
		"JetStream stream %s (to go on without them, reset the group to a cursor with %d)",
		driver.ErrLost, max(r.read, r.base)+1, first-1, r.s.topic.log, first-1)
}
