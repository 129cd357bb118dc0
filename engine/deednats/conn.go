package deednats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
	_ driver.Records  = (*Conn)(nil)
)

// Options configure Open.
type Options struct {
	// NoCreate leaves it to the first topic to make the stream that all share.
	NoCreate bool
}

// Conn is a connection to a server or cluster. Its methods are safe for concurrent
// use.
type Conn struct {
	names    names
	settings settings
	nc       *nats.Conn
	js       jetstream.JetStream
	features driver.Features
	old      bool // the server is of before 2.10
	keeper   *driverkit.Keeper
	member   string       // host/pid/random
	offset   atomic.Int64 // of the server's clock, in nanoseconds, from this one's

	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	watching sync.Once
	closing  sync.Once
	closeErr error
	back     driverkit.Signal // the connection was lost, and is there again
	returns  atomic.Int64     // how often it was

	mu       sync.Mutex
	line     context.Context // ends with the connection that there is
	hangUp   context.CancelFunc
	closed   bool
	handles  map[string]jetstream.Stream
	topics   map[string]*topic // as they were when last looked at
	made     map[string]bool   // topics that were there and that nobody has deleted, as far as is known
	seats    map[string]ownSeat
	lastSeat int
}

// ownSeat is what a seat of this connection is for.
type ownSeat struct {
	group  string
	topic  *topic
	lease  time.Duration
	unsafe []string
}

// Open connects to what url names: nats://HOST:PORT; see docs/guides/nats.md. A nil opts
// means defaults. It fails when the server cannot be reached, or has no JetStream.
func Open(ctx context.Context, url string, opts *Options) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s, err := parseURL(url)
	if err != nil {
		return nil, fmt.Errorf("deednats: %w", err)
	}
	c := newConn(s)
	if err := c.connect(); err != nil {
		c.stop()
		return nil, fmt.Errorf("deednats: connect to %s: %w", strings.Join(s.servers, ", "), explain(err))
	}
	if err := c.begin(ctx, opts != nil && opts.NoCreate); err != nil {
		c.nc.Close()
		c.stop()
		return nil, c.fail("open", err)
	}
	c.keeper = driverkit.NewKeeper(&store{c})
	return c, nil
}

func newConn(s settings) *Conn {
	c := &Conn{
		names: names{s.prefix}, settings: s, member: driverkit.MemberName(), handles: make(map[string]jetstream.Stream),
		topics: make(map[string]*topic), made: make(map[string]bool), seats: make(map[string]ownSeat),
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.line, c.hangUp = context.WithCancel(context.Background())
	return c
}

// connect makes the connection. What cannot be sent is not kept for later: an event would
// be stored when its publisher had long been told that it was not.
func (c *Conn) connect() (err error) {
	options := append([]nats.Option{
		nats.Name("deed " + c.member), nats.MaxReconnects(-1), nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 50*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.PingInterval(5 * time.Second), nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(c.disconnected),
		nats.ReconnectHandler(func(*nats.Conn) {
			c.disconnected(nil, nil) // what was sent before the client listens again is not answered
			c.returns.Add(1)
			c.back.Notify()
		}),
	}, c.settings.options...)
	if c.nc, err = nats.Connect(strings.Join(c.settings.servers, ","), options...); err != nil {
		return err
	}
	if c.settings.domain != "" {
		c.js, err = jetstream.NewWithDomain(c.nc, c.settings.domain)
	} else {
		c.js, err = jetstream.New(c.nc)
	}
	if err != nil {
		c.nc.Close()
	}
	return err
}

// begin finds out what the server keeps, and makes the stream that all topics share.
func (c *Conn) begin(ctx context.Context, noCreate bool) error {
	within, cancel := c.within(ctx)
	defer cancel()
	if _, err := c.js.AccountInfo(within); err != nil {
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) {
			err = fmt.Errorf("%w: JetStream is off (add a jetstream block to the server's configuration): %w",
				driver.ErrRefused, err)
		}
		return err
	}
	err := c.makeMeta(ctx, noCreate)
	if err == nil {
		err = c.askTime(ctx)
	}
	if err != nil && !(noCreate && errors.Is(err, errNoStream)) { // where nothing is yet there is nothing to see
		return err
	}
	c.features, err = c.inspect(within)
	return err
}

// makeMeta makes the stream of what is one document: the latest is all that counts.
func (c *Conn) makeMeta(ctx context.Context, noCreate bool) error {
	ctx, cancel := c.within(ctx)
	defer cancel()
	want := c.streamConfig(c.names.meta(), c.names.metaSubjects())
	want.MaxMsgsPerSubject = 1
	s, err := c.js.Stream(ctx, want.Name)
	if code(err) == codeNoStream && noCreate {
		return errNoStream
	}
	if code(err) == codeNoStream {
		s, err = c.js.CreateStream(ctx, want)
		if code(err) == codeStreamInUse { // somebody else made it, on another version of the server
			s, err = c.js.Stream(ctx, want.Name)
		}
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.handles[want.Name] = s
	c.mu.Unlock()
	return c.drift(s.CachedInfo().Config, 1)
}

// streamConfig is what deed wants of a stream: everything is kept until deed removes it.
func (c *Conn) streamConfig(name, subject string) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: name, Subjects: []string{subject}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
		Discard: jetstream.DiscardNew, MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1, MaxConsumers: -1,
		Replicas: c.settings.replicas,
	}
}

// Features implements [driver.Conn].
func (c *Conn) Features() driver.Features { return c.features }

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
		c.closeErr = c.leaveAll()
		c.nc.Close()
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
	if !c.nc.IsConnected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for name, own := range left {
		if err := c.leave(ctx, name, own); err != nil && !errors.Is(err, errNoStream) {
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
		return fmt.Errorf("deednats: %w", driver.ErrClosed)
	}
	return nil
}
