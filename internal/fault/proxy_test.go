package fault_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/deedgo/deed/internal/fault"
	"github.com/deedgo/deed/internal/freeport"
)

func TestForwards(t *testing.T) {
	t.Parallel()
	p := fault.NewProxy(t, newEcho(t).Addr().String())
	var clients sync.WaitGroup
	defer clients.Wait()
	for i := range 5 {
		c := dial(t, p.Addr())
		data := make([]byte, 3<<20)
		rand.NewChaCha8([32]byte{byte(i)}).Read(data)
		clients.Go(func() {
			if _, err := c.Write(data); err != nil {
				t.Error(err)
			}
			c.CloseWrite() // and the other half stays open
		})
		clients.Go(func() {
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
				t.Errorf("client %d: got %d bytes, %v, want its own %d", i, len(got), err, len(data))
			}
		})
	}
	if got := p.Stats(); got.Cut != 0 || got.Dropped != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	p := fault.NewProxy(t, newEcho(t).Addr().String())
	a, b := dial(t, p.Addr()), dial(t, p.Addr())
	for _, c := range []client{a, b} {
		c.say("hello")
		c.hear("hello")
	}
	p.Cut()
	for _, c := range []client{a, b} {
		if err := c.hearsEnd(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, want a reset", err)
		}
	}
	c := dial(t, p.Addr())
	c.say("hello again")
	c.hear("hello again")
	if got, want := p.Stats(), (fault.Stats{Accepted: 3, Cut: 2}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	p := fault.NewProxy(t, newEcho(t).Addr().String())
	old := dial(t, p.Addr())
	old.say("hello")
	old.hear("hello")
	for range 3 {
		p.Refuse()
		p.Refuse() // again changes nothing
		if conn, err := net.Dial("tcp4", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("got %v, %v, want to be refused", conn, err)
		}
		old.say("still there?")
		old.hear("still there?")
		if err := p.Heal(); err != nil {
			t.Fatal(err)
		}
		c := dial(t, p.Addr())
		c.say("hello")
		c.hear("hello")
	}
}

// TestRefuseAndCut has clients come all the time: after both, none is connected.
func TestRefuseAndCut(t *testing.T) {
	t.Parallel()
	server := newEcho(t)
	p := fault.NewProxy(t, server.Addr().String())
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if conn, err := net.Dial("tcp4", p.Addr()); err == nil {
					io.WriteString(conn, "x")
					conn.Read(make([]byte, 1))
					conn.Close()
				}
			}
		})
	}
	defer clients.Wait()
	defer close(done)
	for range 50 {
		before := p.Stats().Accepted
		eventually(t, "clients come", func() bool { return p.Stats().Accepted > before+5 })
		p.Refuse()
		p.Cut()
		if n := p.Links(); n > 0 {
			t.Fatalf("%d clients are connected", n)
		}
		accepted := p.Stats().Accepted
		if conn, err := net.Dial("tcp4", p.Addr()); err == nil {
			conn.Close()
			t.Fatal("connected")
		}
		if got := p.Stats().Accepted; got != accepted {
			t.Fatalf("accepted %d more", got-accepted)
		}
		if err := p.Heal(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDelay(t *testing.T) {
	t.Parallel()
	p := fault.NewProxy(t, newEcho(t).Addr().String())
	c := dial(t, p.Addr())
	p.Delay(moment)
	began := time.Now()
	c.say("late")
	c.hear("late")
	if took := time.Since(began); took < 2*moment {
		t.Errorf("there and back took %v, want %v at least", took, 2*moment)
	}
	p.Delay(time.Hour)
	c.say("later")
	c.hearsNothing()
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	c.hear("later")
}

func TestBlackhole(t *testing.T) {
	t.Parallel()
	server := newEcho(t)
	p := fault.NewProxy(t, server.Addr().String())
	old := dial(t, p.Addr())
	old.say("hello")
	old.hear("hello")
	p.Blackhole()
	old.say("into the dark")
	young := dial(t, p.Addr())
	young.say("is somebody there?")
	old.hearsNothing()
	young.hearsNothing()
	if server.hasHeard("dark") || server.hasHeard("somebody") {
		t.Error("the server heard something")
	}
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	old.hear("into the dark")
	young.hear("is somebody there?")
}

func TestBlackholeReplies(t *testing.T) {
	t.Parallel()
	server := newEcho(t)
	p := fault.NewProxy(t, server.Addr().String())
	c := dial(t, p.Addr())
	p.BlackholeReplies()
	c.say("do it")
	eventually(t, "the server hears it", func() bool { return server.hasHeard("do it") })
	c.hearsNothing()
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	c.hear("do it")
}

func TestDropReplies(t *testing.T) {
	t.Parallel()
	server := newEcho(t)
	p := fault.NewProxy(t, server.Addr().String())
	p.DropReplies(1, 1)
	c := dial(t, p.Addr())
	c.say("do it")
	c.hearsEnd()
	if !server.hasHeard("do it") {
		t.Error("the server did not hear it")
	}
	if got, want := p.Stats(), (fault.Stats{Accepted: 1, Dropped: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}

	lost := func(seed uint64) (lost []int) {
		p.DropReplies(0.2, seed)
		for i := range 100 {
			c := dial(t, p.Addr())
			c.say("x")
			c.SetReadDeadline(time.Now().Add(patience))
			if _, err := c.Read(make([]byte, 1)); err != nil {
				lost = append(lost, i)
			}
			c.Close()
		}
		return lost
	}
	first := lost(7)
	if n := len(first); n < 5 || n > 40 {
		t.Errorf("lost %d replies of 100, want about 20", n)
	}
	if again := lost(7); !slices.Equal(first, again) {
		t.Errorf("the same seed lost %v and then %v", first, again)
	}
	if other := lost(8); slices.Equal(first, other) {
		t.Errorf("another seed lost the same: %v", other)
	}
	p.DropReplies(0, 0)
	c = dial(t, p.Addr())
	c.say("hello")
	c.hear("hello")
}

// TestTargetAway wants a client to learn that nobody listens behind the proxy, and
// the next one to get through when somebody does.
func TestTargetAway(t *testing.T) {
	t.Parallel()
	port, err := freeport.Find()
	if err != nil {
		t.Fatal(err)
	}
	p := fault.NewProxy(t, fmt.Sprint("127.0.0.1:", port))
	if conn, err := net.Dial("tcp4", p.Addr()); err == nil { // else it has learnt it already
		client{t, conn.(*net.TCPConn)}.hearsEnd()
		conn.Close()
	}
	newEchoAt(t, p.Target())
	c := dial(t, p.Addr())
	c.say("hello")
	c.hear("hello")
}

// TestServerEnds wants the end of either side to reach the other.
func TestServerEnds(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	p := fault.NewProxy(t, server.Addr().String())
	c := dial(t, p.Addr())
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "bye")
	conn.Close()
	c.hear("bye")
	if err := c.hearsEnd(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end", err)
	}
	c.Close()
	eventually(t, "the link ends", func() bool { return p.Links() == 0 })
}

// TestCloseLeavesNothing closes proxies in the middle of every fault.
func TestCloseLeavesNothing(t *testing.T) {
	server := newEcho(t)
	for name, harm := range map[string]func(*fault.Proxy){
		"none":              func(*fault.Proxy) {},
		"cut":               (*fault.Proxy).Cut,
		"refuse":            (*fault.Proxy).Refuse,
		"delay":             func(p *fault.Proxy) { p.Delay(time.Hour) },
		"blackhole":         (*fault.Proxy).Blackhole,
		"blackhole replies": (*fault.Proxy).BlackholeReplies,
		"drop":              func(p *fault.Proxy) { p.DropReplies(1, 1) },
	} {
		p, err := fault.Listen(server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			c := dial(t, p.Addr())
			c.say("hello")
			c.hear("hello")
		}
		harm(p)
		if name != "refuse" {
			c := dial(t, p.Addr())
			c.say(strings.Repeat("more than fits on the way ", 1000))
		}
		p.Close()
		p.Close() // again changes nothing
		if err := p.Heal(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if conn, err := net.Dial("tcp4", p.Addr()); err == nil {
			conn.Close()
			t.Errorf("%s: a closed proxy listens", name)
		}
		var stacks strings.Builder
		pprof.Lookup("goroutine").WriteTo(&stacks, 1)
		for _, own := range []string{"fault.(*Proxy).accept", "fault.(*link)"} {
			if strings.Contains(stacks.String(), own) {
				t.Errorf("%s: left behind:\n%s", name, stacks.String())
			}
		}
	}
}

func TestRetarget(t *testing.T) {
	t.Parallel()
	one, two := newEcho(t), newEcho(t)
	p := fault.NewProxy(t, one.Addr().String())
	old := dial(t, p.Addr())
	old.say("first")
	old.hear("first")
	p.Retarget(two.Addr().String())
	c := dial(t, p.Addr())
	c.say("second")
	c.hear("second")
	old.say("third")
	old.hear("third")
	if !one.hasHeard("third") || !two.hasHeard("second") || two.hasHeard("third") {
		t.Error("a connection went to the wrong server")
	}
}
