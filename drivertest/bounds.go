package drivertest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/deedgo/deed/driver"
)

var boundsChecks = []Check{
	{
		Name:    "fetch-bounds",
		Promise: "Receive returns no more events and bytes than it was asked for.",
		Why:     "The bound is the memory that the program has left.",
		Needs:   needs(groups),
		Run:     checkFetchBounds,
	},
	{
		Name:    "fetch-oversized-alone",
		Promise: "An event above the bound on bytes is returned alone.",
		Why:     "If it were not returned, its partition would wait for ever.",
		Needs:   needs(groups),
		Run:     checkOversizedAlone,
	},
	{
		Name:    "fetch-full",
		Promise: "Nothing is fetched from partitions without room, until they have room again; the others go on.",
		Why:     "One slow partition must neither fill the memory nor stop the rest.",
		Needs:   needs(groups),
		Run:     checkFetchFull,
	},
	{
		Name:    "fetch-fair",
		Promise: "No partition is starved by one that always has more.",
		Why:     "A hot key would stop everybody else's events.",
		Needs:   needs(groups),
		Run:     checkFetchFair,
	},
	{
		Name:    "receive-heeds-context",
		Promise: "Receive ends with its context, and what it did not return is returned by the next call.",
		Why:     "A stop must not hang, and an interrupted fetch must not lose what was on its way.",
		Needs:   needs(groups),
		Run:     checkReceiveContext,
	},
	{
		Name:    "receive-wakes-up",
		Promise: "A waiting member hears of a new event within half a second, from another connection too.",
		Why:     "Latency is what users feel; an engine that only polls slowly should not pass unseen.",
		Needs:   needs(groups),
		Run:     checkWakeUp,
	},
}

func checkFetchBounds(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	ms := numbered(1, 60)
	for i := range ms {
		ms[i].Data = make([]byte, 100)
	}
	e.publish(e.conn, batch(info, 0, ms[:30]...), batch(info, 1, ms[30:]...))
	m := e.join(e.conn, info.Name, "group")
	fetches := []driver.Fetch{
		{Events: 1, Bytes: roomyBytes}, {Events: 7, Bytes: roomyBytes}, {Events: 1000, Bytes: 350},
		{Events: 2, Bytes: 1000}, {Events: 1000, Bytes: 100},
	}
	calls := 0
	e.until("60 events in small bites", func() bool {
		m.receive(fetches[calls%len(fetches)], turn) // which checks the answer
		calls++
		return len(m.got) == 60
	})
	if len(m.claims) == 0 {
		t.Errorf("events came without a claim")
	}
}

func checkOversizedAlone(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	ms := numbered(1, 3)
	ms[1].Data = make([]byte, 5000)
	e.publish(e.conn, batch(info, 0, ms...))
	m := e.join(e.conn, info.Name, "group")
	e.until("3 events, the second larger than the bound", func() bool {
		m.receive(driver.Fetch{Events: 10, Bytes: 1000}, turn)
		return len(m.got) == 3
	})
	if got := ids(m.got); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("got events %v, want 1, 2 and 3", got)
	}
}

func checkFetchFull(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 2})
	e.publish(e.conn, batch(info, 0, numbered(1, 5)...), batch(info, 1, numbered(6, 5)...))
	m := e.join(e.conn, info.Name, "group")
	full := roomy()
	full.Full = []int{0}
	e.until("the events of the partition that has room", func() bool {
		m.receive(full, turn)
		return len(m.got) == 5
	})
	full.Full = []int{0, 1}
	m.receive(full, turn) // which checks that nothing comes
	e.until("the events of the other, once it has room", func() bool {
		m.receive(roomy(), turn)
		return len(m.got) == 10
	})
}

// A partition with little in it comes before those around it, which have a lot, are through.
func checkFetchFair(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 3})
	const times, each, little = 6, 500, 10
	for i := range times {
		e.publish(e.conn, batch(info, 0, numbered(1+i*each, each)...), batch(info, 2, numbered(1+i*each, each)...))
	}
	e.publish(e.conn, batch(info, 1, numbered(1, little)...))
	m := e.join(e.conn, info.Name, "group")
	e.until("all partitions", func() bool { // which may come one after the other
		m.receive(driver.Fetch{Events: 10, Bytes: roomyBytes, Full: []int{0, 1, 2}}, turn)
		return len(m.claims) == 3
	})
	e.until("an event of the partition that has little", func() bool {
		m.receive(driver.Fetch{Events: 10, Bytes: roomyBytes}, turn)
		return slices.ContainsFunc(m.got, func(d driver.Delivery) bool { return d.Partition == 1 })
	})
	if len(m.got) > 2*times*each {
		t.Errorf("all events of two partitions came before the first of the third")
	}
}

func checkReceiveContext(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	m := e.join(e.conn, info.Name, "group")
	m.owns(1)
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), turn)
	defer cancel()
	got, err := m.sub.Receive(ctx, roomy())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Receive at its deadline: %+v, %v, want context.DeadlineExceeded", got, err)
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("Receive returned %v after a deadline of %v", took, turn)
	}
	const n = 200
	wrote := e.meanwhile(func() error { return e.trickle(info, n) })
	waits := []time.Duration{time.Microsecond, 100 * time.Microsecond, time.Millisecond, turn}
	calls := 0
	e.until("all events in spite of interruptions", func() bool {
		m.receive(driver.Fetch{Events: 3, Bytes: roomyBytes}, waits[calls%len(waits)])
		calls++
		return len(m.got) >= n
	})
	e.must("publish", wrote())
}

// trickle publishes n events one by one, with pauses, so that some come just when a
// Receive ends.
func (e *Env) trickle(info driver.TopicInfo, n int) error {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		if _, err := tryPublish(e.t.Context(), e.conn, batch(info, 0, numbered(i+1, 1)...)); err != nil {
			return err
		}
		if i%4 > 0 {
			continue
		}
		select {
		case <-tick.C:
		case <-e.t.Context().Done():
			return e.t.Context().Err()
		}
	}
	return nil
}

func checkWakeUp(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1})
	m := e.join(e.conn, info.Name, "group")
	m.owns(1)
	other := e.open()
	const tries, bound = 5, 500 * time.Millisecond
	median := func(took []time.Duration) time.Duration {
		return slices.Sorted(slices.Values(took[max(len(took)-tries, 0):]))[tries/2]
	}
	for _, from := range []struct {
		name string
		conn driver.Conn
	}{{"its own connection", e.conn}, {"another connection", other}} {
		var took []time.Duration
		// A machine may be busy for a while, an engine that is slow is slow for good.
		deadline := time.Now().Add(patience)
		for i := 0; i < tries || median(took) > bound && time.Now().Before(deadline); i++ {
			m.receive(roomy(), turn/10) // nothing is there
			var accepted time.Time
			wrote := e.meanwhile(func() error {
				_, err := tryPublish(t.Context(), from.conn, batch(info, 0, numbered(i, 1)...))
				accepted = time.Now()
				return err
			})
			n := len(m.got)
			e.until("the event", func() bool {
				m.receive(roomy(), patience/4)
				return len(m.got) > n
			})
			came := time.Now()
			e.must("publish", wrote())
			took = append(took, came.Sub(accepted))
		}
		t.Logf("from %s an event came %v after its acceptance (median of %d)", from.name, median(took), tries)
		if median(took) > bound {
			t.Errorf("events from %s came after %v, want at most %v", from.name, took, bound)
		}
	}
}
