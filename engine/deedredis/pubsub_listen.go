package deedredis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// ear is a subscription with a connection of its own, so that a server which cuts a
// slow one off leaves the others alone.
type ear struct {
	*driverkit.Listener
	conn      *PubSub
	at        string // the channel or pattern
	subscribe func(rueidis.Builder) rueidis.Completed
	names     bool // deliveries name their topic

	ctx  context.Context // ends with the subscription
	stop context.CancelFunc
	done sync.WaitGroup
}

// Subscribe implements [driver.Conn].
func (c *PubSub) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	channel := c.settings.channel(spec.Topic)
	return c.listen(ctx, spec, &ear{at: channel, subscribe: func(b rueidis.Builder) rueidis.Completed {
		if c.settings.sharded {
			return b.Ssubscribe().Channel(channel).Build()
		}
		return b.Subscribe().Channel(channel).Build()
	}})
}

// SubscribePattern implements [driver.Patterns].
func (c *PubSub) SubscribePattern(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	if c.settings.sharded {
		return nil, fmt.Errorf("redis+pubsub: pattern %s: sharded channels have no patterns (drop sharded=1): %w",
			spec.Topic, driver.ErrRefused)
	}
	glob := c.settings.glob(spec.Topic)
	return c.listen(ctx, spec, &ear{at: glob, names: true, subscribe: func(b rueidis.Builder) rueidis.Completed {
		return b.Psubscribe().Pattern(glob).Build()
	}})
}

func (c *PubSub) listen(ctx context.Context, spec driver.SubscribeSpec, e *ear) (driver.Subscription, error) {
	if spec.Topic == "" {
		return nil, fmt.Errorf("redis+pubsub: listener %q: a topic needs a name: %w", spec.Group, driver.ErrRefused)
	}
	if err := c.usable(); err != nil {
		return nil, err
	}
	e.conn = c
	e.ctx, e.stop = context.WithCancel(context.Background())
	e.Listener = driverkit.NewListener(spec, c.settings.room, e.read, e.end)
	s, err := e.connect(ctx)
	if err != nil {
		e.stop()
		return nil, fmt.Errorf("redis+pubsub: listen to %s: %w", spec.Topic, err)
	}
	e.done.Go(func() { e.Keep(e.ctx, s, e.connect) })
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.ears[e] = struct{}{}
	}
	c.mu.Unlock()
	if closed {
		e.Close()
		return nil, c.usable()
	}
	return e.Listener, nil
}

// end is called once, when the subscription is closed.
func (e *ear) end() {
	e.stop()
	e.done.Wait()
	e.conn.mu.Lock()
	defer e.conn.mu.Unlock()
	delete(e.conn.ears, e)
}

// session is one connection that listens.
type session struct {
	client rueidis.DedicatedClient
	broken <-chan error // the connection's end
	thrown chan error   // the server's word that it no longer listens
}

// connect returns once the server has confirmed that it passes on what is published.
func (e *ear) connect(ctx context.Context) (driverkit.Hearing, error) {
	client, _ := e.conn.client.Dedicate()
	s := &session{client: client, thrown: make(chan error, 1)}
	s.broken = client.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: e.hear, OnSubscription: s.note})
	// In a cluster the first command chooses the node: that on which the channel's events
	// are published, since on others they arrive later.
	err := client.Do(ctx, client.B().Arbitrary("PING").Keys(e.at).Build()).Error()
	if err == nil {
		err = client.Do(ctx, e.subscribe(client.B())).Error()
	}
	if err != nil {
		client.Close()
		return nil, explain(err)
	}
	return s, nil
}

// note hears that a subscription began or ended. It ends when the slot of a sharded
// channel moves to another node.
func (s *session) note(n rueidis.PubSubSubscription) {
	if strings.HasSuffix(n.Kind, "unsubscribe") {
		select {
		case s.thrown <- errors.New("the server ended the subscription: the channel has moved"):
		default:
		}
	}
}

// hear takes a message over. It runs on the connection's reader and never waits.
func (e *ear) hear(m rueidis.PubSubMessage) {
	topic := strings.TrimPrefix(m.Channel, e.conn.settings.prefix)
	e.Push(driver.Delivery{Topic: topic, Stored: time.Now(), Message: driver.Message{Data: []byte(m.Message)}})
}

// read makes an event of a message that is fetched.
func (e *ear) read(d *driver.Delivery) {
	damage := driverkit.ReadDocument(string(d.Data), &d.Message)
	if d.ID == "" {
		d.ID = rand.Text()
	}
	driverkit.Complete(d, engineName, d.Topic, "", damage)
	if !e.names {
		d.Topic = ""
	}
}

// Wait implements [driverkit.Hearing].
func (s *session) Wait(ctx context.Context) error {
	select {
	case err := <-s.broken:
		if err == nil {
			return errors.New("the connection has ended")
		}
		return explain(err)
	case err := <-s.thrown:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close implements [driverkit.Hearing].
func (s *session) Close() { s.client.Close() }
