package deedsql

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/deedgo/deed/driver"
)

// brief keeps nothing longer than it must.
var brief = driver.TopicSettings{Partitions: 2, Keep: time.Nanosecond}

// until waits until ok holds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// TestWriterSweeps lets the writer's own round go through two topics, one of which
// has more than one transaction removes.
func TestWriterSweeps(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	for _, name := range []string{"a", "b", "c"} {
		topicOf(t, c, name, brief)
		publish(t, c, name, 0, 3*sweepRows)
		publish(t, c, name, 1, 10)
	}
	held := subscribe(t, c, "b", "slow", time.Minute)
	receive(t, held)
	for range 2 { // the round begins with the next transaction
		err := c.write(t.Context(), 0, func(*tx) error {
			c.writer.sweeper.last = time.Now().Add(-2 * sweepGap)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all but the last", func() bool { return info(t, c, "a").Events == 2 && info(t, c, "c").Events == 2 })
	if i := info(t, c, "b"); i.Events != 3*sweepRows+10 {
		t.Errorf("a topic that a group holds has %d events, want %d", i.Events, 3*sweepRows+10)
	}
	if i := info(t, c, "a"); i.Bytes != 2*200 {
		t.Errorf("2 events of 200 bytes are counted as %d", i.Bytes)
	}
	until(t, "the end of the round", func() bool {
		active := true
		err := c.write(t.Context(), 0, func(*tx) error { active = c.writer.sweeper.active; return nil })
		return err == nil && !active
	})
}

// TestSweepBesideRedrive sweeps while dead letters of the same events are redriven
// and new ones come: the copies stay, in order, whatever becomes of the log.
func TestSweepBesideRedrive(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", brief)
	const n = 60
	publish(t, c, "orders", 0, n)
	s := subscribe(t, c, "orders", "g", time.Minute)
	claims := receive(t, s).Granted
	cl := claims[0]
	var parked []driver.Parked
	for _, d := range collect(t, s, n) {
		p := driver.Parked{}
		p.Delivery, p.State = d, driver.Dead
		p.Key = "one"
		parked = append(parked, p)
	}
	if err := c.Park(t.Context(), cl, parked); err != nil {
		t.Fatal(err)
	}
	_, err := s.Settle(t.Context(), []driver.Settlement{{Epoch: cl.Epoch, Position: itoa(n)}})
	if err != nil {
		t.Fatal(err)
	}
	var sweeping sync.WaitGroup
	stop := make(chan struct{})
	sweeping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.Sweep(t.Context(), "orders"); err != nil {
				t.Error(err)
				return
			}
		}
	})
	letters, err := c.List(t.Context(), driver.LetterFilter{})
	if err != nil || len(letters) != n {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	for i, l := range letters {
		if got, err := c.Redrive(t.Context(), []int64{l.ID}); got != 1 || err != nil {
			t.Fatalf("redrive: %d, %v", got, err)
		}
		publish(t, c, "orders", 1, 1)
		due, err := c.Due(t.Context(), cl, 10)
		if err != nil || len(due) != 1 || due[0].Position != itoa(i+1) || len(due[0].Data) != 200 {
			t.Fatalf("letter %d: due %+v, %v", i, due, err)
		}
		if _, err := c.Unpark(t.Context(), cl, []string{itoa(i + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	sweeping.Wait()
	collect(t, s, n) // of partition 1: the group's own reading
	if i := info(t, c, "orders"); i.Events != 1+n {
		t.Errorf("%d events are left, want the last of the handled and the %d that are not", i.Events, n)
	}
}

// TestFullCountsDelayed fills a topic with delayed events, which no group holds.
func TestFullCountsDelayed(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1, MaxBytes: 1000})
	delayed(t, c, "orders", 1, 5, func(int) time.Duration { return time.Hour })
	rs, err := c.Publish(t.Context(), events("orders", 1, 1))
	if err != nil || !errors.Is(rs[0].Err, driver.ErrFull) {
		t.Fatalf("receipts %+v, %v", rs, err)
	}
	if text := rs[0].Err.Error(); !strings.Contains(text, "keep") {
		t.Errorf("it says: %s", text)
	}
	if i := info(t, c, "orders"); i.Bytes != 0 || i.Scheduled != 5 {
		t.Errorf("%d bytes stored, %d events scheduled", i.Bytes, i.Scheduled)
	}
}

// TestFullSweepsFirst publishes several times the bound to a group that keeps up:
// nobody has to sweep.
func TestFullSweepsFirst(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 1, Keep: time.Nanosecond, MaxBytes: 10_000})
	s := subscribe(t, c, "orders", "quick", time.Minute)
	cl := receive(t, s).Granted[0]
	for i := range 20 {
		publish(t, c, "orders", 0, 20)
		collect(t, s, 20)
		_, err := s.Settle(t.Context(), []driver.Settlement{{Epoch: cl.Epoch, Position: itoa((i + 1) * 20)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if i := info(t, c, "orders"); i.Bytes > 10_000 {
		t.Errorf("%d bytes are stored", i.Bytes)
	}
}

// TestReaderOutrun drops what a member is about to fetch.
func TestReaderOutrun(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	settings := driver.TopicSettings{Partitions: 1, Keep: time.Nanosecond, Hold: time.Nanosecond}
	topicOf(t, c, "orders", settings)
	s := subscribe(t, c, "orders", "g", time.Minute)
	cl := receive(t, s).Granted[0]
	publish(t, c, "orders", 0, 250)
	if got := receive(t, s).Deliveries; len(got) != 100 {
		t.Fatalf("%d events", len(got))
	}
	if n, err := c.Sweep(t.Context(), "orders"); n != 249 || err != nil {
		t.Fatalf("swept %d, %v", n, err)
	}
	if got := receive(t, s).Deliveries; len(got) != 1 || got[0].Position != "250" {
		t.Fatalf("after the sweep came %+v", got)
	}
	// What it had fetched and settles late changes nothing.
	lost, err := s.Settle(t.Context(), []driver.Settlement{{Epoch: cl.Epoch, Position: "100"}})
	if err != nil || lost != nil {
		t.Fatal(lost, err)
	}
	lag, err := c.Lag(t.Context(), "g", "orders")
	if err != nil || lag[0].Events != 1 || lag[0].Position != "249" || lag[0].Status != "hold dropped 249 events" {
		t.Errorf("lag %+v, %v", lag, err)
	}
}

// TestHeartbeatsGoFirst queues a renewal behind more than a transaction takes.
func TestHeartbeatsGoFirst(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	release := hold(t, c)
	var mu sync.Mutex
	var order []string
	note := func(what string) func(*tx) error {
		return func(*tx) error {
			mu.Lock()
			order = append(order, what)
			mu.Unlock()
			return nil
		}
	}
	var jobs sync.WaitGroup
	for i := range 3 {
		jobs.Go(func() {
			if err := c.write(t.Context(), txEvents, note(fmt.Sprint("large ", i))); err != nil {
				t.Error(err)
			}
		})
		queued(t, c, i+1)
	}
	jobs.Go(func() {
		if err := c.beat(t.Context(), note("renewal")); err != nil {
			t.Error(err)
		}
	})
	until(t, "a queued renewal", func() bool { return len(c.writer.urgent) == 1 })
	release()
	jobs.Wait()
	if order[0] != "renewal" {
		t.Errorf("the writer's order was %v", order)
	}
}

// TestLateRenewalCostsLittle keeps the writer past the lease of a lone member: it
// loses its partitions and has them back, not suspect.
func TestLateRenewalCostsLittle(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "a.db"))
	topicOf(t, c, "orders", driver.TopicSettings{Partitions: 2})
	s := subscribe(t, c, "orders", "g", 2*time.Second)
	first := receive(t, s).Granted
	release := sync.OnceFunc(hold(t, c))
	t.Cleanup(release)
	if r := receive(t, s); len(r.Lost) != 2 {
		t.Fatalf("past its lease the member hears %+v", r)
	}
	release()
	got := receive(t, s).Granted
	if len(got) != 2 || got[0].Suspect || got[1].Suspect || got[0].Epoch != first[0].Epoch+1 {
		t.Errorf("it is granted %+v after %+v", got, first)
	}
}
