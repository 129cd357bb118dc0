// Package fault puts a faulty network between a client and a server: a TCP proxy on
// loopback that cuts, refuses, delays, holds and loses what goes through it.
//
// A new proxy forwards faithfully. Faults add up, each until it is set to nothing or
// Heal ends them all:
//
//	proxy := fault.NewProxy(t, server.Addr())
//	bus := open("redis://" + proxy.Addr())
//	proxy.DropReplies(0.01, seed)
package fault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/freeport"
)

// Proxy forwards connections to its target. Its methods may be called concurrently.
type Proxy struct {
	addr string
	work sync.WaitGroup // everything that Close waits for

	mu       sync.Mutex
	target   string
	closed   bool
	listener net.Listener // nil while connections are refused, and after Close
	links    map[*link]bool
	faults   faults
	changed  chan struct{} // closed when the faults change, and replaced
	dice     *rand.Rand
	stats    Stats
}

// faults are those that are asked about for each piece of data.
type faults struct {
	delay                     time.Duration
	dropReplies               float64
	holdRequests, holdReplies bool
}

// Stats counts what a proxy has done since it began.
type Stats struct {
	Accepted int // connections
	Cut      int // connections that Cut has ended
	Dropped  int // connections that ended because a reply was dropped
}

// NewProxy begins a proxy for a test, which closes it. A target is a host:port; nobody
// needs to listen there until somebody connects.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// Listen is [NewProxy] for what is no test. The caller closes the proxy.
func Listen(target string) (*Proxy, error) {
	p := &Proxy{target: target, links: map[*link]bool{}, changed: make(chan struct{})}
	for attempt := 1; ; attempt++ {
		port, err := freeport.Find()
		if err != nil {
			return nil, err
		}
		p.addr = fmt.Sprint("127.0.0.1:", port)
		if err = p.listen(); err == nil {
			return p, nil
		}
		if attempt == 10 { // somebody was quicker every time
			return nil, err
		}
	}
}

// listen begins to accept connections, unless it does or the proxy is closed.
func (p *Proxy) listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil || p.closed {
		return nil
	}
	l, err := net.Listen("tcp4", p.addr)
	if err != nil {
		return err
	}
	p.listener = l
	p.work.Go(func() { p.accept(l) })
	return nil
}

// accept welcomes clients until the listener is closed.
func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // the process has too many files open, which may pass
			time.Sleep(10 * time.Millisecond)
			continue
		}
		p.welcome(l, client.(*net.TCPConn))
	}
}

// welcome begins a link for a client, unless clients are refused meanwhile.
func (p *Proxy) welcome(from net.Listener, client *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != from {
		client.SetLinger(0)
		client.Close()
		return
	}
	p.stats.Accepted++
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{proxy: p, done: ctx.Done(), cancel: cancel, client: client}
	p.links[l] = true
	p.work.Go(func() {
		l.run(ctx)
		l.close()
		p.forget(l)
	})
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// Addr returns where the proxy listens, host:port. It never changes.
func (p *Proxy) Addr() string { return p.addr }

// Target returns where the proxy forwards to.
func (p *Proxy) Target() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target
}

// Retarget lets the proxy forward new connections to another target, as an address that
// moves to a standby. Those that are open stay where they are.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Stats returns what the proxy has done so far.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Cut ends all connections, as a reset: what was on the way is lost. New ones are
// welcome.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
		p.stats.Cut++
		delete(p.links, l)
	}
}

// Refuse refuses new connections, as a host on which no server listens. Those that
// are open stay open.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
}

// Delay delivers everything, in both directions, that much later than it came. Zero
// ends it.
func (p *Proxy) Delay(d time.Duration) { p.change(func(f *faults) { f.delay = d }) }

// DropReplies closes a connection when the server has answered, and before the client
// sees that: it cannot know what the server did. It does so with the given
// probability for each piece that the server sends, which is a reply or several that
// were sent together, or a part of a long one. Zero ends it. The same seed throws the
// same dice, but which reply meets which throw depends on the connections' timing.
func (p *Proxy) DropReplies(probability float64, seed uint64) {
	p.change(func(f *faults) {
		f.dropReplies = probability
		p.dice = rand.New(rand.NewPCG(seed, seed))
	})
}

// Blackhole forwards nothing, and connects to nobody, while clients can connect and
// connections stay open. What is sent meanwhile is delivered when it ends, as after a
// short partition, on connections that are still open.
func (p *Proxy) Blackhole() {
	p.change(func(f *faults) { f.holdRequests, f.holdReplies = true, true })
}

// BlackholeReplies is Blackhole in one direction: the server gets and does everything,
// and the client hears nothing of it.
func (p *Proxy) BlackholeReplies() { p.change(func(f *faults) { f.holdReplies = true }) }

// Heal ends all faults. Its error says that nobody can listen on the proxy's port any
// more after Refuse, since somebody else has taken it.
func (p *Proxy) Heal() error {
	p.change(func(f *faults) { *f = faults{} })
	return p.listen()
}

// Close ends the proxy and all its connections, and waits until nothing is left.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Refuse()
	p.Cut()
	p.work.Wait()
}

// change changes the faults and tells those who wait for that.
func (p *Proxy) change(do func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do(&p.faults)
	close(p.changed)
	p.changed = make(chan struct{})
}

// drops throws the dice for a reply.
func (p *Proxy) drops() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.faults.dropReplies == 0 || p.dice.Float64() >= p.faults.dropReplies {
		return false
	}
	p.stats.Dropped++
	return true
}

// state returns the faults, and what is closed when they are others.
func (p *Proxy) state() (faults, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.changed
}
