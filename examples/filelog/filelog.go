// Package filelog is an engine in few lines, to read before writing one: a directory with a
// file for each partition, to which events are appended and synced before they count as
// published. docs/engine-authors.md walks through it.
//
// It is small and slow, and honest: package drivertest holds it to all that its Features
// promise. One process uses a directory at a time, old events are never removed, and whoever
// is new to a partition reads it from the start to find his place. It keeps no dead letters;
// a second engine does that, see driverkit.WithState.
package filelog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
	"github.com/deedgo/deed/driverkit"
	"github.com/deedgo/deed/sqldb"
)

// Log is a directory that this process has open. Its connections share it, and its mutex
// guards all that they do.
type Log struct {
	dir       string
	lock      *sqldb.FileLock  // against other processes
	published driverkit.Signal // something was

	mu     sync.Mutex
	topics map[string]*topic
	conns  map[*Conn]struct{}
	seats  map[string]*seat
	last   int64 // number that next gave
}

// Conn is a connection to a log, and one member of each group that it joins.
type Conn struct {
	log    *Log
	member string
	keeper *driverkit.Keeper
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	joined int // subscriptions so far
}

var (
	_ driver.Conn   = (*Conn)(nil)
	_ driver.Topics = (*Conn)(nil)
	_ driver.Groups = (*Conn)(nil)
)

// Open opens a directory, which it makes where there is none. One that another process has
// open is ErrRefused.
func Open(ctx context.Context, dir string) (*Log, error) {
	l := &Log{
		dir: dir, topics: make(map[string]*topic), conns: make(map[*Conn]struct{}), seats: make(map[string]*seat),
	}
	err := os.MkdirAll(dir, 0o777)
	if err == nil {
		l.lock, err = sqldb.OpenFileLock(filepath.Join(dir, "lock"))
	}
	if err != nil {
		return nil, fmt.Errorf("filelog: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := l.lock.Lock(ctx); err != nil {
		err = fmt.Errorf("filelog: %s: %w: another process has it open: %w", dir, driver.ErrRefused, err)
		return nil, errors.Join(err, l.lock.Close())
	}
	if err := l.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("filelog: %s: %w", dir, err), l.Close())
	}
	return l, nil
}

// Connect returns a new connection.
func (l *Log) Connect() *Conn {
	c := &Conn{log: l, member: driverkit.MemberName()}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.keeper = driverkit.NewKeeper(claims{c})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return c
}

// Close gives the directory to other processes. The connections are closed by then.
func (l *Log) Close() error {
	for _, t := range l.topics {
		t.close()
	}
	l.lock.Unlock()
	return l.lock.Close()
}

// next returns a number larger than all before, also those of processes before this one, for
// what must not come twice: generations and epochs. So it is the time.
func (l *Log) next() int64 {
	l.last = max(l.last+1, time.Now().UnixMicro())
	return l.last
}

// moved tells all members that one came or went, or gave something up.
func (l *Log) moved() {
	for c := range l.conns {
		c.keeper.Nudge()
	}
}

// [features]

// Features implements [driver.Conn].
func (c *Conn) Features() driver.Features {
	return driver.Features{
		Engine:     "filelog",
		Durability: driver.Power, // Publish syncs
		Setting:    "there is one copy of each file: open an engine with replicas",
		KeyOrder:   true,
		Groups:     true,
		Backlog:    true,
		Fenced:     true,
		DensePos:   true,
		Lag:        true,

		MaxEventBytes: maxData,
	}
}

// [features]

// do runs f on the log, which is locked, unless the connection was closed or the call is over.
func do[T any](ctx context.Context, c *Conn, what string, f func(*Log) (T, error)) (out T, err error) {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	if err = ctx.Err(); c.ctx.Err() != nil {
		err = driver.ErrClosed
	}
	if err == nil {
		out, err = f(c.log)
	}
	if err != nil {
		err = fmt.Errorf("filelog: %s: %w", what, err)
	}
	return out, err
}

// Close implements [driver.Conn]. What its seats own is suspect from then on.
func (c *Conn) Close() error {
	if c.ctx.Err() == nil {
		c.stop()
		c.keeper.Close()
		c.log.mu.Lock()
		defer c.log.mu.Unlock()
		delete(c.log.conns, c)
		maps.DeleteFunc(c.log.seats, func(_ string, s *seat) bool { return s.conn == c })
		c.log.moved()
	}
	return nil
}
