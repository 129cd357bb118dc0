package deednats

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What deed asks of JetStream, all of it. Reading goes to the stream's leader, so that what
// was acknowledged is seen.

// message is one as the server has it.
type message struct {
	subject string
	seq     uint64
	header  nats.Header
	data    []byte
	time    time.Time
}

// within bounds a call that the caller did not bound.
func (c *Conn) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, c.settings.patience)
	ctx, cut := c.online(ctx)
	return ctx, func() {
		cut()
		cancel()
	}
}

// online ends what waits for an answer when the connection is lost, since none will come
// then.
func (c *Conn) online(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cut := context.WithCancelCause(ctx)
	c.mu.Lock()
	line := c.line
	c.mu.Unlock()
	stop := context.AfterFunc(line, func() { cut(errCut) })
	return call{ctx}, func() {
		stop()
		cut(nil)
	}
}

// call is a context that says it when it ended with the connection: nobody has canceled
// anything then.
type call struct{ context.Context }

// Err implements [context.Context].
func (c call) Err() error {
	if err := context.Cause(c.Context); errors.Is(err, errCut) {
		return err
	}
	return c.Context.Err()
}

// disconnected ends the calls that wait for an answer.
func (c *Conn) disconnected(*nats.Conn, error) {
	c.mu.Lock()
	hang := c.hangUp
	c.line, c.hangUp = context.WithCancel(context.Background())
	c.mu.Unlock()
	hang()
}

// handle returns a stream to ask, without asking whether it is there.
func (c *Conn) handle(ctx context.Context, name string) (jetstream.Stream, error) {
	c.mu.Lock()
	s := c.handles[name]
	c.mu.Unlock()
	if s != nil {
		return s, nil
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	s, err := c.js.Stream(ctx, name)
	if err != nil {
		return nil, classify(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handles[name] = s
	return s, nil
}

// store appends a message if the last one of its subject is the expected one.
func (c *Conn) store(ctx context.Context, m *nats.Msg, expected uint64) (seq uint64, err error) {
	return c.publish(ctx, m, jetstream.WithExpectLastSequencePerSubject(expected))
}

// publish appends a message. An error of which nothing is known leaves open whether it is
// stored.
func (c *Conn) publish(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (seq uint64, err error) {
	ack, err := c.publishAck(ctx, m, opts...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

func (c *Conn) publishAck(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	if int64(len(m.Data)) > c.nc.MaxPayload() {
		return nil, nats.ErrMaxPayload
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	ack, err := c.js.PublishMsg(ctx, m, append(opts, jetstream.WithRetryAttempts(0))...)
	return ack, classify(err)
}

// last returns the last message of a subject.
func (c *Conn) last(ctx context.Context, stream, subject string) (message, error) {
	return c.get(ctx, stream, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetLastMsgForSubject(ctx, subject)
	})
}

// next returns the first message of a subject at or after a sequence number.
func (c *Conn) next(ctx context.Context, stream, subject string, seq uint64) (message, error) {
	return c.get(ctx, stream, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, max(seq, 1), jetstream.WithGetMsgSubject(subject))
	})
}

// at returns the message of a sequence number.
func (c *Conn) at(ctx context.Context, stream string, seq uint64) (message, error) {
	return c.get(ctx, stream, func(ctx context.Context, s jetstream.Stream) (*jetstream.RawStreamMsg, error) {
		return s.GetMsg(ctx, seq)
	})
}

func (c *Conn) get(
	ctx context.Context, stream string,
	ask func(context.Context, jetstream.Stream) (*jetstream.RawStreamMsg, error),
) (message, error) {
	s, err := c.handle(ctx, stream)
	if err != nil {
		return message{}, err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	raw, err := ask(ctx, s)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return message{}, errNone
	}
	if err != nil {
		return message{}, classify(err)
	}
	return message{raw.Subject, raw.Sequence, raw.Header, raw.Data, raw.Time}, nil
}

// purge removes the messages of a subject below a sequence number, all of them for 0.
func (c *Conn) purge(ctx context.Context, stream, subject string, below uint64) error {
	s, err := c.handle(ctx, stream)
	if err != nil {
		return err
	}
	if below > 0 && c.old {
		return c.purgeSlowly(ctx, s, stream, subject, below)
	}
	opts := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject(subject)}
	if below > 0 {
		opts = append(opts, jetstream.WithPurgeSequence(below))
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	return classify(s.Purge(ctx, opts...))
}

// purgeSlowly removes messages one by one, for servers of before 2.10: those take a bound
// with a subject for the whole of the subject.
func (c *Conn) purgeSlowly(ctx context.Context, s jetstream.Stream, stream, subject string, below uint64) error {
	for {
		m, err := c.next(ctx, stream, subject, 1)
		if errors.Is(err, errNone) || err == nil && m.seq >= below {
			return nil
		}
		if err != nil {
			return err
		}
		within, cancel := c.within(ctx)
		err = s.DeleteMsg(within, m.seq)
		cancel()
		if err != nil && code(err) != codeNoMessage {
			return classify(err)
		}
	}
}

// subjects returns the last parts of the subjects below a wildcard that have messages.
func (c *Conn) subjects(ctx context.Context, stream, wildcard string) ([]string, error) {
	s, err := c.handle(ctx, stream)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.within(ctx)
	defer cancel()
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(wildcard))
	if err != nil {
		return nil, classify(err)
	}
	prefix := strings.TrimSuffix(wildcard, ">")
	names := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		names = append(names, strings.TrimPrefix(subject, prefix))
	}
	return names, nil
}
