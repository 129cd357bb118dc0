package deedmqtt

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// Conn is the engine on a broker. Its methods are safe for concurrent use. The zero
// value has no connection and tells its Features only.
type Conn struct {
	settings settings

	mu      sync.Mutex
	closed  bool
	session *Session // that publishes; nil until the first event, and after it was lost
	ears    map[*ear]struct{}
}

var (
	_ driver.Conn     = (*Conn)(nil)
	_ driver.Patterns = (*Conn)(nil)
)

// Open connects to the broker that url names: mqtt://USER:PASSWORD@HOST:PORT, or mqtts://
// for TLS; see docs/guides/mqtt.md. It fails when the broker cannot be reached or does
// not speak the URL's version of MQTT.
func Open(ctx context.Context, url string) (*Conn, error) {
	s, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	c := &Conn{settings: s, ears: make(map[*ear]struct{})}
	if _, err := c.publisher(ctx); err != nil {
		return nil, fmt.Errorf("mqtt: open: %w", err)
	}
	return c, nil
}

// maxAnnounced is the most data of an event. A broker may accept less.
const maxAnnounced = 8 << 20

// Features implements [driver.Conn].
func (c *Conn) Features() driver.Features {
	return driver.Features{
		Engine:       engineName,
		Durability:   driver.Memory,
		Setting:      "a broker passes events on: carry them into a topic of an engine that stores, by package bridge",
		KeyOrder:     true,
		Ephemeral:    true,
		Patterns:     true,
		MultiProcess: true,

		MaxEventBytes: maxAnnounced,
	}
}

// publisher returns the session that publishes, and connects where there is none.
func (c *Conn) publisher(ctx context.Context) (*Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock() // while one connects the others wait for it
	if c.closed {
		return nil, fmt.Errorf("mqtt: %w", driver.ErrClosed)
	}
	if c.session != nil && c.session.Err() == nil {
		return c.session, nil
	}
	if c.session != nil {
		c.session.Close()
		c.session = nil
	}
	s, err := dial(ctx, &c.settings, SessionOptions{})
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.settings.addr, err)
	}
	c.session = s
	return s, nil
}

// Publish implements [driver.Conn]. All events go over one connection, in order.
func (c *Conn) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	s, err := c.publisher(ctx)
	if err != nil {
		return nil, fmt.Errorf("mqtt: publish: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("mqtt: publish: %w: %w", driver.ErrNotStored, err)
	}
	receipts := make([]driver.Receipt, len(batches))
	var as []Announcement
	for i := range batches {
		b := &batches[i]
		if receipts[i].Err = fits(b); receipts[i].Err != nil {
			continue
		}
		for j := range b.Messages {
			as = append(as, Announcement{c.settings.topic(b.Topic), &b.Messages[j]})
		}
	}
	errs := s.Publish(ctx, as)
	for i := range batches {
		if receipts[i].Err != nil {
			continue
		}
		n := len(batches[i].Messages)
		if errs == nil {
			receipts[i].Stored = n
			continue
		}
		receipts[i] = outcome(batches[i].Topic, errs[:n])
		errs = errs[n:]
	}
	return receipts, nil
}

// fits refuses what is too large to reach a listener.
func fits(b *driver.Batch) error {
	for i := range b.Messages {
		if m := &b.Messages[i]; len(m.Data) > maxAnnounced {
			return fmt.Errorf("mqtt: publish: topic %s: event %s has %d bytes of data (want at most %d): %w",
				b.Topic, m.ID, len(m.Data), maxAnnounced, driver.ErrRefused)
		}
	}
	return nil
}

// outcome sums up what became of a batch. When only some of it failed, nobody can say
// that it was not announced.
func outcome(topic string, errs []error) driver.Receipt {
	failed := 0
	var last error
	for _, err := range errs {
		if err != nil {
			failed++
			last = err
		}
	}
	switch failed {
	case 0:
		return driver.Receipt{Stored: len(errs)}
	case len(errs):
		return driver.Receipt{Err: last}
	}
	return driver.Receipt{Err: fmt.Errorf("mqtt: publish: topic %s: %d of %d events failed: %v",
		topic, failed, len(errs), last)}
}

// Close implements [driver.Conn].
func (c *Conn) Close() error {
	c.mu.Lock()
	session, ears := c.session, c.ears
	c.closed, c.session, c.ears = true, nil, nil
	c.mu.Unlock()
	if session != nil {
		session.Close()
	}
	for e := range ears {
		e.Close()
	}
	return nil
}

// ear is a subscription with a session of its own.
type ear struct {
	*driverkit.Listener
	conn    *Conn
	filter  string
	pattern string // "" for a topic

	ctx  context.Context // ends with the subscription
	stop context.CancelFunc
	done sync.WaitGroup
}

// Subscribe implements [driver.Conn].
func (c *Conn) Subscribe(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	return c.listen(ctx, spec, &ear{filter: c.settings.topic(spec.Topic)})
}

// SubscribePattern implements [driver.Patterns].
func (c *Conn) SubscribePattern(ctx context.Context, spec driver.SubscribeSpec) (driver.Subscription, error) {
	return c.listen(ctx, spec, &ear{filter: c.settings.filter(spec.Topic), pattern: spec.Topic})
}

func (c *Conn) listen(ctx context.Context, spec driver.SubscribeSpec, e *ear) (driver.Subscription, error) {
	if spec.Topic == "" {
		return nil, fmt.Errorf("mqtt: listener %q: a topic needs a name: %w", spec.Group, driver.ErrRefused)
	}
	e.conn = c
	e.ctx, e.stop = context.WithCancel(context.Background())
	e.Listener = driverkit.NewListener(spec, c.settings.room, nil, e.end)
	h, err := e.connect(ctx)
	if err != nil {
		e.stop()
		return nil, fmt.Errorf("mqtt: listen to %s: %w", spec.Topic, err)
	}
	e.done.Go(func() { e.Keep(e.ctx, h, e.connect) })
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.ears[e] = struct{}{}
	}
	c.mu.Unlock()
	if closed {
		e.Close()
		return nil, fmt.Errorf("mqtt: %w", driver.ErrClosed)
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

// hearing is a session that listens.
type hearing struct{ *Session }

func (e *ear) connect(ctx context.Context) (driverkit.Hearing, error) {
	s, err := dial(ctx, &e.conn.settings, SessionOptions{Hear: e.hear})
	if err != nil {
		return nil, err
	}
	if err := s.Subscribe(ctx, Subscription{Filter: e.filter}); err != nil {
		s.Close()
		return nil, err
	}
	return hearing{s}, nil
}

// Wait implements [driverkit.Hearing].
func (h hearing) Wait(ctx context.Context) error {
	select {
	case <-h.Over():
		return h.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close implements [driverkit.Hearing].
func (h hearing) Close() { h.Session.Close() }

// hear takes a message over.
func (e *ear) hear(h Heard) {
	topic := e.conn.settings.name(h.Topic)
	if e.pattern != "" && !driver.MatchTopic(e.pattern, topic) {
		return
	}
	d := driver.Delivery{Stored: time.Now(), Message: h.Message}
	if d.ID == "" {
		d.ID = rand.Text()
	}
	driverkit.Complete(&d, engineName, topic, "", h.Damage)
	if e.pattern != "" {
		d.Topic = topic
	}
	e.Push(d)
}
