package deedmqtt

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// slow is a network that counts calls and writes only when it may.
type slow struct {
	net.Conn
	may    chan error // what a write returns; closed when all succeed
	reads  int
	in     io.Reader
	writes [][]byte
	closed bool
}

func (s *slow) Write(p []byte) (int, error) {
	if err := <-s.may; err != nil {
		return 0, err
	}
	s.writes = append(s.writes, bytes.Clone(p))
	return len(p), nil
}

func (s *slow) Read(p []byte) (int, error) {
	s.reads++
	return s.in.Read(p)
}

func (s *slow) Close() error                     { s.closed = true; return nil }
func (s *slow) SetWriteDeadline(time.Time) error { return nil }

// What is written while a write is under way goes together, in order, and at once.
func TestSmallWritesGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &slow{may: make(chan error)}
		c := newConn(network)
		var want []byte
		for i := range byte(200) {
			if _, err := c.Write([]byte{i}); err != nil {
				t.Fatal(err)
			}
			want = append(want, i)
			if i == 0 {
				synctest.Wait() // it is under way
			}
		}
		network.may <- nil
		network.may <- nil
		synctest.Wait()
		if len(network.writes) != 2 || !bytes.Equal(slices.Concat(network.writes...), want) {
			t.Errorf("%d writes: %v", len(network.writes), network.writes)
		}
		c.Close()
		if !network.closed {
			t.Error("the connection is open")
		}
	})
}

// A writer waits for a network that takes nothing, and Close ends that.
func TestWritesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &slow{may: make(chan error)}
		c := newConn(network)
		ended := make(chan error, 1)
		written := 0
		go func() {
			var err error
			for err == nil {
				_, err = c.Write(make([]byte, 1<<10))
				written++
			}
			ended <- err
		}()
		synctest.Wait()
		if written < gatherMax>>10 || written > 2*gatherMax>>10+1 {
			t.Errorf("%d KiB wait to be written", written)
		}
		close(network.may)
		c.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("a writer of a closed connection: %v", err)
		}
	})
}

// What is written before Close is sent, as a last packet and acknowledgements are.
func TestCloseSendsWhatThereIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &slow{may: make(chan error)}
		c := newConn(network)
		c.Write([]byte("a")) //nolint:errcheck // what is sent is looked at
		synctest.Wait()
		c.Write([]byte("b")) //nolint:errcheck // what is sent is looked at
		close(network.may)
		c.Close()
		if got := string(slices.Concat(network.writes...)); got != "ab" {
			t.Errorf("sent %q", got)
		}
	})
}

// A write that fails ends the connection for readers and writers.
func TestAFailedWriteIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &slow{may: make(chan error)}
		c := newConn(network)
		c.Write([]byte("a")) //nolint:errcheck // it is not known yet
		network.may <- io.ErrClosedPipe
		synctest.Wait()
		if _, err := c.Write([]byte("b")); !errors.Is(err, io.ErrClosedPipe) || !network.closed {
			t.Errorf("the next write: %v; closed: %v", err, network.closed)
		}
		c.Close()
	})
}

// A network that takes nothing is given up, and Close does not wait for it.
func TestAStuckNetworkIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, patience := range []time.Duration{replyTimeout, 0} {
			ours, theirs := net.Pipe()
			c := newConn(ours)
			c.Write([]byte("a")) //nolint:errcheck // it is not known yet
			began := time.Now()
			if patience > 0 {
				if _, err := c.Read(make([]byte, 1)); err == nil || time.Since(began) != patience {
					t.Errorf("a reader hears of it after %v: %v", time.Since(began), err)
				}
			}
			began = time.Now()
			c.Close()
			if took := time.Since(began); took > lastWords {
				t.Errorf("Close takes %v", took)
			}
			theirs.Close()
		}
	})
}

// Bytes are read ahead.
func TestSmallReadsAreOne(t *testing.T) {
	t.Parallel()
	network := &slow{in: bytes.NewReader(make([]byte, 1000)), may: make(chan error)}
	c := newConn(network)
	defer c.Close()
	for range 1000 {
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if network.reads != 1 {
		t.Errorf("1000 bytes were %d reads", network.reads)
	}
}
