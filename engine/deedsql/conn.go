package deedsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	_ driver.Intake   = (*Conn)(nil)
)

// Options configure Open. The zero value is the default.
type Options struct {
	// NoCreate opens only what exists: neither a file nor tables are made.
	NoCreate bool
	// ReadOnly opens without the right to write, for tools that look on. It implies
	// NoCreate.
	ReadOnly bool
}

// Conn is an open database. Its methods are safe for concurrent use.
type Conn struct {
	dialect dialect
	db      *sql.DB
	read    *statements
	kinds   kinds
	// sessions are for what is read for each event, read for the rest.
	sessions sessions
	tail     tail
	writer   *writer   // nil when read-only
	writers  []*writer // that one and its like, which only publish
	keeper   *driverkit.Keeper
	member   string // host/pid/random

	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	done     sync.WaitGroup
	watching sync.Once
	closing  sync.Once
	closeErr error

	anywhere     driverkit.Signal // another connection may have committed
	commits      atomic.Int64     // how often that was so
	scheduled    driverkit.Signal // an event was delayed here
	intakeTopics topicNames       // of events in transactions of the service's own
	joints       joints           // claims with handlers that settle in their own transactions

	mu       sync.Mutex
	closed   bool
	topics   map[int64]*driverkit.Signal // an event was stored on the topic, by id
	seats    map[string]ownSeat          // by name
	lastSeat int
	changes  int64          // sum over the groups of own seats, as last seen
	moving   map[int64]bool // topics whose delayed events this connection moves, by id
}

// ownSeat is what a seat of this connection is for.
type ownSeat struct {
	group  int64
	unsafe string // JSON array of types
}

// Open opens the database that url names: "sqlite:orders.db",
// "postgres://user@host/database", "mysql://user@host/database". A nil opts means
// defaults. The file and the tables are created if they have to and may be. A server's
// URL may say ddl=off, to create nothing, and a Postgres URL schema=NAME, where the
// tables are, and pooler=transaction, when a pooler is between that lends connections for
// one transaction each. The guides of the servers have the other parameters.
func Open(ctx context.Context, url string, opts *Options) (*Conn, error) {
	if opts == nil {
		opts = &Options{}
	}
	d, db, err := openDialect(ctx, url, opts)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		dialect: d, db: db, read: newStatements(db, d), sessions: sessions{db: db, dialect: d},
		member: driverkit.MemberName(),
		topics: make(map[int64]*driverkit.Signal), seats: make(map[string]ownSeat),
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.keeper = driverkit.NewKeeper(&store{c})
	if opts.ReadOnly {
		return c, nil
	}
	for range d.lanes() {
		c.writers = append(c.writers, newWriter(d, c.reads, c.committed, c.writers == nil))
	}
	c.writer = c.writers[0]
	return c, nil
}

// openDialect opens the database that a URL names by its scheme.
func openDialect(ctx context.Context, url string, opts *Options) (dialect, *sql.DB, error) {
	switch scheme, _, _ := strings.Cut(url, ":"); scheme {
	case "sqlite":
		d, err := openSQLite(ctx, url, opts)
		if err != nil {
			return nil, nil, err
		}
		return d, d.db, nil
	case "postgres", "postgresql":
		d, err := openPostgres(ctx, url, opts)
		if err != nil {
			return nil, nil, err
		}
		return d, d.db, nil
	case "mysql":
		d, err := openMySQL(ctx, url, opts)
		if err != nil {
			return nil, nil, err
		}
		return d, d.db, nil
	default:
		return nil, nil, fmt.Errorf("deedsql: no engine for %q (want sqlite:FILE, postgres://… or mysql://…)", scheme)
	}
}

// Features implements [driver.Conn].
func (c *Conn) Features() driver.Features { return c.dialect.features() }

// DB returns the database, for tools that look into it and for effects that share
// the bus's file. It is closed with the Conn.
func (c *Conn) DB() *sql.DB { return c.db }

// Close implements [driver.Conn]. The member's seats go at once, so that others
// take its partitions without waiting for the lease.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.stop()
		c.keeper.Close()
		c.done.Wait()
		if c.writer != nil {
			c.closeErr = c.leaveAll()
			for _, w := range c.writers {
				w.close()
			}
		}
		c.closeErr = errors.Join(c.closeErr, c.sessions.close())
		c.closeErr = errors.Join(c.closeErr, c.dialect.close())
	})
	return c.closeErr
}

// leaveAll removes this member, if it ever was one. When the database does not
// answer, its lease does the same a little later.
func (c *Conn) leaveAll() error {
	c.mu.Lock()
	never := c.lastSeat == 0
	c.mu.Unlock()
	if never {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := c.write(ctx, 0, func(t *tx) error { return t.removeMember(c.member) }); err != nil {
		return fmt.Errorf("deedsql: leave: %w", err)
	}
	return nil
}

// write runs a job of the writer. Locks are those that it surely needs.
func (c *Conn) write(ctx context.Context, events int, run func(*tx) error, locks ...lock) error {
	return c.run(ctx, &job{run: run, events: events, locks: locks})
}

// run runs a job of the writer.
func (c *Conn) run(ctx context.Context, j *job) error {
	if c.writer == nil {
		return fmt.Errorf("%w: opened read-only", driver.ErrRefused)
	}
	return c.writer.do(ctx, j)
}

// beat runs a job that keeps a member alive, before what is queued.
func (c *Conn) beat(ctx context.Context, run func(*tx) error, locks ...lock) error {
	if c.writer == nil {
		return fmt.Errorf("%w: opened read-only", driver.ErrRefused)
	}
	return c.writer.doFirst(ctx, &job{run: run, locks: locks})
}

// usable reports ErrClosed after Close.
func (c *Conn) usable() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("deedsql: %w", driver.ErrClosed)
	}
	return nil
}

// committed wakes this connection's subscriptions after a commit of its own.
func (c *Conn) committed(t *tx) {
	c.tail.add(t.blocks, t.heads)
	if len(t.published) > 0 || len(t.delayed) > 0 || t.groups {
		c.dialect.committed()
	}
	c.mu.Lock()
	var wake []*driverkit.Signal
	for id := range t.published {
		if s := c.topics[id]; s != nil {
			wake = append(wake, s)
		}
	}
	c.mu.Unlock()
	for _, s := range wake {
		s.Notify()
	}
	for id := range t.delayed {
		c.moves(id)
	}
	if t.groups {
		c.keeper.Nudge()
	}
}

// reads reports whether a subscription of this connection waits for a topic's events.
func (c *Conn) reads(topic int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.topics[topic] != nil
}

// published returns the signal of a topic's events.
func (c *Conn) published(topic int64) *driverkit.Signal {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.topics[topic]
	if s == nil {
		s = &driverkit.Signal{}
		c.topics[topic] = s
	}
	return s
}

// watch starts to notice other processes' commits.
func (c *Conn) watch() {
	c.watching.Do(func() {
		c.done.Go(func() {
			for c.ctx.Err() == nil {
				if err := c.dialect.watch(c.ctx, c.elsewhere); err != nil {
					select { // the connection failed; polling goes on with another
					case <-c.ctx.Done():
					case <-time.After(time.Second):
					}
				}
			}
		})
	})
}

// elsewhere runs after commits of other connections.
func (c *Conn) elsewhere() {
	c.commits.Add(1)
	c.anywhere.Notify()
	if changes, err := c.countChanges(); err == nil {
		c.mu.Lock()
		changed := changes != c.changes
		c.changes = changes
		c.mu.Unlock()
		if changed {
			c.keeper.Nudge()
		}
	}
}
