package fault_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/freeport"
)

// patience is a deadline that a busy machine can keep; moment is how long nothing
// has to happen before a test believes that nothing does.
const (
	patience = time.Minute
	moment   = 50 * time.Millisecond
)

// echo is a server that answers what it is told, and knows what that was.
type echo struct {
	net.Listener
	work sync.WaitGroup

	mu    sync.Mutex
	heard strings.Builder
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	return newEchoAt(t, fmt.Sprint("127.0.0.1:", port))
}

func newEchoAt(t *testing.T, addr string) *echo {
	t.Helper()
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{Listener: l}
	e.work.Go(e.accept)
	t.Cleanup(func() {
		e.Close()
		e.work.Wait()
	})
	return e
}

func (e *echo) accept() {
	for {
		conn, err := e.Accept()
		if err != nil {
			return
		}
		e.work.Go(func() {
			defer conn.Close()
			io.Copy(conn, io.TeeReader(conn, e))
		})
	}
}

// Write notes what was heard.
func (e *echo) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard.Write(p)
}

func (e *echo) hasHeard(text string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Contains(e.heard.String(), text)
}

// client is a connection of a test.
type client struct {
	t *testing.T
	*net.TCPConn
}

func dial(t *testing.T, addr string) client {
	t.Helper()
	conn, err := net.DialTimeout("tcp4", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return client{t, conn.(*net.TCPConn)}
}

func (c client) say(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads as much as the text is long and wants it to be that.
func (c client) hear(text string) {
	c.t.Helper()
	got := make([]byte, len(text))
	c.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		c.t.Fatalf("heard %q, %v, want %q", got[:n], err, text)
	}
}

// hearsNothing wants the connection to be open and silent.
func (c client) hearsNothing() {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(moment))
	n, err := c.Read(make([]byte, 1))
	if timeout, ok := err.(net.Error); n > 0 || !ok || !timeout.Timeout() {
		c.t.Fatalf("heard %d bytes, %v, want nothing", n, err)
	}
}

// hearsEnd wants the connection to be over, without a byte before that.
func (c client) hearsEnd() error {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	n, err := c.Read(make([]byte, 1))
	if timeout, ok := err.(net.Error); n > 0 || err == nil || ok && timeout.Timeout() {
		c.t.Fatalf("heard %d bytes, %v, want the end", n, err)
	}
	return err
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !cond() {
		select {
		case <-deadline:
			t.Fatalf("waited %v: %s", patience, what)
		case <-time.After(time.Millisecond):
		}
	}
}
