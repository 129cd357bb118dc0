package deedredis

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
)

var (
	_ driver.Conn     = (*Conn)(nil)
	_ driver.Topics   = (*Conn)(nil)
	_ driver.Groups   = (*Conn)(nil)
	_ driver.Resetter = (*Conn)(nil)
	_ driver.Sweeper  = (*Conn)(nil)
	_ driver.Browser  = (*Conn)(nil)
	_ driver.SideLog  = (*Conn)(nil)
	_ driver.Letters  = (*Conn)(nil)
	_ driver.Streams  = (*Conn)(nil)
	_ driver.Records  = (*Conn)(nil)
)

// Options configure Open. There is nothing to configure beside the URL yet; nil is
// fine.
type Options struct{}

// Conn is a connection to a server or cluster. Its methods are safe for concurrent
// use.
type Conn struct {
	keys     keys
	settings settings
	client   rueidis.Client
	cluster  bool
	class    driver.Class
	setting  string // that would make it a higher class
	forgets  string // the policy by which some server would forget ids, "" for none
	keeper   *driverkit.Keeper
	member   string // host/pid/random

	entryBytes atomic.Int64 // how large entries have been lately
	blocks     chan []byte  // for publishing, not in use

	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	done     sync.WaitGroup
	watching sync.Once
	closing  sync.Once
	closeErr error

	mu       sync.Mutex
	closed   bool
	topics   map[string]*topic  // as they were when last looked at
	made     map[string]bool    // topics that were there and that nobody has deleted, as far as is known
	writes   map[string]written // to side logs, by claim
	seats    map[string]ownSeat // by name
	lastSeat int
	movers   map[string]*driverkit.Signal // by topic whose delayed events this connection moves
	rooms    map[string]*room             // of bounded topics
}

// ownSeat is what a seat of this connection is for.
type ownSeat struct {
	group       string
	topic       string
	incarnation string
	partitions  int
	unsafe      string // JSON array of types
}

// Open connects to what url names: redis://HOST:PORT, rediss:// for TLS; see
// docs/guides/redis.md. A nil opts means defaults. It fails when the server cannot
// be reached, or is set up so that accepted events would not be safe.
func Open(ctx context.Context, url string, _ *Options) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("deedredis: %w", err)
	}
	client, err := connect(ctx, s.client)
	if err != nil {
		return nil, connectError(s, err)
	}
	c := newConn(s, client)
	if c.class, c.setting, err = c.inspect(ctx); err == nil {
		err = c.scripting(ctx)
	}
	if err != nil {
		client.Close()
		return nil, c.fail("open", err)
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.keeper = driverkit.NewKeeper(&store{c})
	return c, nil
}

func newConn(s settings, client rueidis.Client) *Conn {
	return &Conn{
		blocks: make(chan []byte, flights),
		keys:   keys{s.prefix}, settings: s, client: client, cluster: client.Mode() == rueidis.ClientModeCluster,
		member: driverkit.MemberName(), topics: make(map[string]*topic), made: make(map[string]bool),
		writes: make(map[string]written), seats: make(map[string]ownSeat),
		movers: make(map[string]*driverkit.Signal), rooms: make(map[string]*room),
	}
}

// maxData is what a field of an entry holds on a server with its default
// proto-max-bulk-len.
const maxData = 512 << 20

// maxTopic bounds topics that do not say: all of them are in the server's memory.
const maxTopic = 1 << 30

// Features implements [driver.Conn].
func (c *Conn) Features() driver.Features {
	f := Promise()
	f.Durability, f.Setting = c.class, c.setting
	return f
}

// Promise returns the features of a server that is set up to keep the most, which is
// what docs/engines.md shows; a connection's own say what its server really keeps.
func Promise() driver.Features {
	return driver.Features{
		Engine:       "redis",
		Durability:   driver.Power,
		KeyOrder:     true,
		Groups:       true,
		Backlog:      true,
		Fenced:       true,
		Sequence:     true,
		Dedupe:       true,
		SideLog:      true,
		Lag:          true,
		Browse:       true,
		Delay:        true,
		Reset:        true,
		Retention:    true,
		MultiProcess: true,
		Pack:         true,
		Streams:      true,
		Records:      true,
		Flights:      flights, // while the server works on one, the client makes and reads the other

		MaxEventBytes: maxData,
		MaxTopicBytes: maxTopic,
	}
}

// Freeze makes this connection's members look like those of a process that was
// stopped: they renew no more. It is for tests of what happens then.
func (c *Conn) Freeze() { c.keeper.Close() }

// Close implements [driver.Conn]. The member's seats go at once, so that others take
// its partitions without waiting for the lease.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.stop()
		c.keeper.Close()
		c.done.Wait()
		c.closeErr = c.leaveAll()
		c.client.Close()
	})
	return c.closeErr
}

// leaveAll removes this connection's seats. When the server does not answer, their
// lease does the same a little later.
func (c *Conn) leaveAll() error {
	c.mu.Lock()
	left := c.seats
	c.seats = nil
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for name, own := range left {
		if err := c.leave(ctx, name, own); err != nil {
			return c.fail("leave", err)
		}
	}
	return nil
}

// usable reports ErrClosed after Close.
func (c *Conn) usable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("deedredis: %w", driver.ErrClosed)
	}
	return nil
}
