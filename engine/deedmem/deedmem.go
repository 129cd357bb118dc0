// Package deedmem is the engine in memory, for tests and for trying things out.
// It keeps every promise that a store can keep which ends with its process, and is
// the contract of package driver in its plainest form.
//
// "mem:" opens a store of one's own. "mem:NAME" opens the store that all of this
// process share under that name; every Conn on it counts as another process would.
// A store is gone when the last Conn on it closes.
package deedmem

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/deedgo/deed/driver"
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

// Options configure a Conn. There is nothing to configure yet; nil is fine.
type Options struct{}

// Conn is a connection to a store. Its methods are safe for concurrent use.
type Conn struct {
	store *store
	name  string // "" for a store of its own

	// Both guarded by store.mu.
	closed bool
	subs   map[*Subscription]struct{}
}

// named holds the stores that share a name. It is the one global variable, because
// two calls of Open have nothing else in common.
var named = struct {
	sync.Mutex
	stores map[string]*store
	conns  map[string]int
}{stores: make(map[string]*store), conns: make(map[string]int)}

// Open connects to the store that url names: "mem:" or "mem:NAME".
func Open(ctx context.Context, url string, _ *Options) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name, ok := strings.CutPrefix(url, "mem:")
	if !ok || strings.ContainsAny(name, "/?#") {
		return nil, fmt.Errorf("%w: url %q (want mem: or mem:NAME)", driver.ErrRefused, url)
	}
	c := &Conn{name: name, subs: make(map[*Subscription]struct{})}
	if name == "" {
		c.store = newStore()
		return c, nil
	}
	named.Lock()
	defer named.Unlock()
	if named.stores[name] == nil {
		named.stores[name] = newStore()
	}
	named.conns[name]++
	c.store = named.stores[name]
	return c, nil
}

// Features reports what a store in memory keeps.
func (*Conn) Features() driver.Features {
	return driver.Features{
		Engine:     "mem",
		Durability: driver.Memory,
		Setting:    "memory ends with the process: open sqlite:FILE instead",
		KeyOrder:   true,
		Groups:     true,
		Backlog:    true,
		Fenced:     true,
		DensePos:   true,
		Sequence:   true,
		Dedupe:     true,
		SideLog:    true,
		Lag:        true,
		Browse:     true,
		Delay:      true,
		Reset:      true,
		Retention:  true,
		Streams:    true,
		Records:    true,
	}
}

// Close ends everything at once; see driver.Conn.
func (c *Conn) Close() error {
	s := c.store
	s.mu.Lock()
	if c.closed {
		s.mu.Unlock()
		return nil
	}
	for sub := range c.subs {
		sub.close()
	}
	c.closed = true
	s.mu.Unlock()

	if c.name == "" {
		s.end()
		return nil
	}
	named.Lock()
	defer named.Unlock()
	if named.conns[c.name]--; named.conns[c.name] == 0 {
		delete(named.conns, c.name)
		delete(named.stores, c.name)
		s.end()
	}
	return nil
}

// Freeze makes c's present members look like those of a process that was stopped:
// they renew no more, and lapse when their lease has run out. It is for tests of
// what happens then.
func (c *Conn) Freeze() {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	for sub := range c.subs {
		sub.freeze()
	}
}

// enter locks the store for a call. The caller unlocks it unless there is an error.
func (c *Conn) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.store.mu.Lock()
	if c.closed {
		c.store.mu.Unlock()
		return fmt.Errorf("mem: %w", driver.ErrClosed)
	}
	return nil
}
