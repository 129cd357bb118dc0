package deedkafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

var (
	_ driver.Conn     = (*Conn)(nil)
	_ driver.Topics   = (*Conn)(nil)
	_ driver.Groups   = (*Conn)(nil)
	_ driver.Resetter = (*Conn)(nil)
	_ driver.Browser  = (*Conn)(nil)
)

// Options configure Open. There is nothing to configure beside the URL yet; nil is
// fine.
type Options struct{}

// Conn is a connection to a cluster. Its methods are safe for concurrent use.
type Conn struct {
	settings settings
	client   *kgo.Client // produces, and asks
	admin    *kadm.Client
	member   string // host/pid/random
	class    driver.Class
	setting  string // that would make it a higher class
	catalog  catalog

	ctx  context.Context // ends with Close
	stop context.CancelFunc

	mu     sync.Mutex
	topics map[string]*topic // as they were when last looked at
	subs   map[*subscription]bool
	// produced is the life of a topic that was last produced to.
	produced map[string]kadm.TopicID
}

const (
	// maxData is the largest event, for which topics of deed's have room in a batch, beside
	// a key and headers. Topics that others made may have less.
	maxData  = 1 << 20
	maxBatch = maxData + 256<<10
	// chunk is how much of a partition is sent at once, for topics with Kafka's default
	// max.message.bytes.
	chunk = 900 << 10
	// patience is how long the client tries to store an event before its outcome is
	// unknown.
	patience = 10 * time.Second
)

// Open connects to the cluster that url names: kafka://HOST:PORT; see
// docs/guides/kafka.md. A nil opts means defaults. It fails when no broker can be
// reached.
func Open(ctx context.Context, url string, _ *Options) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("deedkafka: %w", err)
	}
	options := append(s.options[:len(s.options):len(s.options)],
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(maxBatch), kgo.RecordDeliveryTimeout(patience), kgo.UnknownTopicRetries(1),
		kgo.MetadataMinAge(10*time.Millisecond))
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("deedkafka: %w: %w", driver.ErrRefused, err)
	}
	c := &Conn{
		settings: s, client: client, admin: kadm.NewClient(client), member: driverkit.MemberName(),
		topics: make(map[string]*topic), subs: make(map[*subscription]bool),
		produced: make(map[string]kadm.TopicID),
	}
	c.catalog.conn = c
	c.ctx, c.stop = context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if c.class, c.setting, err = c.inspect(ctx); err != nil {
		err = c.fail("open", err)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("deedkafka: open: %w: no broker answers: %w", driver.ErrAway, err)
		}
		c.Close()
		return nil, err
	}
	return c, nil
}

// Features implements [driver.Conn].
func (c *Conn) Features() driver.Features {
	f := Promise()
	f.Durability, f.Setting = c.class, c.setting
	return f
}

// Promise returns the features of a cluster that is set up to keep the most, which is
// what docs/engines.md shows; a connection's own say what its cluster really keeps.
func Promise() driver.Features {
	return driver.Features{
		Engine:        "kafka",
		Durability:    driver.Quorum,
		KeyOrder:      true,
		Groups:        true,
		Backlog:       true,
		Fenced:        true,
		Lag:           true,
		Browse:        true,
		Reset:         true,
		MultiProcess:  true,
		Flights:       2, // while the broker writes one, the client makes the other
		MaxEventBytes: maxData,
	}
}

// Close ends the connection and what was made by it. A second Close does nothing.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.ctx.Err() != nil {
		c.mu.Unlock()
		return nil
	}
	c.stop()
	subs := c.subs
	c.subs = nil
	c.mu.Unlock()
	for s := range subs {
		s.Close()
	}
	c.client.Close()
	return nil
}

// closed is ErrClosed after Close.
func (c *Conn) closed() error {
	if c.ctx.Err() != nil {
		return fmt.Errorf("deedkafka: %w", driver.ErrClosed)
	}
	return nil
}
