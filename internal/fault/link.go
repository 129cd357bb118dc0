package fault

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// link is a client's connection and the one to the server that belongs to it.
type link struct {
	proxy  *Proxy
	done   <-chan struct{} // closed by cancel, when the link has ended
	cancel context.CancelFunc
	client *net.TCPConn

	mu     sync.Mutex
	server *net.TCPConn // nil until it is connected
}

// run forwards until both sides have said all they want to, or the link ends.
func (l *link) run(ctx context.Context) {
	hello := piece{arrived: time.Now()}
	if !l.await(hello, false) || !l.connect(ctx) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.forward(l.client, l.server, false) })
	both.Go(func() { l.forward(l.server, l.client, true) })
	both.Wait()
}

// connect connects to the server, and reports whether the link goes on.
func (l *link) connect(ctx context.Context) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.proxy.Target())
	if err != nil {
		l.reset() // as near as one can come to being refused, after having been accepted
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = conn.(*net.TCPConn)
	if ctx.Err() != nil {
		l.server.Close()
		return false
	}
	return true
}

// piece is what came in one read.
type piece struct {
	data    []byte
	arrived time.Time
}

const (
	pieceBytes = 32 << 10
	// pieces is how many may be on the way in one direction. A sender that is faster
	// than the delay allows waits, as for a full window.
	pieces = 256
)

// forward moves what one side says to the other side, and then the end of it.
func (l *link) forward(from, to *net.TCPConn, replies bool) {
	way := make(chan piece, pieces)
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() { l.read(from, way) })
	for p := range way {
		if !l.await(p, replies) {
			return
		}
		if replies && l.proxy.drops() {
			l.close()
			return
		}
		if _, err := to.Write(p.data); err != nil {
			l.reset()
			return
		}
	}
	to.CloseWrite()
}

// read puts what a side says on its way, and closes that at the end.
func (l *link) read(from *net.TCPConn, way chan<- piece) {
	defer close(way)
	buf := make([]byte, pieceBytes)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			select {
			case way <- piece{slices.Clone(buf[:n]), time.Now()}:
			case <-l.done:
				return
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			l.reset() // so did the side that we read from
		}
		if err != nil {
			return
		}
	}
}

// await returns when a piece may be delivered, and reports whether the link still is.
func (l *link) await(p piece, reply bool) bool {
	for {
		now, changed := l.proxy.state()
		early := time.Until(p.arrived.Add(now.delay))
		held := now.holdRequests
		if reply {
			held = now.holdReplies
		}
		if !held && early <= 0 {
			return !l.ended()
		}
		var due <-chan time.Time // never, while it is held
		if !held {
			due = time.After(early)
		}
		select {
		case <-due:
		case <-changed:
		case <-l.done:
			return false
		}
	}
}

func (l *link) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// reset ends the link so that both sides see a reset.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.client.SetLinger(0)
	if l.server != nil {
		l.server.SetLinger(0)
	}
	l.closeBoth()
}

// close ends the link after what has been delivered.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closeBoth()
}

// closeBoth closes what is open; mu is held.
func (l *link) closeBoth() {
	l.cancel()
	l.client.Close()
	if l.server != nil {
		l.server.Close()
	}
}
