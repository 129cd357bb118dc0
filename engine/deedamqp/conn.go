package deedamqp

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

var (
	_ driverkit.Feeder = (*Conn)(nil)
	_ driverkit.Queues = (*Conn)(nil)
)

// Conn is a connection to a server, with quorum queues. Its methods are safe for concurrent
// use.
type Conn struct {
	settings settings
	member   string // host/pid/random
	reads    *link  // consumes, and asks
	writes   *link  // publishes: the server may stop to take anything from it

	slots chan *publisher // as many as may publish at once; nil ones are made when needed
	last  atomic.Int64    // the last deed-at

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	feeds map[*feed]bool // nil after Close
}

const (
	// engineName is that of Features, and in the source of events that do not say it.
	engineName = "amqp"
	maxData    = 8 << 20 // bytes of an event; RabbitMQ 4 takes messages of 16 MiB
	flights    = 4
	// patience is how long the server may take for an answer.
	patience = 10 * time.Second
)

// Open connects to the server that url names: amqp://USER:PASSWORD@HOST:PORT/VHOST; see
// docs/guides/rabbitmq.md. It is a [Conn], or [Streams] where url says queues=stream. What it
// returns wants a second engine, see driverkit.WithState.
func Open(ctx context.Context, url string) (driver.Conn, error) {
	c, err := connect(ctx, url)
	if err != nil {
		return nil, err
	}
	if c.settings.streams {
		return &Streams{Conn: c, tails: make(map[string]tail)}, nil
	}
	return c, nil
}

func connect(ctx context.Context, url string) (*Conn, error) {
	s, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("deedamqp: %w", err)
	}
	c := &Conn{
		settings: s, member: driverkit.MemberName(), slots: make(chan *publisher, flights), feeds: make(map[*feed]bool),
	}
	c.reads, c.writes = newLink(&c.settings, c.member), newLink(&c.settings, c.member+" publishes")
	for range flights {
		c.slots <- nil
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	conn, err := c.reads.get(ctx)
	if err == nil {
		_, err = inspect(conn, s.streams)
	}
	if err != nil {
		err = c.fail("open", err)
		c.Close()
		return nil, err
	}
	return c, nil
}

// Features implements [driver.Conn]. They are those of a log that has no state yet.
func (c *Conn) Features() driver.Features { return Promise() }

// Promise returns what the engine promises, whatever the server.
func Promise() driver.Features {
	return driver.Features{
		Engine: engineName,
		// A quorum queue confirms what a majority of its replicas has on disk. How many it
		// has the protocol does not tell; one survives a power cut.
		Durability:    driver.Power,
		Advice:        "queues=stream in the URL keeps what was read",
		KeyOrder:      true,
		MultiProcess:  true,
		Flights:       flights,
		MaxEventBytes: maxData,
	}
}

// Subscribe implements [driver.Conn]: there are no groups without a state.
func (c *Conn) Subscribe(context.Context, driver.SubscribeSpec) (driver.Subscription, error) {
	return nil, fmt.Errorf("deedamqp: subscribe: %w: RabbitMQ has no place for claims, positions and dead letters "+
		"(name a second engine for them by Options.State or --state, see driverkit.WithState)", driver.ErrRefused)
}

// Close ends the connection and what was made by it. A second Close does nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	feeds := c.feeds
	c.feeds = nil
	c.mu.Unlock()
	if c.ctx.Err() != nil {
		return nil
	}
	c.stop()
	for f := range feeds {
		f.Close()
	}
	c.writes.close()
	c.reads.close()
	c.done.Wait()
	return nil
}

// call does what may wait for the server. When ctx ends first it is left behind, and ends
// with the connection at the latest.
func (c *Conn) call(ctx context.Context, do func() error) error {
	c.mu.Lock()
	if c.feeds == nil {
		c.mu.Unlock()
		return driver.ErrClosed
	}
	ended := make(chan error, 1)
	c.done.Go(func() { ended <- do() })
	c.mu.Unlock()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// channel opens a channel to ask on and to read from. Whoever has it closes it.
func (c *Conn) channel(ctx context.Context) (*amqp.Channel, error) {
	conn, err := c.reads.get(ctx)
	if err != nil {
		return nil, err
	}
	return conn.Channel()
}

// with lends a channel of its own to do, which may fail and take the channel with it.
func (c *Conn) with(ctx context.Context, do func(*amqp.Channel) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w: no answer within %v", driver.ErrAway, patience))
	defer cancel()
	return c.call(ctx, func() error {
		ch, err := c.channel(ctx)
		if err != nil {
			return err
		}
		defer ch.Close()
		return do(ch)
	})
}

// inspect returns the version of a server, or why it does not do.
func inspect(conn *amqp.Connection, streams bool) (version string, err error) {
	product, _ := conn.Properties["product"].(string)
	version, _ = conn.Properties["version"].(string)
	if product != "RabbitMQ" {
		return version, fmt.Errorf("%w: the server is %q (want RabbitMQ)", driver.ErrRefused, product)
	}
	return version, old(version, streams)
}

// old refuses a server that has not what the URL asks for.
func old(version string, streams bool) error {
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil {
		return nil // not told: what is missing says so itself
	}
	switch before := func(n int) bool { return major < 3 || major == 3 && minor < n }; {
	case before(8):
		return fmt.Errorf("%w: RabbitMQ %s has no quorum queues (want 3.8 or newer)", driver.ErrRefused, version)
	case streams && before(9):
		return fmt.Errorf("%w: RabbitMQ %s has no streams (want 3.9 or newer, or no queues=stream in the URL)",
			driver.ErrRefused, version)
	}
	return nil
}
