package deedredis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

// PubSub is the ephemeral engine on publish/subscribe channels, of a server or a
// cluster: what is published goes to whoever listens, and is gone. Its methods are
// safe for concurrent use. The zero value has no connection and tells its Features
// only.
type PubSub struct {
	settings pubSubSettings
	client   rueidis.Client

	closing sync.Once
	mu      sync.Mutex
	closed  bool
	ears    map[*ear]struct{}
}

var (
	_ driver.Conn     = (*PubSub)(nil)
	_ driver.Patterns = (*PubSub)(nil)
)

// OpenPubSub connects to what url names: redis+pubsub://HOST:PORT, rediss+pubsub://
// for TLS; see docs/guides/pubsub.md. It fails when the server cannot be reached.
func OpenPubSub(ctx context.Context, url string) (*PubSub, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := parsePubSubURL(url)
	if err != nil {
		return nil, fmt.Errorf("redis+pubsub: %w", err)
	}
	client, err := rueidis.NewClient(s.client)
	if err != nil {
		return nil, fmt.Errorf("redis+pubsub: connect to %s: %w", strings.Join(s.client.InitAddress, ", "), explain(err))
	}
	c := &PubSub{settings: s, client: client, ears: make(map[*ear]struct{})}
	if err := c.inspect(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("redis+pubsub: open: %w", err)
	}
	return c, nil
}

// inspect refuses servers that would not pass events on.
func (c *PubSub) inspect(ctx context.Context) error {
	cluster := c.client.Mode() == rueidis.ClientModeCluster
	for addr, node := range c.client.Nodes() {
		s, err := ask(ctx, addr, node)
		if err != nil {
			return err
		}
		version := s.info["redis_version"]
		switch major, _ := strconv.Atoi(strings.SplitN(version, ".", 2)[0]); {
		case major < minVersion:
			return fmt.Errorf("%w: %s is Redis %s (deed wants %d.0 or later, or Valkey)",
				driver.ErrRefused, addr, version, minVersion)
		case s.replica && !cluster: // what is published there stays there
			return fmt.Errorf("%w: %s is a replica (connect to its master %s:%s, or to a sentinel with master_set)",
				driver.ErrRefused, addr, s.info["master_host"], s.info["master_port"])
		}
	}
	return nil
}

// maxAnnounced is the most data of an event. A server cuts a listener off whose
// waiting messages exceed client-output-buffer-limit, 32 MiB unless configured, so a
// message must be well below, in base64 too.
const maxAnnounced = 8 << 20

// Features implements [driver.Conn].
func (c *PubSub) Features() driver.Features {
	return driver.Features{
		Engine:       "redis+pubsub",
		Durability:   driver.Memory,
		Setting:      "nothing is stored: open redis:// for events that have to survive",
		KeyOrder:     true,
		Ephemeral:    true,
		Patterns:     !c.settings.sharded,
		MultiProcess: true,

		MaxEventBytes: maxAnnounced,
	}
}

// Publish implements [driver.Conn]. The events of one channel go over one connection,
// in order.
func (c *PubSub) Publish(ctx context.Context, batches []driver.Batch) ([]driver.Receipt, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("redis+pubsub: publish: %w: %w", driver.ErrNotStored, err)
	}
	receipts := make([]driver.Receipt, len(batches))
	var cmds []rueidis.Completed
	for i := range batches {
		if receipts[i].Err = fits(&batches[i]); receipts[i].Err != nil {
			continue
		}
		for j := range batches[i].Messages {
			cmds = append(cmds, c.announce(batches[i].Topic, &batches[i].Messages[j]))
		}
	}
	if len(cmds) == 0 {
		return receipts, nil
	}
	results := c.client.DoMulti(ctx, cmds...)
	for i := range batches {
		if receipts[i].Err != nil {
			continue
		}
		n := len(batches[i].Messages)
		receipts[i] = outcome(batches[i].Topic, results[:n])
		results = results[n:]
	}
	return receipts, nil
}

// fits refuses what is too large to reach a listener.
func fits(b *driver.Batch) error {
	for i := range b.Messages {
		if m := &b.Messages[i]; len(m.Data) > maxAnnounced {
			return fmt.Errorf("redis+pubsub: publish: topic %s: event %s has %d bytes of data (want at most %d): %w",
				b.Topic, m.ID, len(m.Data), maxAnnounced, driver.ErrRefused)
		}
	}
	return nil
}

// announce makes the command for one event. In a cluster the channel's name chooses the
// node, also where it need not, so that a channel keeps its order.
func (c *PubSub) announce(topic string, m *driver.Message) rueidis.Completed {
	channel := c.settings.channel(topic)
	document := rueidis.BinaryString(driverkit.AppendDocument(make([]byte, 0, len(m.Data)+512), m))
	if c.settings.sharded {
		return c.client.B().Spublish().Channel(channel).Message(document).Build()
	}
	return c.client.B().Arbitrary("PUBLISH").Keys(channel).Args(document).Build()
}

// outcome sums up what became of a batch. When only some of it failed, nobody can say
// that it was not announced.
func outcome(topic string, results []rueidis.RedisResult) driver.Receipt {
	failed := 0
	var err error
	for _, r := range results {
		if e := r.Error(); e != nil {
			failed++
			err = e
		}
	}
	switch {
	case failed == 0:
		return driver.Receipt{Stored: len(results)}
	case failed == len(results):
		return driver.Receipt{Err: fmt.Errorf("redis+pubsub: publish: topic %s: %w", topic, explain(err))}
	default:
		return driver.Receipt{Err: fmt.Errorf("redis+pubsub: publish: topic %s: %d of %d events failed: %v",
			topic, failed, len(results), err)}
	}
}

// Close implements [driver.Conn].
func (c *PubSub) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		ears := c.ears
		c.ears = nil
		c.mu.Unlock()
		c.client.Close()
		for e := range ears {
			e.Close()
		}
	})
	return nil
}

// usable reports ErrClosed after Close.
func (c *PubSub) usable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("redis+pubsub: %w", driver.ErrClosed)
	}
	return nil
}
