package deedmqtt

import (
	"bufio"
	"net"
	"sync"
	"time"
)

const (
	readAhead = 16 << 10 // bytes
	gatherMax = 64 << 10 // bytes that wait to be written, one packet more at most
	lastWords = time.Second
)

// conn is a connection whose reads and writes are few, however small the pieces are: the
// libraries read a packet byte by byte and write it part by part, and a system call for
// each would be most of what a message costs. What is written while a write is under way
// goes with the next one. Nothing waits for company.
type conn struct {
	net.Conn
	in *bufio.Reader

	packet sync.Mutex // held by whoever writes a packet, see Lock

	mu      sync.Mutex
	changed sync.Cond // of what follows
	out     []byte    // to be written
	closed  bool
	err     error // of a write; nothing is written after it

	flushed sync.WaitGroup // the goroutine that writes
}

func newConn(c net.Conn) *conn {
	g := &conn{Conn: c, in: bufio.NewReaderSize(c, readAhead)}
	g.changed.L = &g.mu
	g.flushed.Go(g.flush)
	return g
}

// Lock is called by whoever writes a packet in several parts, the library included.
func (c *conn) Lock() { c.packet.Lock() }

// Unlock ends a packet.
func (c *conn) Unlock() { c.packet.Unlock() }

// Read implements [net.Conn].
func (c *conn) Read(p []byte) (int, error) { return c.in.Read(p) }

// Write implements [net.Conn]. It returns before p is written, and fails when something
// before it could not be.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) >= gatherMax && c.err == nil && !c.closed {
		c.changed.Wait()
	}
	if c.err == nil && c.closed {
		return 0, net.ErrClosed
	}
	if c.err != nil {
		return 0, c.err
	}
	c.out = append(c.out, p...)
	c.changed.Broadcast()
	return len(p), nil
}

// flush writes what there is until the connection is closed, or lost.
func (c *conn) flush() {
	defer c.Conn.Close() //nolint:errcheck // whoever reads hears of it
	var some []byte
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.closed {
			c.changed.Wait()
		}
		if cap(some) > 2*gatherMax { // of a large message, not to be kept
			some = nil
		}
		some, c.out = c.out, some[:0]
		if !c.closed {
			c.Conn.SetWriteDeadline(time.Now().Add(replyTimeout)) //nolint:errcheck // the write fails as well
		}
		c.changed.Broadcast()
		c.mu.Unlock()
		if len(some) == 0 {
			return
		}
		if _, err := c.Conn.Write(some); err != nil {
			c.mu.Lock()
			c.err = err
			c.changed.Broadcast()
			c.mu.Unlock()
			return
		}
	}
}

// Close writes what there is, for a moment at most, and ends the connection.
func (c *conn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.Conn.SetWriteDeadline(time.Now().Add(lastWords)) //nolint:errcheck // there may be no connection any more
		c.changed.Broadcast()
	}
	c.mu.Unlock()
	c.flushed.Wait()
	return nil
}
