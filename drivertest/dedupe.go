package drivertest

import (
	"sync"
	"time"

	"github.com/deedgo/deed/driver"
)

var dedupeChecks = []Check{
	{
		Name:    "dedupe-within-the-window",
		Promise: "Within a topic's window the same (source, id) of one partition is stored once, whoever publishes it.",
		Why:     "Whoever publishes a file twice, or retries by hand, means the same events.",
		Needs:   needs(groups, dedupe),
		Run:     checkDedupe,
	},
	{
		Name:    "dedupe-concurrent",
		Promise: "The same event published by several at once is stored once.",
		Why:     "Two instances that both retry do so at the same moment.",
		Needs:   needs(groups, dedupe),
		Run:     checkDedupeConcurrent,
	},
	{
		Name:    "dedupe-ends-with-the-window",
		Promise: "After the window the same (source, id) is a new event; before its end it never is.",
		Why:     "A window that ends early duplicates; one without an end grows for ever.",
		Needs:   needs(groups, dedupe),
		Run:     checkDedupeEnds,
	},
	{
		Name:    "no-window-no-dedupe",
		Promise: "A topic without a window stores what it is given.",
		Why:     "An engine that drops events nobody asked it to drop loses them.",
		Needs:   needs(groups),
		Run: func(t T, e *Env) {
			info := e.topic(driver.TopicSettings{Partitions: 1})
			m := message("1", "key")
			e.wantStored("twice in a batch", e.publish(e.conn, batch(info, 0, m, m))[0], 2)
			e.wantStored("and again", e.publish(e.conn, batch(info, 0, m))[0], 1)
			e.join(e.conn, info.Name, "group").take(3)
		},
	},
}

func checkDedupe(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1, Dedupe: time.Hour})
	one, two, three := message("1", ""), message("2", ""), message("3", "")
	foreign := one
	foreign.Source = "/another"
	e.wantStored("twice in a batch", e.publish(e.conn, batch(info, 0, one, two, one))[0], 2)
	e.wantStored("by another call", e.publish(e.conn, batch(info, 0, two))[0], 0)
	e.wantStored("by another connection, with a new one", e.publish(e.open(), batch(info, 0, one, three))[0], 1)
	e.wantStored("of another source", e.publish(e.conn, batch(info, 0, foreign))[0], 1)
	r := e.publish(e.conn, batch(info, 0, one, two))[0]
	if r.Last != "" {
		t.Errorf("a batch of which nothing was stored ends at position %q, want none", r.Last)
	}
	if e.features.Sequence { // what the window drops still counts in the sequence
		e.wantStored("with a sequence", e.publish(e.conn, produced(info, "p", 1, one, two))[0], 0)
		e.wantStored("and on", e.publish(e.conn, produced(info, "p", 3, message("4", "")))[0], 1)
	} else {
		e.publish(e.conn, batch(info, 0, message("4", "")))
	}
	m := e.join(e.conn, info.Name, "group")
	m.take(5)
	m.quiet("it is a duplicate")
}

func checkDedupeConcurrent(t T, e *Env) {
	info := e.topic(driver.TopicSettings{Partitions: 1, Dedupe: time.Hour})
	conns := []driver.Conn{e.conn, e.open()}
	const senders, size = 8, 10
	stored := make([]int, senders)
	errs := make([]error, senders)
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			rs, err := tryPublish(t.Context(), conns[i%2], batch(info, 0, numbered(1, size)...))
			if errs[i] = err; err == nil {
				stored[i] = rs[0].Stored
			}
		})
	}
	wg.Wait()
	total := 0
	for i := range senders {
		e.must("publish", errs[i])
		total += stored[i]
	}
	if total != size {
		t.Errorf("%d senders of the same %d events stored %d", senders, size, total)
	}
	m := e.join(e.conn, info.Name, "group")
	m.take(size)
	m.quiet("it is a duplicate")
}

func checkDedupeEnds(t T, e *Env) {
	const window = time.Second
	info := e.topic(driver.TopicSettings{Partitions: 1, Dedupe: window})
	e.publish(e.conn, batch(info, 0, message("1", "")))
	e.eventually("the same event is new again", func() bool {
		return e.publish(e.conn, batch(info, 0, message("1", "")))[0].Stored == 1
	})
	got := e.join(e.conn, info.Name, "group").take(2)
	if d := got[1].Stored.Sub(got[0].Stored); d < window-10*time.Millisecond {
		t.Errorf("the same event was stored again after %v, within a window of %v", d, window)
	}
}
