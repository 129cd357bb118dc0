package drivertest

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/deedgo/deed/driver"
)

var completeChecks = []Check{
	{
		Name:    "nothing-skipped",
		Promise: "A reader that races many writers misses nothing and sees nothing twice.",
		Why:     "Reading by a number that is given before the commit loses what commits late.",
		Needs:   needs(groups),
		Run:     checkNothingSkipped,
	},
	{
		Name:    "dense-positions",
		Promise: "Positions of a partition count 1, 2, 3 … whoever writes.",
		Why:     "With holes, nobody could tell a slow writer from an event that is not there.",
		Needs:   needs(densePos, browse),
		Run:     checkDensePositions,
	},
	{
		Name:    "groups-are-independent",
		Promise: "Every group sees every event, whatever the others do.",
		Why:     "Fan-out is the point: inventory and notification both hear of an order.",
		Needs:   needs(groups),
		Run:     checkGroupsIndependent,
	},
	{
		Name:    "group-goes-on",
		Promise: "A group goes on after what it settled, and sees again what it did not.",
		Why:     "This is at-least-once: a restart loses nothing and repeats little.",
		Needs:   needs(groups),
		Run:     checkGroupGoesOn,
	},
}

// write publishes from several goroutines over the connections at once and returns
// when all is accepted. Each event's id is unique, its key is its writer.
func (e *Env) write(conns []driver.Conn, info driver.TopicInfo, writers, batches, size int) error {
	var wg sync.WaitGroup
	errs := make(chan error, writers)
	for w := range writers {
		wg.Go(func() {
			for b := range batches {
				ms := numbered(0, size)
				for i := range ms {
					ms[i].Key = fmt.Sprintf("writer-%d", w)
					ms[i].ID = fmt.Sprintf("%d-%d-%d", w, b, i)
				}
				_, err := tryPublish(e.t.Context(), conns[w%len(conns)], batch(info, (w+b)%info.Partitions, ms...))
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

func checkNothingSkipped(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 4})
	const writers, batches, size = 8, 25, 5
	m := e.join(e.open(), info.Name, "group")
	m.owns(4)
	conns := []driver.Conn{e.conn, e.open()}
	wrote := e.meanwhile(func() error { return e.write(conns, info, writers, batches, size) })
	e.until("all events", func() bool { return len(m.got) >= writers*batches*size }, m)
	e.must("publish", wrote())
	m.quiet("all had come")
	seen := make(map[string]int)
	for _, d := range m.got {
		seen[d.ID]++
	}
	for id, n := range seen {
		if n > 1 {
			t.Errorf("event %s came %d times", id, n)
		}
	}
	if len(seen) != writers*batches*size {
		t.Errorf("%d events came, want %d", len(seen), writers*batches*size)
	}
}

func checkDensePositions(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	const writers, batches, size = 8, 10, 3
	e.must("publish", e.write([]driver.Conn{e.conn, e.open()}, info, writers, batches, size))
	b := capability[driver.Browser](e)
	total := 0
	for p := range info.Partitions {
		ds, err := b.Browse(t.Context(), driver.Page{Topic: info.Name, Partition: p, Limit: roomyEvents})
		e.must("browse", err)
		total += len(ds)
		for i, d := range ds {
			if want := fmt.Sprint(i + 1); d.Position != want {
				t.Fatalf("partition %d: the event after %d others has position %q, want %q", p, i, d.Position, want)
			}
			if i%size > 0 && d.Key != ds[i-1].Key {
				t.Errorf("partition %d: the batch of %s is torn at position %s", p, ds[i-1].Key, d.Position)
			}
		}
	}
	if total != writers*batches*size {
		t.Errorf("%d events are stored, want %d", total, writers*batches*size)
	}
}

func checkGroupsIndependent(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	first := e.join(e.conn, info.Name, "first")
	e.expect(info, "second")
	e.publish(e.conn, batch(info, 0, numbered(1, 10)...), batch(info, 1, numbered(11, 10)...))
	first.take(20)
	for p := range info.Partitions {
		first.release(p, first.at[p])
	}
	first.close()
	second := e.join(e.open(), info.Name, "second")
	second.take(20)
	a, b := ids(first.got), ids(second.got)
	slices.Sort(a)
	slices.Sort(b)
	if !slices.Equal(a, b) {
		t.Errorf("one group got %v, the other %v", a, b)
	}
}

func checkGroupGoesOn(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	e.publish(e.conn, batch(info, 0, numbered(1, 10)...), batch(info, 1, numbered(11, 10)...))
	m := e.join(e.conn, info.Name, "group")
	m.take(20)
	positions := make(map[string]string)
	for _, d := range m.got {
		positions[d.ID] = d.Position
	}
	m.settle(0, positions["4"])
	m.close()
	m = e.join(e.conn, info.Name, "group")
	m.take(16)
	if m.claims[0].Position != positions["4"] || m.claims[1].Position != "" {
		t.Errorf("claims start after %q and %q, want %q and the beginning",
			m.claims[0].Position, m.claims[1].Position, positions["4"])
	}
	first := make(map[int]string)
	for _, d := range slices.Backward(m.got) {
		first[d.Partition] = d.ID
	}
	if want := map[int]string{0: "5", 1: "11"}; !maps.Equal(first, want) {
		t.Errorf("the group goes on with %v by partition, want %v", first, want)
	}
}
